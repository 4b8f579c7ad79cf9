"""Answers to 5.6."""

from mutants import replace

SOLUTION = """
import torch


def evaluate(model, loss_of, batches):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        total, rows = 0.0, 0
        with torch.no_grad():
            for inputs, targets in batches:
                total += loss_of(model(inputs), targets).item() * len(targets)
                rows += len(targets)
        return total / rows
    finally:
        for module, mode in modes.items():
            module.training = mode
"""

_BACK = """        for module, mode in modes.items():
            module.training = mode"""

WRONG = {
    "the mean of means": replace(SOLUTION, " * len(targets)", "", "rows += len(targets)", "rows += 1"),
    "in training mode": replace(SOLUTION, "    model.eval()\n", "    model.train()\n"),
    "in the mode it is in": replace(SOLUTION, "    model.eval()\n", ""),
    "never back": replace(SOLUTION, _BACK, "        pass"),
    "train() for all": replace(SOLUTION, _BACK, "        model.train()"),
    "the mode of the whole": replace(SOLUTION, _BACK, "        model.train(modes[model])"),
    "clears the gradients": replace(
        SOLUTION, "        return total", "        model.zero_grad()\n        return total"
    ),
}
