"""Parameters are stepped twice in each update, so that their learning rate is another than it says.

A parameter that stands in two optimizers, or twice in one, is updated by each: about twice as far as its learning rate
says, with weight decay applied twice and with two running averages of the same gradient. It happens where a layer gets
a group of its own and `model.parameters()` already held it.
"""

from __future__ import annotations

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import STEPS_TOO_LONG, counted, facts, listed


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "optimizer")
    if not isinstance(seen, dict):
        return seen
    twice = seen.get("twice", ())
    if not twice:
        return None
    says = f"{counted(len(twice), 'parameter')} in more than one parameter group."
    several = ", " in str(seen.get("kind", ""))
    return Finding(
        f"{listed(twice)} {'is' if len(twice) == 1 else 'are'} trained twice: {counted(len(twice), 'parameter')} "
        f"{'stands' if len(twice) == 1 else 'stand'} in two groups, so that each update moves "
        f"{'it' if len(twice) == 1 else 'them'} twice.",
        (Evidence("facts/optimizer/twice", float(len(twice)), 0.0, says),),
        # optimizers of two kinds may be meant to take turns: Adam first, then L-BFGS
        sure=0.6 if several else 0.95,
        where=twice[0],
        remedies=(
            Remedy(
                "Give each parameter to one group only.",
                diff={
                    "[Adam(model.parameters()), Adam(model.head.parameters())]": (
                        "[Adam(model.body.parameters()), Adam(model.head.parameters())]"
                    )
                },
            ),
        ),
    )


twice_in_optimizer = Check(
    look,
    symptom="Training is less stable than its learning rate lets one expect, and a layer changes faster than the rest.",
    sick=Example(
        fault="twice_in_optimizer", data="employee_bonus", model="linear", validation=0.2, lr=0.005, epochs=40
    ),
    near_miss=Example(fault="two_optimizers", data="moons", model="mlp", width=32, lr=0.1, epochs=10),
    look_alike="Several optimizers, each with parameters of its own, as in a GAN.",
    source="PyTorch, torch.optim.Optimizer.add_param_group, which refuses it within one optimizer",
    explains=STEPS_TOO_LONG | {"chance_level", "noisy_batches", "plateau", "underfitting"},
)
