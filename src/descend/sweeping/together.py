"""The `vmap` lane: all runs of a cohort in one program, whatever the model.

Stacked parameters [runs, ...] go through the model by `torch.func.vmap`, and back by autograd. All of them lie in one
buffer [runs, numbers], which the optimizers' own update rules move: one call for all runs of an optimizer.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Final

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap

from descend.facts.network import STOCHASTIC
from descend.recipe import Recipe
from descend.sweeping._cohort import Cohort
from descend.sweeping._moves import Moves, named
from descend.sweeping._recording import recorded
from descend.sweeping._stack import Losses
from descend.sweeping._vmappable import vmappable
from descend.train.build import Parts, flops_a_step

CACHE: Final = 2 * 2**20  # bytes of a core's second-level cache
MEMORY: Final = 2**30  # bytes that runs on a GPU may take together
LEAST: Final = 16  # runs: with fewer, calling operations costs more than the cache saves
SMALL: Final = 50e6  # operations of a step; dense and small convolutional networks have 2e6 to 2e7, and gain most


def why_not(parts: Parts, recipe: Recipe) -> str:
    """Why this lane cannot take a recipe, or would be slower than one run after the other; empty where it can."""
    if any(isinstance(module, STOCHASTIC) for module in parts.model.modules()):
        return "Dropout draws the numbers of a run from one stream, in the order of its layers."
    if recipe.non_finite != "stop":
        return f"With non_finite = '{recipe.non_finite}' a run may leave out steps that the runs beside it make."
    if recipe.micro_batch is not None and recipe.micro_batch < parts.batches.size:
        return f"A batch of {parts.batches.size} rows is accumulated from micro-batches of {recipe.micro_batch}."
    operations = flops_a_step(copy.deepcopy(parts.model), _batch(parts))
    if operations > SMALL and parts.device.type == "cpu":
        return f"A step is {operations:.1e} operations, enough for a core by itself: runs together would be slower."
    return ""


def runs_at_once(cohort: Cohort) -> int:
    """How many runs keep what a step touches in a core's cache, but enough of them to be worth it."""
    parts = cohort.parts
    room = CACHE if parts.device.type == "cpu" else MEMORY
    size: int = getattr(torch, parts.recipe.dtype).itemsize
    return max(LEAST, room // (_numbers_a_step(parts) * size))


def _numbers_a_step(parts: Parts) -> int:
    """About how many numbers a step of one run touches: weights, gradients and state, inputs, and outputs of layers."""
    model = copy.deepcopy(parts.model)
    outputs = 0

    def count(module: nn.Module, given: object, output: Tensor | tuple[Tensor, ...]) -> None:
        nonlocal outputs
        outputs += (output if isinstance(output, Tensor) else output[0]).numel()

    for module in model.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(count)
    batch = _batch(parts)
    with torch.no_grad():
        model.eval()(batch)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return 4 * weights + batch.numel() + 2 * outputs


def _batch(parts: Parts) -> Tensor:
    return parts.batches.inputs[: parts.batches.size]


def _worth_recording(model: nn.Module, inputs: Tensor) -> bool:
    """Whether to call operations takes about as long as to do them. An unrolled recurrence takes seconds to record."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    return not recurrent and flops_a_step(model, inputs) < SMALL


class TogetherStack:
    """A Stack in which one operation on tensors [runs, ...] does the work of all runs."""

    def __init__(self, cohort: Cohort) -> None:
        self.step = 0
        self.died: Int64[Tensor, " runs"] = torch.zeros(len(cohort), dtype=torch.int64, device=cohort.parts.device)
        parameters, self._buffers = cohort.initial()
        self._shapes = {name: each.shape[1:] for name, each in parameters.items()}
        self._weights = torch.cat([each.flatten(1) for each in parameters.values()], dim=1)
        self._model = vmappable(cohort.parts.model).train()
        self._moves = Moves(cohort, self._weights, self._shapes)
        self._recorded = _worth_recording(self._model, _batch(cohort.parts))
        self._take(cohort)

    @property
    def parameters(self) -> dict[str, Shaped[Tensor, "runs ..."]]:
        """The weights as they are now, by name and in torch's shapes; not to be written to."""
        return named(self._weights, self._shapes)

    @property
    def buffers(self) -> dict[str, Shaped[Tensor, "runs ..."]]:
        """The running statistics of batch norm, by name; empty where there are none."""
        return self._buffers

    def advance(self, steps: int) -> Losses:
        """Train for `steps` more steps."""
        losses = self._weights.new_full((steps, len(self.died)), torch.nan)
        norms = None if self._limits is None else torch.full_like(losses, torch.nan)
        factors = self._cohort.factors(self.step, steps).to(losses.device)
        for number in range(steps):
            self._advance(factors[number], losses[number], None if norms is None else norms[number])
        return Losses(losses, norms)

    def keep(self, runs: Int64[Tensor, " kept"]) -> None:
        """Go on with these runs alone, in this order: the others have ended."""
        self._weights, self.died = self._weights[runs], self.died[runs]
        self._buffers = {name: buffer[runs] for name, buffer in self._buffers.items()}
        self._moves.keep(runs)
        self._take(self._cohort.pick(runs.tolist()))

    def _take(self, cohort: Cohort) -> None:
        """Train the runs of this cohort from the next step on."""
        device = self._weights.device
        self._cohort = cohort
        self._dead = self.died.nonzero()[:, 0]
        self._feed = cohort.batches_after(self.step)
        self._seeds = cohort.seed_number.to(device) if len(cohort.batches) > 1 else None
        limits = cohort.limits
        self._limits = (
            None
            if limits is None
            else tuple(
                torch.from_numpy(limits[name])[:, None].to(self._weights) for name in ("clip_norm", "clip_value")
            )
        )

    def _advance(self, factors: Float64[Tensor, " runs"], losses: Tensor, norms: Tensor | None) -> None:
        """One step; its losses and the norms of the gradients are written."""
        self.step += 1
        loss, gradients, buffers = self._backward(*next(self._feed))
        losses.copy_(loss)
        losses[self._dead] = torch.nan
        # zero times what is not finite is NaN, and a sum of zeros cannot overflow
        spoiled = (self._weights * 0).add_(gradients, alpha=0).sum(1).add_(loss, alpha=0).isnan()
        spoiled[self._dead] = False
        if bool(spoiled.any()):
            self.died = self.died.masked_fill(spoiled, self.step)
            self._dead = self.died.nonzero()[:, 0]
        if norms is not None:
            norms.copy_(self._clip(gradients))
            norms[self._dead] = torch.nan
        # to put a few rows back costs less than to choose between old and new for every number of every run
        frozen = self._weights[self._dead]
        self._moves.move(self._weights, gradients, self.step, factors)
        self._weights[self._dead] = frozen
        for name, buffer in buffers.items():
            buffer[self._dead] = self._buffers[name][self._dead]
        self._buffers = buffers

    def _backward(
        self, inputs: Shaped[Tensor, "seeds rows ..."], targets: Shaped[Tensor, "seeds rows ..."]
    ) -> tuple[Float[Tensor, " runs"], Float[Tensor, "runs numbers"], dict[str, Tensor]]:
        """The loss of each run, the gradients of its weights, and its buffers after the forward pass."""
        shared = self._seeds is None
        batch = (inputs[0], targets[0]) if shared else (inputs[self._seeds], targets[self._seeds])
        tensors = self._weights, self._buffers, *batch
        function = partial(self._gradients, shared, self._cohort.parts.batches.weight(inputs.shape[1]))
        if self._recorded:
            result = recorded(function, self._cohort.parts.model, (len(self.died), shared, inputs.shape[1]), *tensors)
        else:
            result = function(*tensors)
        return result  # type: ignore[no-any-return]

    def _gradients(
        self,
        shared: bool,
        weight: float,
        weights: Float[Tensor, "runs numbers"],
        buffers: dict[str, Tensor],
        inputs: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The same for a batch that is `shared`, or stacked; `weight` is what the loss counts in the gradients."""
        parameters = {name: each.requires_grad_() for name, each in named(weights.detach(), self._shapes).items()}
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        per_run = None if shared else 0
        losses = vmap(self._loss, (0, 0, per_run, per_run))(parameters, buffers, inputs, targets)
        gradients = torch.autograd.grad(losses, list(parameters.values()), torch.full_like(losses, weight))
        return losses.detach(), torch.cat([each.flatten(1) for each in gradients], dim=1), buffers

    def _loss(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """The loss of one run; its buffers are written to."""
        return self._cohort.parts.loss(functional_call(self._model, (parameters, buffers), (inputs,)), targets)

    def _clip(self, gradients: Float[Tensor, "runs numbers"]) -> Float[Tensor, " runs"]:
        """Clip in place as the recipes say; the norms before."""
        assert self._limits is not None, "somebody clips"
        longest, largest = self._limits
        norms: Tensor = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((longest / (norms + 1e-6)).clamp(max=1.0))
        torch.clamp(gradients, -largest, largest, out=gradients)
        return norms.squeeze(1)
