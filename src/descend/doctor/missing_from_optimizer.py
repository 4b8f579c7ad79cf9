"""Parameters that should be trained are in no optimizer, so that they stay as they were drawn.

An optimizer trains the tensors that it was given when it was made. A layer that replaces another later (a new head for
a pretrained model), or a model that is copied or made anew after its optimizer, is another tensor: gradients arrive at
it and nothing uses them, while the optimizer goes on with tensors that no longer matter to the loss.
"""

from __future__ import annotations

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, counted, facts, listed, names


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "optimizer")
    if not isinstance(seen, dict):
        return seen
    idle = {*names(chart, "graph", "unreached"), *names(chart, "gradients", "none")}
    missing = [name for name in seen.get("missing", ()) if name not in idle]
    foreign = seen.get("foreign", 0)
    if not missing or (not foreign and seen.get("missing_first", True)):
        return None
    strangers = f", while it holds {counted(foreign, 'tensor')} that the model no longer has" if foreign else ""
    says = f"{counted(len(missing), 'trainable parameter')} of the model in no parameter group{strangers}."
    return Finding(
        f"The optimizer does not train {listed(missing)}: {counted(len(missing), 'trainable parameter')} of the model "
        f"{'is' if len(missing) == 1 else 'are'} in none of its groups{strangers}.",
        (Evidence("facts/optimizer/missing", float(len(missing)), 0.0, says),),
        sure=0.99 if foreign else 0.8,  # what it holds instead is what was there before
        where=missing[0],
        remedies=(
            Remedy(
                "Make the optimizer after the model is complete, or give it the new parameters with add_param_group; "
                "freeze with requires_grad_(False) what is not to be trained.",
                diff={
                    "optimizer = Adam(model.parameters())\nmodel.head = nn.Linear(64, 10)": (
                        "model.head = nn.Linear(64, 10)\noptimizer = Adam(model.parameters())"
                    )
                },
            ),
        ),
    )


missing_from_optimizer = Check(
    look,
    symptom="It learns far less than it should, and some weights never change.",
    sick=Example(
        fault="missing_from_optimizer", data="spirals", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=25
    ),
    near_miss=Example(fault="frozen_body", data="spirals", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=25),
    look_alike="Fine-tuning: the first layers are frozen, or only the last ones were given to the optimizer.",
    source="PyTorch, documentation of torch.optim: an optimizer trains the parameters it is given",
    explains=LEARNS_NOTHING | {"dead_relus", "deaf_network", "saturated_units"},
)
