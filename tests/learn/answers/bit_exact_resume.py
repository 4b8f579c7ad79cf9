"""Answers to 5.5."""

from mutants import replace

SOLUTION = """
import copy

import torch


def save(epoch, model, optimizer, scheduler, order):
    return copy.deepcopy({
        "next": epoch + 1,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "order": order.get_state(),
        "dropout": torch.get_rng_state(),
    })


def restore(state, model, optimizer, scheduler, order):
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    order.set_state(state["order"])
    torch.set_rng_state(state["dropout"])
    return state["next"]
"""

WRONG = {
    "no optimizer": replace(SOLUTION, '    optimizer.load_state_dict(state["optimizer"])\n', ""),
    "no schedule": replace(SOLUTION, '    scheduler.load_state_dict(state["scheduler"])\n', ""),
    "no random numbers": replace(SOLUTION, '    torch.set_rng_state(state["dropout"])\n', ""),
    "no order": replace(SOLUTION, '    order.set_state(state["order"])\n', ""),
    "no model": replace(SOLUTION, '    model.load_state_dict(state["model"])\n', ""),
    "the epoch again": replace(SOLUTION, "epoch + 1", "epoch"),
    "references": replace(SOLUTION, "copy.deepcopy({", "dict({"),
}
