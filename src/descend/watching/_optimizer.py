"""One optimizer of a watched loop: its hooks, its parameters by name, and what the monitors see of its updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from descend.catalog import Task
from descend.errors import DescendError
from descend.facts.graph import Reading
from descend.facts.optimizer import named_in
from descend.monitors._monitor import Monitor, Need, Step
from descend.monitors._norms import norms
from descend.monitors._panel import Panel, read
from descend.watching._evaluate import Evaluation
from descend.watching._forward import Seen
from descend.watching._gradients import Gradients, Pass
from descend.watching._record import Record

CLIPPED: Final = 0.999  # of a norm that is left, from which on rounding cannot have done it
CLASSES: Final = frozenset({"cross_entropy", "nll", "bce", "bce_with_logits"})
OF_PARAMETERS: Final = frozenset[Need]({"updates"})


class Updates:
    """The updates of one optimizer. Of the `first` the monitors also see what the model did."""

    def __init__(
        self,
        optimizer: Optimizer,
        others: Sequence[Optimizer],
        models: Mapping[str, nn.Module],
        monitors: Mapping[str, Monitor],
        every: int,
        record: Record,
        *,
        first: bool,
    ) -> None:
        self.optimizer, self.first = _inner(optimizer), first
        self._models, self._every = models, every
        self._others = [_inner(other) for other in others] if first else []
        if not first:
            monitors = {name: monitor for name, monitor in monitors.items() if monitor.needs <= OF_PARAMETERS}
        self._panel = Panel(monitors, every, record.report)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.gradients = Gradients(parameters, alone=not others)
        self.lrs: list[float] = []
        self._in_closure = False  # whether an update is under way that makes its own backward passes
        self._passes_before = 0
        self._step: Step | None = None
        self._missing: frozenset[Need] = frozenset()
        self._values: dict[str, Tensor] = {}
        self._clipped: dict[str, float] = {}
        self._memory: dict[str, Any] = {}  # of the monitors
        self._may_clip = True  # until it was seen that nothing writes to the gradients before the update
        self._raw: list[Tensor] = []  # norms of the gradients after the backward pass, and what scaled them
        self._scales: list[Tensor] = []
        self.due = False  # whether its next update is to be measured
        self._number = 1  # of the step for which it is
        self._measured = False
        self._given: set[str] = set()
        self._nonzero: set[str] = set()
        self._handles: list[RemovableHandle] = []
        self._begin(False)

    def hook(self, record: Record, before: Callable[[Updates], None], after: Callable[[Updates], None]) -> None:
        """Call `before` each update, when the gradients are there, and `after` it.

        An optimizer that is given a closure takes its gradients by calling that: `before` comes after the first call.
        """

        def pre(optimizer: Optimizer, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if torch.compiler.is_compiling():
                return None
            closures = [each for each in (*arguments[1:], *named.values()) if callable(each)]
            record.guard("updates", self._begin, bool(closures))
            if not closures:
                record.guard("updates", before, self)
                return None
            first = True

            def closure() -> Any:
                nonlocal first
                result = closures[0]()
                if first:
                    first = False
                    record.guard("updates", before, self)
                return result

            replaced = [closure if each is closures[0] else each for each in (*arguments, *named.values())]
            return tuple(replaced[: len(arguments)]), dict(zip(named, replaced[len(arguments) :], strict=True))

        def post(optimizer: Optimizer, arguments: Any, named: Any) -> None:
            if not torch.compiler.is_compiling():
                record.guard("updates", after, self)

        self._handles = [
            self.optimizer.register_step_pre_hook(pre),
            self.optimizer.register_step_post_hook(post),
        ]

    def remove(self) -> None:
        """Leave no hook behind, and keep no batch."""
        for handle in self._handles:
            handle.remove()
        self._step = None

    def _begin(self, closure: bool) -> None:
        self._in_closure, self._passes_before = closure, len(self.gradients.passes)
        self.lrs = [float(group["lr"]) for group in self.optimizer.param_groups]

    def end(self) -> None:
        """The update has been made, and measured if it was due."""
        self._in_closure = self.due = False
        self._step = None

    @property
    def searches(self) -> bool:
        """Whether the update under way has made several backward passes of its own, as a line search does."""
        return self._in_closure and len(self.gradients.passes) > self._passes_before + 1

    def passes(self) -> list[Pass]:
        """The backward passes whose sum the gradient is, before the parameters change."""
        return [self.gradients.passes[self._passes_before]] if self.searches else self.gradients.counted()

    @property
    def measured_before(self) -> bool:
        """Whether the monitors have seen the step before the update, and not yet after it."""
        return self._step is not None

    def expect(self, number: int) -> None:
        """The step to come is `number`. Where that is due, this optimizer's next update is measured."""
        if (number - 1) % self._every == 0:
            self.due, self._number = True, number

    def needs_activations(self, number: int) -> bool:
        return "activations" in self._panel.needs(number)

    def named(self) -> dict[str, Tensor]:
        """The trainable parameters whose updates these are, by name; of the first optimizer also those of none."""
        own = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        others = {id(p) for other in self._others for group in other.param_groups for p in group["params"]}
        return {
            name: parameter
            for name, parameter in named_in(self._models)
            if parameter.requires_grad and (id(parameter) in own or (self.first and id(parameter) not in others))
        }

    def after_backward(self, scales: Sequence[Tensor]) -> None:
        """Note how large the gradients are, in case they are clipped before the update."""
        if self.first and self._step is None and self._may_clip:
            self._raw = norms(_dense(parameter) for parameter in self.named().values())
            self._scales = list(scales)

    def measure_before(
        self, loss: Any, seen: Seen | None, reading: Reading | None, evaluation: Evaluation | None
    ) -> None:
        """Show the monitors the step before the update."""
        named = self.named()
        if not named:
            return  # there is nothing to train
        self._may_clip = self.gradients.rewritten()
        gradients, clipped = self._gradients(named)
        self._count(named)
        self._clipped = clipped
        outputs, targets, task = _judged(seen, reading)
        inputs = None if seen is None else seen.first
        rows = len(next((each for each in (outputs, targets, inputs) if each is not None), ()))
        missing: set[Need] = set()
        if seen is None or not seen.activations:
            missing.add("activations")
        if outputs is None:
            missing.add("outputs")
        if targets is None:
            missing.add("targets")
        loss_of = None if evaluation is None else evaluation.loss_at(named)
        if inputs is None or targets is None or loss_of is None or len(inputs) != len(targets):
            missing.add("loss_of")
        nothing = torch.zeros(rows, 0)
        self._missing = frozenset(missing)
        parameter = next(iter(named.values()))
        self._step = Step(
            number=self._number,
            loss=loss if isinstance(loss, Tensor) else parameter.new_tensor(float("nan") if loss is None else loss),
            inputs=nothing if inputs is None or len(inputs) != rows else inputs.detach(),
            targets=nothing if targets is None else targets,
            outputs=nothing if outputs is None else outputs,
            task=task,
            lr=self.lrs[0],
            parameters={name: p.detach() for name, p in named.items()},
            gradients=gradients,
            activations={} if seen is None else seen.activations,
            loss_of=loss_of,
            memory=self._memory,
        )
        self._values = self._panel.measure(self._step, "before", self._missing)

    def measure_after(self) -> dict[str, float]:
        """Show them the step after the update. Everything measured, in one transfer."""
        step, self._step = self._step, None
        assert step is not None, "measure_before comes first"
        self._measured = True
        values = self._values | self._panel.measure(step, "after", self._missing)
        floats = read({name: value.float() for name, value in values.items()}) | self._clipped
        self._values, self._raw = {}, []
        return floats if self.first else {name: it for name, it in floats.items() if not name.endswith("/all")}

    def _gradients(self, named: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The gradients as they were before clipping; and if they were clipped, their norm before and after."""
        scale = getattr(self.optimizer, "grad_scale", None)  # a fused optimizer divides by it itself
        gradients = {name: _dense(p) if scale is None else _dense(p) / scale for name, p in named.items()}
        if not self._raw or not self._may_clip:
            return gradients, {}
        now = torch.stack(norms(gradients.values())).double()
        before = torch.stack(self._raw).double()
        for each in self._scales:
            before = before / each
        total, left = float(before.norm()), float(now.norm())
        if not left < CLIPPED * total < float("inf"):
            return gradients, {}
        shares = now[before > 0] / before[before > 0]
        if float(shares.max() - shares.min()) < 1e-2 * float(shares.max()):  # by norm, so it can be undone
            gradients = {name: gradient * (total / left) for name, gradient in gradients.items()}
        return gradients, {"clip/norm_before": total, "clip/norm_after": left}

    def _count(self, named: Mapping[str, Tensor]) -> None:
        """Which parameters ever got a gradient, and one that is not zero."""
        for name, parameter in named.items():
            if parameter.grad is not None:
                self._given.add(name)
                if name not in self._nonzero and bool(torch.any(_dense(parameter))):
                    self._nonzero.add(name)

    def never_given(self) -> list[str]:
        """Parameters without a gradient at every step that was measured."""
        return [name for name in self.named() if name not in self._given] if self._measured else []

    def always_zero(self) -> list[str]:
        """Parameters whose gradient was exactly zero at every step that was measured."""
        return [name for name in self.named() if name in self._given - self._nonzero]


def _inner(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside a wrapper such as Accelerate's, whose steps call it."""
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer):
        return _inner(inner)
    if not hasattr(optimizer, "register_step_post_hook"):
        raise DescendError(f"{type(optimizer).__name__} is no torch.optim.Optimizer, whose hooks tell when it updates.")
    return optimizer


