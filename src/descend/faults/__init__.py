"""Bugs: an ordinary PyTorch loop, and what people do wrong in it.

    run = descend.faults.run(Recipe(data="moons", model="mlp", lr=0.1), "missing_zero_grad")

`FAULTS` names them. A fault changes one piece of the loop; what is recorded does not say which.
"""

from __future__ import annotations

from descend.faults._loop import HEALTHY, PRINTED, Loop, run
from descend.faults._show import Shown, show, train_example

__all__ = ["HEALTHY", "PRINTED", "Loop", "Shown", "run", "show", "train_example"]
