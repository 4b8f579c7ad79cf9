"""What it costs to watch somebody's loop: the share of a bare loop's speed that is left.

    python benchmarks/watch.py [--quick] [--rounds 9] [--seconds 2] [--threads 1]
    python benchmarks/watch.py --memory [STEPS]     # resident memory over 200,000 steps
    python benchmarks/watch.py --hooks [TIMES]      # 10,000 times attached and detached

Every contender is the same loop by hand on the same batches; in one run, round after round. "histograms" are 64 bins
of every parameter and gradient by torch.histc every 100 steps, as `wandb.watch(log="all")` takes them by default, and
those of TensorBoard are written by tensorboardX at every step.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable

import torch
from _timing import HEAD, Train, race
from tensorboardX import SummaryWriter
from torch import Tensor, nn

import descend

Batch = tuple[Tensor, Tensor]
Loop = Callable[[nn.Module, torch.optim.Optimizer, Batch, int], None]
CRITERION = nn.CrossEntropyLoss()


class Characters(nn.Module):
    """A small transformer: 2 blocks of width 64 on 64 of 96 characters, the next one at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(96, 64), nn.Parameter(0.02 * torch.randn(64, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 256, 0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 96)
        self.mask = nn.Transformer.generate_square_subsequent_mask(64)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(tokens) + self.places, self.mask, is_causal=True)).transpose(1, 2)


def mlp() -> tuple[nn.Module, Batch]:
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers), (torch.rand(128, 784), torch.randint(10, (128,)))


def cnn() -> tuple[nn.Module, Batch]:
    layers = [
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
    ]
    return nn.Sequential(*layers), (torch.rand(32, 1, 28, 28), torch.randint(10, (32,)))


def transformer() -> tuple[nn.Module, Batch]:
    return Characters(), (torch.randint(96, (32, 64)), torch.randint(96, (32, 64)))


CASES = {
    "MLP 784-512-512-10, batch 128": mlp,
    "CNN 16-32 on 28 x 28 images, batch 32": cnn,
    "transformer, 2 blocks of 64, 64 characters, batch 32": transformer,
}


def bare(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    steps: int,
    after: Callable[[int], None] | None = None,
) -> None:
    """The loop that everybody writes."""
    inputs, targets = batch
    total = 0.0
    for step in range(steps):
        optimizer.zero_grad()
        loss = CRITERION(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
        if after is not None:
            after(step)


def watched(**options: object) -> Loop:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, steps: int) -> None:
        with tempfile.TemporaryDirectory() as runs, descend.watch(model, optimizer, runs=runs, **options):  # type: ignore[arg-type]
            bare(model, optimizer, batch, steps)

    return loop


def evaluated(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, steps: int) -> None:
    """With 512 rows of either split evaluated about once an epoch of 60,000 rows."""
    inputs, targets = (each.repeat(-(-512 // len(each)), *[1] * (each.dim() - 1)) for each in batch)
    splits = {"train": (inputs, targets), "validation": (inputs.clone(), targets.clone())}
    every = 60_000 // len(batch[0])
    watched(loss=CRITERION, evaluate_every=every, **splits)(model, optimizer, batch, steps)


def histograms(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, steps: int) -> None:
    def after(step: int) -> None:
        if step % 100 == 0:
            for parameter in model.parameters():
                for values in (parameter.detach(), parameter.grad):
                    low, high = values.min().item(), values.max().item()
                    torch.histc(values, 64, low, high).tolist()

    bare(model, optimizer, batch, steps, after)


def tensorboard(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:

        def after(step: int) -> None:
            for name, parameter in model.named_parameters():
                writer.add_histogram(name, parameter.detach().numpy(), step)
                writer.add_histogram(f"{name}.grad", parameter.grad.numpy(), step)

        bare(model, optimizer, batch, steps, after)


CONTENDERS: dict[str, Loop] = {
    "bare loop": bare,
    "watch": watched(),
    "watch, evaluating too": evaluated,
    "watch, every step": watched(every=1),
    "histograms every 100 steps": histograms,
    "TensorBoard histograms every step": tensorboard,
}


def training(loop: Loop, make: Callable[[], tuple[nn.Module, Batch]], threads: int) -> Train:
    def train(steps: int) -> int:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        model, batch = make()
        loop(model, torch.optim.Adam(model.parameters(), lr=1e-3), batch, steps)
        return steps

    return train


def speed(seconds: float, rounds: int, threads: int) -> None:
    for title, make in CASES.items():
        contenders = {name: training(loop, make, threads) for name, loop in CONTENDERS.items()}
        result = race(contenders, seconds=seconds, rounds=rounds)
        print(f"\n{title}, threads={threads}\n{HEAD}")
        for name in contenders:
            print(result.row(name, "bare loop"), flush=True)


def megabytes() -> float:
    """Resident memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def memory(steps: int) -> None:
    """Resident memory while a small model is watched."""
    model, batch = (
        nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)),
        (torch.rand(16, 8), torch.randint(2, (16,))),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    parts = 10
    with tempfile.TemporaryDirectory() as runs:
        data = {"loss": CRITERION, "train": batch, "validation": batch}
        with descend.watch(model, optimizer, runs=runs, **data):
            for part in range(parts + 1):
                print(f"{part * steps // parts:>9,} steps{megabytes():>10.1f} MB", flush=True)
                if part < parts:
                    bare(model, optimizer, batch, steps // parts)


def hooks(times: int) -> None:
    """Hooks left after a model was attached to and detached from many times."""
    model, batch = mlp()
    optimizer, original = torch.optim.SGD(model.parameters(), lr=1e-3), torch.autograd.backward
    bare(model, optimizer, batch, 1)
    began, before = time.perf_counter(), megabytes()
    with tempfile.TemporaryDirectory() as runs:
        for _ in range(times):
            watched = descend.watch(model, optimizer, runs=runs, name="run", monitors="none")
            watched.close()
            for file in watched.run.folder.iterdir():
                file.unlink()
            watched.run.folder.rmdir()
    left = [
        *(
            hook
            for module in model.modules()
            for name, each in vars(module).items()
            if name.endswith("_hooks")
            for hook in each
        ),
        *optimizer._optimizer_step_pre_hooks,
        *optimizer._optimizer_step_post_hooks,
        *(["torch.autograd.backward"] if torch.autograd.backward is not original else []),
    ]
    took = (time.perf_counter() - began) / times * 1e3
    print(f"{times:,} times attached and detached, {took:.1f} ms each: {len(left)} hooks left", end="")
    print(f", resident memory {before:.1f} -> {megabytes():.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.3 seconds: shows that it works")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of training a round and contender")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for all contenders")
    parser.add_argument("--memory", type=int, nargs="?", const=200_000, metavar="STEPS")
    parser.add_argument("--hooks", type=int, nargs="?", const=10_000, metavar="TIMES")
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.memory)
    elif arguments.hooks:
        hooks(arguments.hooks)
    else:
        seconds, rounds = (0.3, 3) if arguments.quick else (arguments.seconds, arguments.rounds)
        speed(seconds, rounds, arguments.threads)


if __name__ == "__main__":
    main()
