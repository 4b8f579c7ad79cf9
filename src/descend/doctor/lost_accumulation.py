"""Gradients are to be accumulated over several batches, but all except the last are thrown away.

To train with batches larger than the memory holds, one runs several backward passes, whose gradients add up, and then
one step. With `zero_grad` inside that loop only the last small batch counts: the other forward and backward passes were
for nothing, and the update is as noisy as that of a small batch while the learning rate was chosen for a large one. If
the loss is divided by the number of batches, as it should be, the steps are that many times too short as well.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import facts

FEWEST: Final = 4  # steps that must have been checked
SHARE: Final = 0.5  # of them; a loop with this bug has 1 (its ragged end may be less), a healthy one 0


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "gradients")
    if not isinstance(seen, dict):
        return seen
    steps, lost, passes = seen["steps"], seen["lost"], seen["backwards"]
    if steps < FEWEST:
        return Unknown(f"{FEWEST} steps of the optimizer")
    if lost / steps < SHARE:
        return None
    says = f"At {lost:,} of {steps:,} checked steps, gradients were set to zero between backward passes of one update."
    return Finding(
        f"Gradients are lost: an update is made after {passes:g} backward passes, but the gradients are set to zero "
        f"between them (at {lost:,} of {steps:,} checked steps), so that only the last batch of the {passes:g} counts.",
        (Evidence("facts/gradients/lost", lost / steps, SHARE, says),),
        sure=0.9,  # methods that take two looks at a batch, such as SAM, also begin twice before they step
        remedies=(
            Remedy(
                "Set the gradients to zero once an update, right after the step, not once a batch.",
                diff={
                    "optimizer.zero_grad()\nloss.backward()": "loss.backward()",
                    "optimizer.step()": "optimizer.step()\noptimizer.zero_grad()",
                },
            ),
        ),
    )


lost_accumulation = Check(
    look,
    symptom="A large accumulated batch trains as slowly and as noisily as the small batches that it is made of.",
    sick=Example(
        fault="lost_accumulation",
        data="moons",
        model="mlp",
        width=32,
        lr=0.3,
        epochs=15,
        batch_size=64,
        micro_batch=8,
    ),
    near_miss=Example(
        fault="none", data="moons", model="mlp", width=32, lr=0.3, epochs=15, batch_size=64, micro_batch=8
    ),
    look_alike="Gradients accumulated as they should be; and methods that look twice at a batch before a step (SAM).",
    source="PyTorch, documentation of torch.Tensor.backward: gradients accumulate in the leaves",
    explains=frozenset({"loss_spikes", "lr_too_high", "lr_too_low", "noisy_batches", "plateau", "underfitting"}),
)
