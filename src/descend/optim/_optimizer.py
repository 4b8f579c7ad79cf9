"""RuleOptimizer: any update rule as a torch.optim.Optimizer, in anybody's loop."""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache, reduce
from operator import or_
from typing import Any, ClassVar, NoReturn, get_args, get_type_hints, overload

import torch
from torch import Tensor
from torch.optim import optimizer as torch_optimizer

from descend.catalog import OPTIMIZERS, REQUIRED, Option, Value
from descend.errors import DescendError, RecipeError, did_you_mean
from descend.optim._errors import OptimizerError, dense
from descend.optim._flat import FlatParameters
from descend.optim._rule import UpdateRule

# What a parameter group may hold besides hyperparameters; torch's schedulers ask for `initial_lr` on a resume.
GROUP_KEYS = {"params", "param_names", "name", "initial_lr"}


class RuleOptimizer(torch.optim.Optimizer):
    """An update rule as an optimizer: parameter groups, `state_dict`, hooks and torch's schedulers work as usual.

    A subclass says which: `class Mine(RuleOptimizer): rule = UpdateRule(...)`. The classes of the catalog
    (`descend.optim.Adam`) are such subclasses.

    With `flat`, the parameters of a group (of one dtype and device) become views of one buffer and the rule is called
    once for all of them, which is several times faster on small networks. What changes: `zero_grad` writes zeros
    and never sets a gradient to None; a parameter that backward did not reach steps with a gradient of zero; and
    the parameters' data must not be replaced afterwards: `model.to(...)` comes first. Parameters that are frozen when
    their group is added are left where they are. State dicts of both kinds are interchangeable.

    Raises RecipeError for a hyperparameter that is unknown or out of range, OptimizerError for closures, complex
    parameters and sparse gradients.
    """

    rule: ClassVar[UpdateRule]

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]],
        *,
        flat: bool = False,
        **hyper: Value,
    ) -> None:
        if flat and not self.rule.elementwise:
            raise OptimizerError(
                f"{type(self).__name__} needs the shape of each parameter, so they cannot lie in one flat buffer. "
                "Use flat=False."
            )
        self._prepare(flat)
        defaults = {name: option.default for name, option in self._options.items()}
        super().__init__(params, defaults | self._checked(hyper))

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> NoReturn: ...

    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise OptimizerError(
                f"{type(self).__name__} takes no closure: it looks at the loss once a step. Call loss.backward(), "
                "then step(). (torch.optim.LBFGS is made for closures.)"
            )
        if self._observed():
            self._observed_update()
        else:
            self._update()

    # torch would wrap `step` so that a profiler sees it and hooks are called, at 10 us a call. A small step takes
    # less than that (SGD: 9 us), so we take torch's wrapper only when somebody looks.
    step.hooked = True  # type: ignore[attr-defined]  # torch's own mark of a step that needs no more wrapping

    def _observed(self) -> bool:
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
            or torch.autograd.profiler._is_profiler_enabled
        )

    def _update(self) -> None:
        with torch.no_grad():
            for group, (flats, loose) in zip(self.param_groups, self._layouts, strict=True):
                hyper = {name: group[name] for name in self._options}
                for flat in flats:
                    flat.step(hyper)
                for param in loose:
                    if param.grad is not None:
                        self._step_alone(param, dense(param.grad), hyper)

    _observed_update = torch.optim.Optimizer.profile_hook_step(_update)

    def _step_alone(self, param: Tensor, grad: Tensor, hyper: dict[str, Any]) -> None:
        state = self._kept[param]
        if not state:
            state.update(self.rule.init(param), step=0)
        state["step"] += 1
        before = {name: value for name, value in state.items() if name != "step"}
        moved, after = self.rule.step(param, grad, before, state["step"], **hyper)
        param.copy_(moved)
        state.update(after)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; those in a flat buffer become zero whatever `set_to_none` says."""
        for flats, loose in self._layouts:
            for flat in flats:
                flat.zero_grad()
            for param in loose:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad = torch.zeros_like(param.grad)

    @property
    def flats(self) -> list[tuple[Tensor, Tensor]]:
        """The buffers of flat mode: (parameters, gradients), for one finite check, clip or copy for all."""
        return [(flat.values, flat.grads) for flats, _ in self._layouts for flat in flats]

    @property
    def state(self) -> defaultdict[Tensor, dict[str, Any]]:
        """The state of each parameter: "step", the number of its updates, and the tensors of the rule.

        That of flat parameters is gathered here, when somebody looks, and not on every step.
        """
        for flats, _ in self._layouts:
            for flat in flats:
                flat.show(self._kept)
        return self._kept

    @state.setter
    def state(self, state: defaultdict[Tensor, dict[str, Any]]) -> None:
        self.__dict__["state"] = state

    def put(self, state: Mapping[Tensor, dict[str, Any]]) -> None:
        """Take over the state of the parameters in flat buffers, each as `state` shows it."""
        for flats, _ in self._layouts:
            for flat in flats:
                flat.load(state)

    @property
    def _kept(self) -> defaultdict[Tensor, dict[str, Any]]:
        kept: defaultdict[Tensor, dict[str, Any]] = self.__dict__["state"]  # where torch's __setstate__ puts it
        return kept

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own. Raises as the constructor does."""
        hyper = {name: value for name, value in param_group.items() if name not in GROUP_KEYS}
        super().add_param_group(param_group | self._checked(hyper))
        try:
            self._refuse_unusable(self.param_groups[-1])
        except DescendError:
            self.param_groups.pop()
            raise
        self._layouts.append(self._lay(self.param_groups[-1]["params"]))

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"flat": self.flat}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Called by `load_state_dict` with what was saved, and by `copy` and `pickle` on an empty object."""
        if "flat" in state:
            self._prepare(state["flat"])
            super().__setstate__(state)
            self._layouts += [self._lay(group["params"]) for group in self.param_groups]
        else:
            self._refuse_foreign(state)
            for flats, _ in self._layouts:
                for flat in flats:
                    flat.load(state["state"])
            super().__setstate__(state)

    def _prepare(self, flat: bool) -> None:
        self.flat = flat
        self._options = declared(self.rule)
        self._layouts: list[tuple[list[FlatParameters], list[Tensor]]] = []

    def _lay(self, params: list[Tensor]) -> tuple[list[FlatParameters], list[Tensor]]:
        """The flat buffers of a group, and the parameters that step alone."""
        alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for param in params:
            if self.flat and param.requires_grad:
                alike.setdefault((param.dtype, param.device), []).append(param)
        flats = [FlatParameters(together, self.rule) for together in alike.values()]
        for flat in flats:
            flat.load(self._kept)
        return flats, [param for param in params if not (self.flat and param.requires_grad)]

    def _checked(self, hyper: Mapping[str, object]) -> dict[str, Any]:
        for name in hyper:
            if name not in self._options:
                raise RecipeError(
                    f"'{name}' is not a hyperparameter of {type(self).__name__}. {did_you_mean(name, self._options)}"
                )
        return {name: self._options[name].check(value) for name, value in hyper.items()}

    def _refuse_unusable(self, group: Mapping[str, Any]) -> None:
        for name in self._options:
            if group[name] == REQUIRED:
                raise RecipeError(f"{type(self).__name__} has no default for {name}: give one, as in {name}=0.1.")
        for param in group["params"]:
            if param.is_complex():
                raise OptimizerError(
                    f"A parameter of shape {list(param.shape)} is complex, and the rules here are for real numbers. "
                    "Train torch.view_as_real of it instead."
                )

    def _refuse_foreign(self, saved: Mapping[str, Any]) -> None:
        for group in saved["param_groups"]:
            if missing := self._options.keys() - group.keys():
                raise OptimizerError(
                    f"The saved state has no {', '.join(sorted(missing))}, which {type(self).__name__} needs: it is "
                    "another optimizer's. Load it into that one."
                )
        for param, state in saved["state"].items():
            own = {"step", *self.rule.init(param)}
            if state and state.keys() != own:
                raise OptimizerError(
                    f"The saved state holds {', '.join(sorted(state))}, but {type(self).__name__} keeps "
                    f"{', '.join(sorted(own))}: it is another optimizer's. Load it into that one."
                )


def declared(rule: UpdateRule) -> dict[str, Option]:
    """The hyperparameters of a rule: the keyword-only parameters of its step."""
    hints = get_type_hints(rule.step, include_extras=True)
    return {
        name: Option(name, _number(hints.get(name, float)), REQUIRED if given.default is given.empty else given.default)
        for name, given in inspect.signature(rule.step).parameters.items()
        if given.kind is given.KEYWORD_ONLY
    }


def _number(hint: Any) -> Any:
    """What a hyperparameter may be outside of vmap: its hint without `| Tensor`."""
    return reduce(or_, (kind for kind in get_args(hint) if kind is not Tensor)) if Tensor in get_args(hint) else hint


@cache
def optimizer_class(name: str) -> type[RuleOptimizer]:
    """The class of a catalog entry: 'adam' gives `descend.optim.Adam`. Raises RecipeError for an unknown name."""
    rule: UpdateRule = OPTIMIZERS[name]
    place = {"__module__": "descend.optim", "__doc__": sys.modules[rule.step.__module__].__doc__}
    return type(class_name(name), (RuleOptimizer,), place | {"rule": rule})


def class_name(name: str) -> str:
    """As torch.optim spells it where it has it ('rmsprop': RMSprop), else in capitals ('lion': Lion)."""
    spelled = {known.lower(): known for known in torch.optim.__all__}
    return spelled.get(name, "".join(word.capitalize() for word in name.split("_")))


def optimizer(name: str, params: Iterable[Any], *, flat: bool = False, **hyper: Value) -> RuleOptimizer:
    """The optimizer called `name` in the catalog: `optimizer("adam", model.parameters(), lr=1e-3)`."""
    return optimizer_class(name)(params, flat=flat, **hyper)