def _dense(parameter: Tensor) -> Tensor:
    """Its gradient, zero where it has none."""
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    gradient = parameter.grad.detach()
    return gradient.to_dense() if gradient.is_sparse else gradient


def _judged(seen: Seen | None, reading: Reading | None) -> tuple[Tensor | None, Tensor | None, Task]:
    """Outputs and targets as the monitors know them: a row an example, classes last, and class numbers."""
    output = None if seen is None else seen.output
    if reading is None or reading.loss is None:
        return output, None, "regression"
    given, target = reading.output, reading.target
    task: Task = "classification" if reading.loss in CLASSES else "regression"
    if given is None or target is None:
        return (output if given is None else given), None, task
    if reading.loss in ("bce", "bce_with_logits"):
        given = (given - 0.5 if reading.loss == "bce" else given).unsqueeze(-1)  # positive for class 1
        target = target.round().long()
    elif task == "classification":
        given = given.movedim(1, -1) if given.dim() > 2 else given
        target = target.argmax(-1) if target.is_floating_point() and target.shape == given.shape else target
    if target.shape != (given.shape[:-1] if task == "classification" else given.shape):
        return given, None, task
    rows = len(seen.first) if seen is not None and seen.first is not None else len(given)
    if rows and len(given) != rows and len(given) % rows == 0:  # a row of the loss is a position of an example
        given, target = (each.reshape(rows, -1, *each.shape[1:]) for each in (given, target))
    return given, target, task
