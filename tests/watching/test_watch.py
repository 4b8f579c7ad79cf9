"""A watched loop trains as it would alone, and its record says what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FAMILIES, ROWS, criterion, facts, mlp, sentences
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import descend
from descend.errors import RecipeError, RunError
from descend.watching._watch import Watch

Watching = Callable[..., Watch]


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor], steps: int = 12
) -> list[float]:
    """An ordinary loop: the losses of its steps."""
    losses = []
    inputs, targets = data
    for _ in range(steps):
        rows = torch.randint(len(inputs), (16,))
        optimizer.zero_grad()
        loss = criterion(model(inputs[rows]), targets[rows])
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None and not p.grad.is_sparse], 0.5)
        optimizer.step()
        losses.append(loss.item())
    return losses


def trained(
    family: str, watch: Callable[[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]], Any]
) -> dict[str, Any]:
    """Everything that a training leaves behind: weights, statistics, optimizer, and where random numbers stand."""
    torch.manual_seed(1)
    np.random.seed(1)
    make, rows = FAMILIES[family]
    model, data = make(), rows()
    sparse = family == "sparse embedding"
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), lr=0.1) if sparse else torch.optim.AdamW(model.parameters(), lr=0.01)
    )
    watched = watch(model, optimizer, data)
    losses = train(model, optimizer, data)
    if watched is not None:
        watched.close()
    state = optimizer.state_dict()["state"]
    moments = {f"{key} {name}": torch.as_tensor(value) for key, each in state.items() for name, value in each.items()}
    return {
        "losses": torch.tensor(losses),
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.random.get_state()[1].astype(np.int64)),
        **model.state_dict(),
        **moments,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_statistics_and_random_numbers_are_bit_for_bit_those_of_the_loop_alone(
    watching: Watching, family: str
) -> None:
    opened: list[Watch] = []

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor]) -> Watch:
        splits = {"loss": criterion, "train": data, "validation": data}
        # torch has no norm of the sparse gradients that the dear monitors take themselves
        monitors = "default" if family == "sparse embedding" else "all"
        opened.append(watching(model, optimizer, every=3, monitors=monitors, evaluate_every=2, **splits))
        return opened[-1]

    alone, seen = trained(family, lambda *_: None), trained(family, watch)
    assert alone.keys() == seen.keys()
    assert [name for name in alone if not torch.equal(alone[name], seen[name])] == []
    assert sentences(opened[0]) == []
    assert "grad_norm/all" in opened[0].run.names()


def test_every_update_has_its_loss_and_its_learning_rates(watching: Watching) -> None:
    torch.manual_seed(0)
    model, data = mlp(), FAMILIES["mlp with dropout"][1]()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10**9)
    with watching(model, optimizer, scheduler=scheduler) as watched:
        losses = train(model, optimizer, data, 30)
    run = watched.run
    assert run.series("loss/batch").y.tolist() == losses
    assert run.series("loss/batch").x.tolist() == list(range(1, 31))
    assert run.series("loss/batch", x="examples").x.tolist() == list(range(16, 16 * 31, 16))
    assert set(run.series("lr/0").y) == {0.1}
    assert set(run.series("lr/1").y) == {0.01}
    assert run.series("grad_norm/0.weight").x.tolist() == [1, 21]
    assert (run.status, run.watched, run.steps) == ("finished", True, 30)
    assert np.all(np.diff(run.series("loss/batch", x="seconds").x) > 0)
    assert facts(watched)["schedule"] == {
        "kind": "StepLR", "period": 10**9, "taken": 0, "optimizer_steps": 30, "epochs": None,
    }  # fmt: skip


def test_its_gradients_are_those_before_clipping(watching: Watching) -> None:
    torch.manual_seed(0)
    model, data = mlp(), FAMILIES["mlp with dropout"][1]()
    optimizer, norms = torch.optim.SGD(model.parameters(), lr=0.1), []
    with watching(model, optimizer, every=1) as watched:
        for clip in (1e-3, 1e3, 1e-2):
            optimizer.zero_grad()
            criterion(model(data[0]), data[1]).backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), clip)))
            optimizer.step()
    run = watched.run
    assert run.series("grad_norm/all").y.tolist() == pytest.approx(norms, rel=1e-5)
    assert run.series("clip/norm_before").x.tolist() == [1, 3]
    assert run.series("clip/norm_before").y.tolist() == pytest.approx([norms[0], norms[2]], rel=1e-5)


def test_the_monitors_measure_what_fit_measures(watching: Watching, tmp_path: Any) -> None:
    """The same network on the same batches in a loop by hand."""
    recipe = descend.Recipe(
        data="moons", rows=64, model="mlp", width=8, optimizer="sgd", lr=0.1, batch_size="all", steps=5, monitor_every=2
    )
    fitted = descend.fit(recipe, runs=tmp_path, name="fit")
    from descend.train.build import build
    from descend.train.fit import torch_to_ourselves

    with torch_to_ourselves(recipe.seed):
        parts = build(recipe)
    inputs, targets = parts.dataset.train
    optimizer = torch.optim.SGD(parts.model.parameters(), lr=0.1)
    with watching(parts.model, optimizer, loss=nn.CrossEntropyLoss(), train=(inputs, targets), every=2) as watched:
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(parts.model(inputs), targets).backward()
            optimizer.step()
    same = [name for name in fitted.names() if not name.endswith(("/validation", "/test"))]
    assert [name for name in same if name not in watched.run.names()] == []
    for name in same:
        expected, found = fitted.series(name), watched.run.series(name)
        assert found.x.tolist() == expected.x.tolist(), name
        assert found.y.tolist() == pytest.approx(expected.y.tolist(), rel=1e-3, abs=1e-6), name


def test_accumulated_gradients_count_as_one_batch_with_its_mean_loss(watching: Watching) -> None:
    torch.manual_seed(0)
    model, (inputs, targets) = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    whole = criterion(model(inputs), targets)
    (expected,) = torch.autograd.grad(whole, [model.weight])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer) as watched:
        for x, y in zip(inputs.split(16), targets.split(16), strict=True):
            (criterion(model(x), y) / 4).backward()
        optimizer.step()
    assert watched.run.last("loss/batch") == pytest.approx(whole.item(), rel=1e-6)
    assert watched.run.last("grad_norm/weight") == pytest.approx(float(expected.norm()), rel=1e-5)
    assert watched.run.series("loss/batch", x="examples").x.tolist() == [ROWS]
    assert facts(watched)["gradients"] | {"none": [], "zero": []} == {
        "steps": 1, "stale": 0, "lost": 0, "backwards": 4, "none": [], "zero": [],
    }  # fmt: skip


def test_a_loss_scaled_for_mixed_precision_is_recorded_unscaled(watching: Watching) -> None:
    torch.manual_seed(0)
    model, (inputs, targets) = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=2.0**12)
    losses, norms = [], []
    with watching(model, optimizer, every=1) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(inputs), targets)
            scaler.scale(loss).backward()
            losses.append(loss.item())
            norms.append(float(model.weight.grad.norm()) / 2**12)
            scaler.step(optimizer)
            scaler.update()
    assert watched.run.series("loss/batch").y.tolist() == pytest.approx(losses, rel=1e-6)
    assert watched.run.series("grad_norm/weight").y.tolist() == pytest.approx(norms, rel=1e-5)
    assert "clip/norm_before" not in watched.run.names(), "unscaling is not clipping"


@pytest.mark.parametrize("first", ["generator", "discriminator"])
def test_of_two_optimizers_each_has_its_own_gradients_and_the_first_counts_the_steps(
    watching: Watching, first: str
) -> None:
    torch.manual_seed(0)
    models = {"generator": nn.Linear(4, 2), "discriminator": nn.Linear(2, 1)}
    optimizers = {name: torch.optim.SGD(model.parameters(), lr=0.1) for name, model in models.items()}
    generator, discriminator = models.values()
    order = [first, *(name for name in models if name != first)]
    losses: dict[str, list[float]] = {name: [] for name in models}
    norms: dict[str, float] = {}
    judge = nn.functional.binary_cross_entropy_with_logits
    with watching(models, [optimizers[name] for name in order]) as watched:
        for _ in range(12):
            fake = generator(torch.randn(16, 4))
            for name, images, truth in (("discriminator", fake.detach(), 0.0), ("generator", fake, 1.0)):
                optimizers[name].zero_grad()
                loss = judge(discriminator(images), torch.full((16, 1), truth))
                loss.backward()
                norms.setdefault(f"grad_norm/{name}.weight", float(models[name].weight.grad.norm()))
                optimizers[name].step()
                losses[name].append(loss.item())
    run = watched.run
    assert run.series("loss/batch").y.tolist() == losses[first]
    assert {name: run.series(name).y[0] for name in norms} == pytest.approx(norms, rel=1e-5)
    counted = facts(watched)["gradients"]
    assert (counted["stale"], counted["lost"]) == (0, 0)
    assert "lr/1" in run.names()


def test_an_optimizer_that_calls_back_is_measured_before_it_changes_anything(watching: Watching) -> None:
    torch.manual_seed(0)
    model, (inputs, targets) = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    optimizer, calls = torch.optim.LBFGS(model.parameters(), max_iter=4), []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        calls.append((loss.item(), float(model.weight.grad.norm())))
        return loss

    with watching(model, optimizer) as watched:
        optimizer.step(closure)
    assert len(calls) > 1
    assert (watched.run.last("loss/batch"), watched.run.last("grad_norm/weight")) == pytest.approx(calls[0], rel=1e-5)
    assert facts(watched)["gradients"]["lost"] == 0, "a line search is no lost accumulation"


def test_a_loss_that_no_backward_pass_shows_can_be_given(watching: Watching) -> None:
    model, (inputs, targets) = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer) as watched:
        loss = criterion(model(inputs), targets)
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.grad = gradient
        watched.loss(loss)
        watched.log({"mine/score": 3.0})
        watched.log({"mine/score": 4.0})
        optimizer.step()
        optimizer.step()
    assert watched.run.series("loss/batch").y.tolist() == [loss.item()]
    assert watched.run.series("lr/0").x.tolist() == [1, 2]
    assert watched.run.series("mine/score").y.tolist() == [3.0], "of two at a step the first stands"


def test_evaluations_are_those_of_the_rows_in_evaluation_mode(watching: Watching) -> None:
    torch.manual_seed(0)
    model, (inputs, targets) = FAMILIES["cnn with batch norm"][0](), FAMILIES["cnn with batch norm"][1]()
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True)
    model.eval()
    with torch.no_grad():
        before = float(loss(model(inputs), targets)), float(loss(model(inputs[:20]), targets[:20]))
    model.train()
    with watching(model, optimizer, loss=loss, train=loader, validation=(inputs[:20], targets[:20])) as watched:
        for _ in range(2):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            after = float(loss(model(inputs), targets))
            right = float((model(inputs).argmax(1) == targets).double().mean())
        model.train()
    run = watched.run
    assert run.series("loss/train").x.tolist() == [0, 8]
    assert (run.series("loss/train").y[0], run.series("loss/validation").y[0]) == pytest.approx(before, rel=1e-6)
    assert run.last("loss/train") == pytest.approx(after, rel=1e-6)
    assert run.last("accuracy/train") == right
    assert run.last("loss/train_mode") != run.last("loss/train")
    assert facts(watched)["evaluation"] == {"rows_train": ROWS, "rows_validation": 20}
    assert facts(watched)["data"]["train"]["batch_size"] == 16
    assert facts(watched)["modes"]["plain_forwards"] == 2, "ours do not count"


def test_an_evaluation_shapes_its_rows_as_the_loop_does(watching: Watching) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(ROWS, 1, 4, 4, dtype=torch.float64), torch.randint(2, (ROWS,))
    model = nn.Linear(16, 1)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.1), nn.BCEWithLogitsLoss()
    flat, answers = images.flatten(1).float(), labels.float()
    with watching(model, optimizer, loss=loss, train=(images, labels)) as watched:
        optimizer.zero_grad()
        loss(model(flat[:16]).squeeze(1), answers[:16]).backward()
        optimizer.step()
        expected = loss(model(flat).squeeze(1), answers).item()
    assert sentences(watched) == []
    assert watched.run.last("loss/train") == pytest.approx(expected, rel=1e-6)


def test_nan_in_one_cell_is_named_before_the_first_update(watching: Watching) -> None:
    model, (inputs, targets) = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    inputs[41, 5] = torch.nan
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer, loss=criterion, train=(inputs, targets)) as watched:
        optimizer.zero_grad()
        criterion(model(inputs[32:48]), targets[32:48]).backward()
        data, batch = watched.run.notes("non_finite")
        assert watched.run.steps == 0
        optimizer.step()
    assert (data.step, data.details["row"], data.details["column"]) == (0, 41, 5)
    assert "row 41, column 5" in data.details["sentence"]
    assert (batch.step, batch.details["row"], batch.details["column"]) == (1, 41 - 32, 5)


class Log(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.log()


class Root(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs * 0).sqrt()


@pytest.mark.parametrize(("bad", "what", "operation"), [(Log, "operation", "log"), (Root, "gradient", "sqrt")])
def test_the_first_operation_that_makes_nan_is_named_with_its_layer_before_the_update(
    watching: Watching, bad: type[nn.Module], what: str, operation: str
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), bad(), nn.Dropout(0.5), nn.Linear(4, 3))
    inputs, targets = FAMILIES["mlp with dropout"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer, loss=criterion, every=10**9) as watched:
        for _ in range(6):
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
    first = watched.run.notes("non_finite")[0]
    assert (first.step, first.details["what"]) == (1, what)
    assert (first.details["operation"], first.details["layer"]) == (operation, f"2 ({bad.__name__})")
    assert len(watched.run.notes("non_finite")) == 3, "after three it is enough"


def test_losses_on_an_accelerator_are_read_in_blocks_and_the_first_nan_is_named(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none here, so their losses are left in tensors as there."""
    model, (inputs, targets) = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monkeypatch.setattr("descend.watching._loop._sum", lambda roots: Elsewhere(roots[0].detach()))
    losses, written = [], []
    with watching(model, optimizer, every=40) as watched:
        for step in range(60):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets) * (torch.nan if step == 50 else 1)
            loss.backward()
            optimizer.zero_grad()  # so that the weights stay as they are, and one loss alone is NaN
            optimizer.step()
            losses.append(loss.item())
            written.append(watched.run.steps)
    assert watched.run.series("loss/batch").y.tolist() == pytest.approx(losses, nan_ok=True)
    assert set(written[8:]) == {8, 28, 41}, "a block of 20, or up to a step that is measured"
    (note,) = watched.run.notes("non_finite")
    assert (note.step, note.details["what"]) == (51, "loss")


class Elsewhere(Tensor):
    """A tensor that says it is not on the CPU."""

    is_cpu = False


def test_a_name_is_taken_once_and_a_monitor_has_to_exist(watching: Watching, tmp_path: Any) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watching(model, optimizer, name="mine", settings={"seed": 3, "note": None}).close()
    assert descend.Run(tmp_path / "mine").settings == {"model": "Linear", "optimizer": "SGD", "lr": 0.1, "seed": 3}
    with pytest.raises(RunError, match="exists already"):
        watching(model, optimizer, name="mine")
    with pytest.raises(RecipeError, match="count steps"):
        watching(model, optimizer, every=0)
    with pytest.raises(RecipeError, match="grad_norm"):
        watching(model, optimizer, monitors="grad_nrom")
