"""No gradient reaches some parameters although they take part, so that they are never trained.

The backward pass goes back along what the forward pass recorded. A `.detach()`, a `with torch.no_grad()`, a way through
NumPy or `.item()` in the middle cuts that record; layers in a plain Python list are not seen by `model.parameters()`,
so that no optimizer has them; gradients set to zero between the backward pass and the step are gone before their use.
Layers that are frozen (requires_grad False), or that were not given to the optimizer, are so on purpose.
"""

from __future__ import annotations

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, counted, facts, listed, names


def look(chart: Chart) -> Finding | Unknown | None:
    forgotten = names(chart, "network", "unregistered")
    if forgotten and not chart.fact("optimizer", "foreign"):  # else the optimizer was given them one by one
        return _forgotten(forgotten)
    seen = facts(chart, "graph")
    if not isinstance(seen, dict):
        return seen
    if seen.get("unreached") is None:
        return Unknown("a backward pass")
    left_alone = {*names(chart, "network", "frozen"), *names(chart, "optimizer", "missing")}
    trained = [name for name in names(chart, "network", "names") if name not in left_alone]
    cut = [name for name in seen["unreached"] if name not in left_alone]
    if trained and {*trained} <= {*cut}:
        return _without_history(trained)
    none, zero = names(chart, "gradients", "none"), names(chart, "gradients", "zero")
    if trained and {*trained} <= {*none, *zero, *cut}:
        return _thrown_away(trained, bool(zero))
    if not cut:
        return None
    return _cut(cut, trained) if cut[0] == trained[0] else _unused(cut)


def _forgotten(found: list[str]) -> Finding:
    says = f"{counted(len(found), 'parameter')} in plain lists or dictionaries of the model."
    return Finding(
        f"The model does not know {listed(found)}: {counted(len(found), 'parameter')} in a plain Python list or "
        "dictionary, so that model.parameters() leaves them out and no optimizer trains them.",
        (Evidence("facts/network/unregistered", float(len(found)), 0.0, says),),
        sure=0.97,
        where=found[0],
        remedies=(
            Remedy(
                "Keep modules in nn.ModuleList or nn.ModuleDict, parameters in nn.ParameterList, and make the "
                "optimizer after that.",
                diff={"self.layers = [nn.Linear(64, 64)]": "self.layers = nn.ModuleList([nn.Linear(64, 64)])"},
            ),
        ),
    )


def _without_history(trained: list[str]) -> Finding:
    says = f"The graph of the loss reaches none of {counted(len(trained), 'trainable parameter')}."
    return Finding(
        f"The loss has no connection to the model: its backward pass reaches none of the {len(trained)} trainable "
        f"parameters ({listed(trained)}), so that nothing is learned.",
        (Evidence("facts/graph/unreached", float(len(trained)), 0.0, says),),
        sure=0.98,
        remedies=(
            Remedy(
                "Call backward() on the tensor that the loss function returned: no .item(), .detach(), torch.tensor() "
                "or NumPy between the model and the loss.",
                diff={"loss = torch.tensor(loss.item(), requires_grad=True)\nloss.backward()": "loss.backward()"},
            ),
        ),
    )


def _thrown_away(trained: list[str], zero: bool) -> Finding:
    what = "exactly zero" if zero else "gone"
    says = f"At every checked step the gradients of {counted(len(trained), 'parameter')} were {what} at the update."
    return Finding(
        f"No gradient is left when the optimizer steps: at every checked step it was {what} for all "
        f"{len(trained)} parameters, so that the weights do not move.",
        (Evidence("facts/gradients/none", float(len(trained)), 0.0, says),),
        sure=0.8 if zero else 0.95,  # exactly zero may be a dead output layer
        remedies=(
            Remedy(
                "Set the gradients to zero before the backward pass, not between it and the step; and let the loss "
                "change smoothly with the outputs (no round, sign or comparison).",
                diff={
                    "loss.backward()\noptimizer.zero_grad()\noptimizer.step()": (
                        "optimizer.zero_grad()\nloss.backward()\noptimizer.step()"
                    )
                },
            ),
        ),
    )


def _cut(cut: list[str], trained: list[str]) -> Finding:
    says = f"The backward pass does not reach {len(cut)} of {len(trained)} parameters in the optimizer."
    return Finding(
        f"The way back is cut after {cut[-1]}: no gradient reaches the first {counted(len(cut), 'parameter')} "
        f"({listed(cut)}), which stay as they were drawn, while the {len(trained) - len(cut)} behind them learn.",
        (Evidence("facts/graph/unreached", float(len(cut)), 0.0, says),),
        sure=0.95,
        where=cut[-1],
        remedies=(
            Remedy(
                "Take out the .detach(), torch.no_grad() or .data between these layers and the next; or, if they are "
                "not to be trained, freeze them with requires_grad_(False) and leave them out of the optimizer.",
                diff={"self.head(self.body(x).detach())": "self.head(self.body(x))"},
            ),
        ),
    )


def _unused(cut: list[str]) -> Finding:
    says = f"The loss does not depend on {counted(len(cut), 'parameter')} that the optimizer has."
    return Finding(
        f"The loss does not depend on {listed(cut)}: {counted(len(cut), 'parameter')} in the optimizer "
        f"{'gets' if len(cut) == 1 else 'get'} no gradient. Is a layer forgotten in forward()?",
        (Evidence("facts/graph/unreached", float(len(cut)), 0.0, says),),
        sure=0.5,  # a part for another use of the model looks the same, such as the pooler of a BERT
        where=cut[0],
        remedies=(Remedy("Use the layer in forward(), or take it out, or freeze it with requires_grad_(False)."),),
    )


no_gradient = Check(
    look,
    symptom="Some layers, or all of them, keep the weights that they began with.",
    sick=Example(fault="no_gradient", data="spirals", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=25),
    near_miss=Example(fault="frozen_body", data="spirals", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=25),
    look_alike="Layers frozen on purpose, and parts that only another use of the model needs.",
    source="PyTorch notes, Autograd mechanics: locally disabling gradient computation",
    explains=LEARNS_NOTHING | {"update_ratio", "missing_from_optimizer"},
)
