"""A callback that watches what the Trainer of Transformers trains.

    from descend.watching.transformers import Watch

    trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[Watch(validation=others)])

Its arguments are those of `descend.watch` but model, optimizer, training data and scheduler, which it gets from the
trainer. `validation` is the data set that the trainer has for `eval_dataset`. The model computes its own loss, also
where it is evaluated.
"""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from descend.run import Run
from descend.watching._watch import Watch as Watched
from descend.watching._watch import watch


class Watch(TrainerCallback):
    """Records a run from the beginning of `train` to its end; `run` is the record."""

    def __init__(self, *, validation: Any = None, **options: Any) -> None:
        self._validation, self._options = validation, options
        self._watched: Watched | None = None

    @property
    def run(self) -> Run | None:
        return self._watched.run if self._watched else None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        train = parts["train_dataloader"]
        validation = self._validation and DataLoader(self._validation, collate_fn=train.collate_fn)
        self._watched = watch(
            parts["model"],
            parts["optimizer"],
            train=train,
            validation=validation,
            scheduler=parts["lr_scheduler"],
            **self._options,
        )

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        if self._watched:
            self._watched.close()
