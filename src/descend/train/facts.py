"""What is known for certain about the parts of a recipe before the first step, for the record."""

from __future__ import annotations

from typing import Any

from descend.facts import data, network, optimizer, start
from descend.train.build import Parts, loss_name
from descend.train.evaluate import thinned


def facts_of(parts: Parts, first_loss: float) -> dict[str, dict[str, Any]]:
    """The facts by topic: data, network, optimizer, start and evaluation. `first_loss` is that of the training rows."""
    dataset, batches = parts.dataset, parts.batches
    rows = data.of(dataset.train, dataset.validation, features=dataset.features)
    rows["train"] |= {
        "batch_size": batches.size,
        "batches": batches.per_epoch,
        "last_batch": 0 if batches.last == "dropped" else len(dataset.train.inputs) % batches.size,
        "shuffled": batches.order != "fixed",
    }
    kind = loss_name(parts.recipe, dataset)
    return {
        "data": rows,
        "network": network.of(parts.model, dataset.train.inputs),
        "optimizer": optimizer.of({"": parts.model}, parts.optimizer),
        "start": start.of(first_loss, kind, dataset.train.targets, len(dataset.classes) or None),
        "evaluation": {
            "rows_train": len(thinned(dataset.train).inputs),
            "rows_validation": len(dataset.validation.inputs) if dataset.validation else 0,
        },
    }
