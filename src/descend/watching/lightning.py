"""A callback that watches what Lightning trains.

    from descend.watching.lightning import Watch

    trainer = lightning.Trainer(callbacks=[Watch(loss=torch.nn.functional.cross_entropy)])

Its arguments are those of `descend.watch` but model, optimizer, data and scheduler, which it gets from the trainer.
`loss`, a function of outputs and targets, serves to evaluate; without it there are no evaluations.
"""

from __future__ import annotations

from typing import Any

import lightning

from descend.run import Run
from descend.watching._watch import Watch as Watched
from descend.watching._watch import watch


class Watch(lightning.Callback):
    """Records a run from the first batch of `fit` to its end; `run` is the record."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._watched: Watched | None = None

    @property
    def run(self) -> Run | None:
        return self._watched.run if self._watched else None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        validation = trainer.val_dataloaders
        schedulers = trainer.lr_scheduler_configs
        self._watched = watch(
            pl_module,
            trainer.optimizers,
            train=trainer.train_dataloader,
            validation=validation[0] if isinstance(validation, list) and validation else validation,
            scheduler=schedulers[0].scheduler if schedulers else None,
            **self._options,
        )

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._end(None)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._end(exception)

    def _end(self, error: BaseException | None) -> None:
        if self._watched:
            self._watched.__exit__(type(error) if error else None, error, None)
