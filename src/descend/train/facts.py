"""What is known for certain about the parts of a recipe before the first step, for the record."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from descend.facts import data, network, optimizer, start
from descend.train.build import Parts, loss_name
from descend.train.evaluate import thinned


def facts_of(parts: Parts, first_loss: float, rows: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The facts by topic: data, network, optimizer, start and evaluation. `first_loss` is that of the training rows.

    `rows` are the facts about the data, where they are known already: to look takes 16 ms on the digits.
    """
    dataset = parts.dataset
    kind = loss_name(parts.recipe, dataset)
    return {
        "data": rows or data_facts(parts),
        "network": network.of(parts.model, dataset.train.inputs),
        "optimizer": optimizer.of({"": parts.model}, parts.optimizer),
        "start": start.of(first_loss, kind, dataset.train.targets, len(dataset.classes) or None),
        "evaluation": {
            "rows_train": len(thinned(dataset.train).inputs),
            "rows_validation": len(dataset.validation.inputs) if dataset.validation else 0,
        },
    }


def data_facts(parts: Parts) -> dict[str, Any]:
    """The facts about the rows, and about the batches that are made of them."""
    dataset, batches = parts.dataset, parts.batches
    rows = data.of(dataset.train, dataset.validation, features=dataset.features)
    rows["train"] |= {
        "batch_size": batches.size,
        "batches": batches.per_epoch,
        "last_batch": 0 if batches.last == "dropped" else len(dataset.train.inputs) % batches.size,
        "shuffled": batches.order != "fixed",
    }
    return rows


def beginning(parts: Parts) -> dict[str, dict[str, Any]]:
    """The notes that a run begins with, by kind: what is trained on what, and what theory says of it."""
    notes: dict[str, dict[str, Any]] = {
        "started": {
            "parameters": sum(parameter.numel() for parameter in parts.model.parameters()),
            "rows": len(parts.batches.inputs),
            "steps": parts.steps,
            "device": str(parts.device),
            "threads": parts.threads,
            "data": parts.fingerprint(),
            "versions": _versions(),
        }
    }
    if parts.dataset.truth:
        notes["truth"] = {"values": dict(parts.dataset.truth)}
    if limit := parts.limit():
        notes["limit"] = {"sentence": limit.sentence, "beyond": limit.beyond, **asdict(limit)}
    return notes


@cache
def _versions() -> dict[str, str]:
    """Of what trains; to look takes 3 ms."""
    return {"descend": version("descend"), "torch": torch.__version__}
