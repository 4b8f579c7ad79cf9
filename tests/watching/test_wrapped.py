"""Models inside torch.compile and DistributedDataParallel are watched like those outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import criterion, facts, sentences
from torch import Tensor, nn

from descend.run import Run
from descend.watching._watch import Watch

Watching = Callable[..., Watch]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.act, self.head = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.act(self.hidden(inputs)))


def train(model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer) -> list[float]:
    torch.manual_seed(1)
    losses = []
    for _ in range(22):
        inputs, targets = torch.randn(16, 8), torch.randint(3, (16,))
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def compiled_in_part(net: Net) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    net.hidden = torch.compile(net.hidden, backend="eager")
    return net, net


WAYS: dict[str, Callable[[Net], tuple[nn.Module, Callable[[Tensor], Tensor]]]] = {
    "the compiled model": lambda net: ((compiled := torch.compile(net, backend="eager")), compiled),
    "what was compiled": lambda net: (net, torch.compile(net, backend="eager")),
    "a model compiled in place": lambda net: (net.compile(backend="eager"), (net, net))[1],
    "a model with a compiled part": lambda net: (
        setattr(net, "hidden", torch.compile(net.hidden, backend="eager")),
        (net, net),
    )[1],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_is_watched_without_its_activations(watching: Watching, way: str) -> None:
    results = []
    for watch in (False, True):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        torch.manual_seed(0)
        net = Net()
        given, called = WAYS[way](net)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        watched = watching(given, optimizer, train=(torch.randn(64, 8), torch.randint(3, (64,)))) if watch else None
        losses = train(called, optimizer)
        if watched:
            watched.close()
        results.append((losses, torch.cat([p.flatten() for p in net.parameters()])))
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert graphs == 1, "hooks that come and go do not make it compile again"
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    run = watched.run
    assert run.series("loss/batch").y.tolist() == results[1][0]
    assert run.series("loss/batch", x="examples").x[-1] == 22 * 16
    prefix = "hidden._orig_mod" if "part" in way else "hidden"
    assert run.series(f"grad_norm/{prefix}.weight").x.tolist() == [1, 21]
    assert run.series("accuracy/batch").x.tolist() == [1, 21]
    assert sentences(watched) == []
    assert facts(watched)["graph"]["unreached"] == []


@pytest.mark.slow
def test_a_model_that_is_compiled_whole_after_it_is_watched_still_compiles_whole(watching: Watching) -> None:
    torch._dynamo.reset()
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watching(net, optimizer) as watched:
        train(torch.compile(net, backend="eager", fullgraph=True), optimizer)
    assert (watched.run.steps, sentences(watched)) == (22, [])


DISTRIBUTED = """
import sys
import torch, descend
from torch import nn
from torch.distributed import barrier, destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

rank, folder = int(sys.argv[1]), sys.argv[2]
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
model, inputs, targets = DistributedDataParallel(net), torch.randn(64, 8), torch.randint(3, (64,))
optimizer, loss = torch.optim.Adam(net.parameters(), lr=0.01), nn.CrossEntropyLoss()
data = {"loss": loss, "train": (inputs, targets)}
with descend.watch(model, optimizer, runs=folder, name="two", every=2, evaluate_every=2, **data) as watched:
    for _ in range(6):
        optimizer.zero_grad()
        loss(model(inputs[rank::2]), targets[rank::2]).backward()
        optimizer.step()
assert (watched.run is None) == (rank == 1)
del model
barrier()
destroy_process_group()
"""


@pytest.mark.slow
def test_of_two_processes_one_writes_and_its_norms_are_those_of_a_single_one(
    watching: Watching, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", DISTRIBUTED]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    inputs, targets = torch.randn(64, 8), torch.randint(3, (64,))
    optimizer, loss = torch.optim.Adam(net.parameters(), lr=0.01), nn.CrossEntropyLoss()
    data = {"loss": loss, "train": (inputs, targets)}
    with watching(net, optimizer, every=2, evaluate_every=2, **data) as watched:
        for _ in range(6):
            optimizer.zero_grad()
            loss(net(inputs), targets).backward()
            optimizer.step()
    one, two = watched.run, Run(tmp_path / "two")
    assert (two.status, two.steps, two.settings["model"]) == ("finished", 6, "Sequential")
    norms = [
        name for name in one.names() if name.startswith(("grad_norm/", "weight_norm/", "update_ratio/", "loss/train"))
    ]
    assert "grad_norm/0.weight" in norms
    for name in norms:
        # the mean of two halves' gradients, in float32
        assert two.series(name).y.tolist() == pytest.approx(one.series(name).y.tolist(), rel=1e-4), name
    assert two.series("loss/batch", x="examples").x.tolist() == one.series("loss/batch", x="examples").x.tolist()
