"""What the Trainer of Transformers trains is watched by a callback, and trained as without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from descend.watching.transformers import Watch

pytestmark = pytest.mark.slow

torch.manual_seed(0)
TOKENS, LABELS = torch.randint(4, 30, (48, 6)), torch.randint(2, (48,))
SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def bert() -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    torch.manual_seed(1)
    model = BertForSequenceClassification(BertConfig(**SMALL, intermediate_size=16, max_position_embeddings=8))
    rows = zip(TOKENS, LABELS, strict=True)
    return model, [{"input_ids": t, "attention_mask": torch.ones_like(t), "labels": label} for t, label in rows]


def gpt2() -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=8))
    # the Trainer divides by all tokens that have a label, and the first has none that a model could predict
    labels = torch.cat([torch.full((len(TOKENS), 1), -100), TOKENS[:, 1:]], dim=1)
    return model, [{"input_ids": t, "labels": label} for t, label in zip(TOKENS, labels, strict=True)]


def train(
    folder: Path, model: PreTrainedModel, rows: list[dict[str, Any]], *callbacks: Watch, **options: Any
) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=8,
        num_train_epochs=2,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=3,
        **options,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows[:12], callbacks=list(callbacks))
    trainer.train()
    return trainer


@pytest.mark.parametrize("make", [bert, gpt2])
def test_it_is_recorded_and_trained_as_without_the_callback(tmp_path: Path, make: Any) -> None:
    (alone, rows), (seen, _) = make(), make()
    train(tmp_path, alone, rows)
    watch = Watch(validation=rows[:12], runs=tmp_path / "runs", every=5)
    trainer = train(tmp_path, seen, rows, watch)
    differing = [
        name for (name, a), b in zip(alone.named_parameters(), seen.parameters(), strict=True) if not torch.equal(a, b)
    ]
    assert differing == []
    run = watch.run
    assert run.notes("monitor") == []
    assert (run.status, run.steps) == ("finished", 12)
    assert run.series("loss/batch").x.tolist() == list(range(1, 13))
    assert run.series("loss/batch", x="examples").x.tolist() == list(range(8, 8 * 13, 8))
    assert run.series("grad_norm/all").x.tolist() == [1, 6, 11]
    assert run.series("loss/train").x.tolist() == [0, 12]
    # the Trainer's own evaluation, of the same 12 rows
    assert run.last("loss/validation") == pytest.approx(trainer.evaluate()["eval_loss"], rel=1e-5)
    assert ("accuracy/train" in run.names()) == (make is bert), (
        "the model shifts the targets of a language model itself"
    )
    facts = {topic: fields for note in run.notes("facts") for topic, fields in note.details.items()}
    assert facts["graph"]["loss"] == "cross_entropy"
    assert (facts["gradients"]["stale"], facts["gradients"]["lost"]) == (0, 0)
    assert facts["schedule"]["taken"] == 12


def test_clipping_and_accumulation_are_seen(tmp_path: Path) -> None:
    model, rows = gpt2()
    watch = Watch(runs=tmp_path / "runs", every=1)
    trainer = train(tmp_path, model, rows, watch, gradient_accumulation_steps=2, max_grad_norm=1e-3, logging_steps=1)
    logged = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert watch.run.steps == len(logged) == 6
    norms, losses = ([entry[name] for entry in logged] for name in ("grad_norm", "loss"))
    assert watch.run.series("clip/norm_before").y.tolist() == pytest.approx(norms, rel=1e-4)
    assert watch.run.series("loss/batch").y.tolist() == pytest.approx(losses, rel=1e-4)
