"""What Lightning trains is watched by a callback, and trained as without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from descend.run import Run
from descend.watching.lightning import Watch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*(does not have many workers|isinstance.treespec|GPU|log_every_n_steps)"),
]

torch.manual_seed(0)
INPUTS, TARGETS = torch.randn(64, 8), torch.randint(3, (64,))


class Plain(lightning.LightningModule):
    """The usual way: `self(x)`."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net, self.fails, self.losses = (
            nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)),
            fails,
            [],
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        if self.fails and self.global_step == 2:
            raise ArithmeticError("the user's own")
        loss = nn.functional.cross_entropy(self.predict(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def predict(self, inputs: Tensor) -> Tensor:
        return self(inputs)

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.predict(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


class Parts(Plain):
    """The other usual way: the module inside, never the module itself."""

    def predict(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)


class Manual(Plain):
    """Steps made by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, number))
        optimizer.step()


def fit(module: Plain, *callbacks: Watch, **options: Any) -> None:
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=16, shuffle=True)
    others = DataLoader(TensorDataset(INPUTS[:20], TARGETS[:20]), batch_size=16)
    torch.manual_seed(2)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", callbacks=list(callbacks), **quiet, **options)
    trainer.fit(module, loader, others)


@pytest.mark.parametrize("kind", [Plain, Parts, Manual])
def test_it_is_recorded_and_trained_as_without_the_callback(tmp_path: Path, kind: type[Plain]) -> None:
    alone, seen = kind(), kind()
    fit(alone)
    watch = Watch(loss=nn.functional.cross_entropy, runs=tmp_path, every=5)
    fit(seen, watch)
    assert [torch.equal(a, b) for a, b in zip(alone.parameters(), seen.parameters(), strict=True)] == [True] * 4
    run = watch.run
    assert run.notes("monitor") == []
    assert (run.status, run.steps, run.settings["model"]) == ("finished", 12, kind.__name__)
    assert run.series("loss/batch").y.tolist() == pytest.approx(seen.losses, rel=1e-6)
    assert run.series("loss/batch", x="examples").x.tolist() == list(range(16, 16 * 13, 16))
    assert run.series("grad_norm/net.0.weight").x.tolist() == [1, 6, 11]
    assert run.series("loss/train").x.tolist() == [0, 12]
    assert run.last("loss/validation") > 0
    # where only a part of the module is called, that is known after the first step
    assert run.series("activation_std/net.1").x.tolist() == ([6, 11] if kind is Parts else [1, 6, 11])
    facts = {topic: fields for note in run.notes("facts") for topic, fields in note.details.items()}
    assert facts["gradients"]["stale"] == facts["gradients"]["lost"] == 0
    assert facts["modes"]["plain_forwards_in_train"] == 0
    assert facts["modes"]["plain_forwards"] > 0
    assert facts["schedule"]["kind"] == "StepLR"
    assert facts["data"]["train"]["shuffled"] is True


def test_clipping_and_accumulation_are_seen(tmp_path: Path) -> None:
    watch, module = Watch(runs=tmp_path, every=1), Plain()
    fit(module, watch, accumulate_grad_batches=4, gradient_clip_val=1e-3)
    assert watch.run.steps == 3
    expected = [sum(module.losses[start : start + 4]) / 4 for start in (0, 4, 8)]
    assert watch.run.series("loss/batch").y.tolist() == pytest.approx(expected, rel=1e-6)
    clipped = watch.run.series("clip/norm_before")
    assert clipped.x.tolist() == [1, 2, 3]
    assert watch.run.series("grad_norm/all").y.tolist() == pytest.approx(clipped.y.tolist(), rel=1e-4)


def test_a_training_that_fails_is_recorded_as_failed(tmp_path: Path) -> None:
    watch = Watch(runs=tmp_path, name="run")
    with pytest.raises(ArithmeticError, match="the user's own"):
        fit(Plain(fails=True), watch)
    assert (Run(tmp_path / "run").status, watch.run.steps) == ("failed", 2)
