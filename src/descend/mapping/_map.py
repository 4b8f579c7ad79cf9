"""survey: train a run in every cell of a plane of two hyperparameters; Map: what came of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int64

from descend.errors import DescendError, RecipeError, did_you_mean
from descend.files import write_atomically
from descend.mapping._axis import Axis
from descend.mapping._theory import Theory, theory_of
from descend.plots._runs import number
from descend.recipe import Recipe
from descend.run import Floats

if TYPE_CHECKING:
    from descend.plots._style import Figure
    from descend.sweeping._outcomes import Outcomes

Show = Literal["loss", "steps", "outcome"]

OUTCOMES: Final = ("trained", "oscillated", "diverged")

CLIMB: Final = 0.25
"""From which climb on a run has oscillated.

An mlp at good learning rates climbs 0.01 to 0.16 (moons and digits, Adam and SGD); Adam at 0.1 climbs 0.39, the heavy
ball with momentum 0.99 on the bonus data 0.81.
"""

ARRIVED: Final = 1e-6  # of the first loss: a run that came down to it has arrived, and what is below is rounding

EVALUATIONS: Final = 50  # of a run of given steps: so finely are climbs and the steps to a target seen

CELLS: Final = 2**20  # of one map: an hour of small runs
AT_ONCE: Final = 2**16  # cells whose recipes are in memory together, 2 kB each


class Deviation(NamedTuple):
    """How far the measured boundary of training is from the theory's line."""

    cells: int  # the greatest distance, in cells, counting diagonal neighbours as 1; 0 where every cell agrees
    rate: float  # the same as a share of the learning rate: 0.01 where a run 1 % beyond the limit did not diverge
    wrong: int  # cells on the other side than theory says


@dataclass(frozen=True, eq=False, repr=False)
class Map:
    """A plane of two hyperparameters, a run in every cell. Arrays are [rows, columns]: y upwards, x to the right.

    `measure` is the loss that is shown: loss/validation where the data have such rows, else loss/train. `climb` is how
    much of its way down a run went up again, in the logarithm of that loss from one evaluation to the next; what lies
    below a millionth of the first loss counts as level ground. By it a run has

    - diverged, if a loss, gradient or weight was not finite or the last loss is above the first (then climb > 1);
    - oscillated, if it ended below its start, but climbed a quarter or more of what it fell;
    - trained, if it came down and climbed less.

    On a quadratic, gradient descent below its limit never climbs. The heavy ball does where it swings around the
    minimum: along an eigenvector whose lr lambda lies between (1 - sqrt(beta))^2 and (1 + sqrt(beta))^2. A swing that
    is in step with the evaluations goes unseen; evaluate_every=1 sees all.
    """

    recipe: Recipe  # what the cells share
    x: Axis
    y: Axis
    measure: str
    first: Float64[np.ndarray, "rows columns"]  # the loss before the first update
    loss: Float64[np.ndarray, "rows columns"]  # the last loss; infinite where the run died
    climb: Float64[np.ndarray, "rows columns"]  # infinite where the run died
    died: Int64[np.ndarray, "rows columns"]  # the update that could not be made; 0 where all were
    steps: Float64[np.ndarray, "rows columns"]  # updates to recipe.target_loss; infinite where it was not reached
    theory: Theory | None
    seconds: float  # of training

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def cell(self, column: int, row: int) -> Recipe:
        """The recipe of a cell: `fit` makes its run."""
        return _cell(self.recipe, self.x, self.y, column, row)

    @property
    def outcome(self) -> Int64[np.ndarray, "rows columns"]:
        """The place of each cell's outcome in OUTCOMES: 0 trained, 1 oscillated, 2 diverged."""
        outcome: Int64[np.ndarray, "rows columns"] = np.where(self.diverged, 2, np.where(self.climb >= CLIMB, 1, 0))
        return outcome

    @property
    def diverged(self) -> Bool[np.ndarray, "rows columns"]:
        """Which runs died, or ended above the loss that they began with."""
        diverged: Bool[np.ndarray, "rows columns"] = ~(self.loss <= self.first)
        return diverged

    @property
    def boundary(self) -> Bool[np.ndarray, "rows columns"]:
        """The cells that lie on the boundary of training: beside one, or cornering on one, of the other side."""
        both: Bool[np.ndarray, "rows columns"] = _grown(self.diverged) & _grown(~self.diverged)
        return both

    @property
    def deviation(self) -> Deviation | None:
        """How far the measured boundary is from the theory's line; None where there is none, or it is not exact."""
        if self.theory is None or not self.theory.exact:
            return None
        beyond = self.theory.pressure > 1
        wrong = self.diverged != beyond
        rate = float(np.abs(self.theory.pressure[wrong] - 1).max(initial=0.0))
        return Deviation(_distance(beyond, self.diverged), rate, int(wrong.sum()))

    @property
    def sentences(self) -> list[str]:
        """What the map shows, in words."""
        return [sentence for sentence in (self._counts(), self._best(), self._fastest(), self._line()) if sentence]

    def draw(self, show: Show = "loss") -> Figure:
        """The map as a picture: `show` the last loss, the updates to the target loss, or the outcome.

        Raises RecipeError as `require_shown`.
        """
        from descend.mapping._picture import picture

        require_shown(show, self.recipe)
        return picture(self, show)

    def zoom(
        self,
        factor: float = 4,
        around: tuple[float, float] | None = None,
        *,
        progress: bool = False,
        workers: int | None = None,
    ) -> Map:
        """The map of a part of this one, `factor` times shorter on each side, with as many cells.

        The part lies around a point (x, y); without one, where the boundary of training is most intricate: it is the
        part with the most cells of the boundary. Raises RecipeError where there is no boundary, or the axes would have
        values that the recipe's dtype cannot tell apart.
        """
        if not factor > 1:
            raise RecipeError(f"factor is {factor:g}, but a zoom needs one above 1.")
        x, y = around or self._most_intricate(factor)
        axes = self.x.narrowed(factor, x, self.recipe), self.y.narrowed(factor, y, self.recipe)
        return survey(self.recipe, *axes, progress=progress, workers=workers)

    def _most_intricate(self, factor: float) -> tuple[float, float]:
        """The middle of the part with the most cells of the boundary."""
        if not self.boundary.any():
            raise RecipeError(
                "There is no boundary to zoom into: "
                f"{'every run' if self.diverged.any() else 'no run'} of this map diverged. Say around which point."
            )
        height, width = (max(1, round(len(axis) / factor)) for axis in (self.y, self.x))
        sums = np.pad(self.boundary.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        held = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
        best = np.argwhere(held == held.max())
        row, column = best[len(best) // 2]  # of several the middle one, rather than a corner of the map
        return self.x.values[column + width // 2], self.y.values[row + height // 2]

    def save(self, file: str | Path) -> Path:
        """Write the map to an .npz file: its arrays by name, and `about`, JSON with the recipe and the axes."""
        about = {
            "recipe": self.recipe.fields(),
            "axes": {name: {"field": axis.field, "scale": axis.scale} for name, axis in (("x", self.x), ("y", self.y))},
            "measure": self.measure,
            "seconds": self.seconds,
            "theory": self.theory and {"formula": self.theory.formula, "exact": self.theory.exact},
            "sentences": self.sentences,
        }
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, about=np.array(json.dumps(about)), **self.arrays())
        file = Path(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content.getvalue())
        return file

    @classmethod
    def load(cls, file: str | Path) -> Map:
        """Read a map that `save` has written. Raises DescendError where the file is none."""
        try:
            with np.load(io.BytesIO(Path(file).read_bytes())) as stored:
                arrays = dict(stored)
            about = json.loads(str(arrays.pop("about")))
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile):
            raise DescendError(f"{file} is not a map. `descend map` writes one beside its picture.") from None
        x, y = (
            Axis(about["axes"][side]["field"], tuple(arrays.pop(side).tolist()), about["axes"][side]["scale"])
            for side in ("x", "y")
        )
        pressure = arrays.pop("pressure", None)
        theory = None if pressure is None else Theory(pressure=pressure, **about["theory"])
        return cls(
            Recipe(**about["recipe"]),
            x,
            y,
            **arrays,
            measure=about["measure"],
            theory=theory,
            seconds=about["seconds"],
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything of numbers: x and y, the arrays of the map, and the theory's pressure where there is one."""
        sides = {"x": np.array(self.x.values), "y": np.array(self.y.values)}
        cells = {name: getattr(self, name) for name in ("first", "loss", "climb", "died", "steps")}
        return sides | cells | ({} if self.theory is None else {"pressure": self.theory.pressure})

    # --- in words -----------------------------------------------------------------------------------------------------

    def _counts(self) -> str:
        shares = np.bincount(self.outcome.ravel(), minlength=len(OUTCOMES)) / self.outcome.size
        told = ", ".join(f"{_percent(share)} {name}" for name, share in zip(OUTCOMES, shares, strict=True) if share)
        return f"Of {self.outcome.size:,} runs, trained in {self.seconds:.3g} s: {told}."

    def _best(self) -> str:
        if not np.isfinite(self.loss).any():
            return ""
        row, column = np.unravel_index(np.argmin(self.loss), self.loss.shape)
        return f"The lowest {self.measure} is {number(float(self.loss[row, column]))}, at {self._at(row, column)}."

    def _fastest(self) -> str:
        target = self.recipe.target_loss
        if target is None:
            return ""
        if not np.isfinite(self.steps).any():
            return f"No run came to a loss of {number(target)}."
        row, column = np.unravel_index(np.argmin(self.steps), self.steps.shape)
        share = np.isfinite(self.steps).mean()
        fastest = f"the first after {self.steps[row, column]:,.0f} updates, at {self._at(row, column)}"
        return f"{_percent(share)} of the runs came to a loss of {number(target)}, {fastest}."

    def _at(self, row: np.intp, column: np.intp) -> str:
        return (
            f"{self.x.field} = {number(self.x.values[column], 4)} and {self.y.field} = {number(self.y.values[row], 4)}"
        )

    def _line(self) -> str:
        if self.theory is None:
            return ""
        low, high = float(self.theory.pressure.min()), float(self.theory.pressure.max())
        line = f"Theory: in the long run full-batch training diverges beyond a learning rate of {self.theory.formula}"
        if not low <= 1 <= high:
            line += f", which the whole map is {'below' if high < 1 else 'beyond'}"
        far = self.deviation
        if far is None:
            return f"{line}."
        if not far.wrong:
            return f"{line}, and so it is in every cell."
        cells = f"{far.cells} cell{'s' * (far.cells > 1)}"
        wrong = f"{far.wrong:,} of {self.loss.size:,} runs {'are' if far.wrong > 1 else 'is'} on the other side"
        return f"{line}. The measured boundary is at most {cells} away, or {_percent(far.rate)} of the rate: {wrong}."


def require_shown(show: str, recipe: Recipe) -> None:
    """Raise RecipeError unless a map of this recipe can show it."""
    if show not in get_args(Show):
        raise RecipeError(f"show is '{show}', which a map cannot show. {did_you_mean(show, get_args(Show))}")
    if show == "steps" and recipe.target_loss is None:
        raise RecipeError("A map shows the steps to a loss: give the recipe that loss as its target_loss.")


def survey(recipe: Recipe, x: Axis | str, y: Axis | str, *, progress: bool = False, workers: int | None = None) -> Map:
    """Train `recipe` with every pair of values of two of its fields, and say how each ended.

        descend.survey(descend.Recipe(optimizer="momentum", batch_size="all", steps=500),
                       x="lr=1e-4..0.02:256", y="momentum=0..0.99:256").draw("outcome").save("map.png")

    `x` and `y` are FIELD=LOW..HIGH:COUNT: any numeric field or option of the recipe, or lr@LAYER for the learning rate
    of one layer. Nothing is measured on the way but the loss, 50 times in a run of given `steps` unless the recipe has
    its own `evaluate_every`, and nothing is written.

    Raises RecipeError where an axis is none of this recipe, both are the same, or there are more than a million cells.
    """
    from descend.sweeping._outcomes import outcomes

    x, y = (Axis.read(axis, recipe) if isinstance(axis, str) else axis for axis in (x, y))
    if x.field == y.field:
        raise RecipeError(f"Both axes are {x.field}: a map needs two different fields.")
    if len(x) * len(y) > CELLS:
        raise RecipeError(f"The map has {len(x):,} x {len(y):,} cells, but may have {CELLS:,}: give smaller counts.")
    if recipe.steps and not recipe.evaluate_every and "steps" not in (x.field, y.field):
        recipe = recipe.but(evaluate_every=max(1, recipe.steps // EVALUATIONS))
    theory = theory_of(recipe, x, y)
    base = recipe.but(monitors="none")
    parts: list[dict[str, np.ndarray]] = []
    measure, seconds = "", 0.0
    height = max(1, AT_ONCE // len(x))
    for start in range(0, len(y), height):
        rows = range(start, min(start + height, len(y)))
        done = outcomes(
            [_cell(base, x, y, column, row) for row in rows for column in range(len(x))],
            progress=progress,
            workers=workers,
        )
        measure = "loss/validation" if "loss/validation" in done.names() else "loss/train"
        parts.append(_measured(done, measure, recipe.target_loss))
        seconds += done.seconds
    arrays = {name: np.concatenate([part[name] for part in parts]).reshape(len(y), len(x)) for name in parts[0]}
    return Map(recipe, x, y, measure, **arrays, theory=theory, seconds=seconds)


def _cell(recipe: Recipe, x: Axis, y: Axis, column: int, row: int) -> Recipe:
    across = x.changes(x.values[column], recipe)
    if "layer_lrs" in across and y.field.startswith("lr@"):
        return recipe.but(**y.changes(y.values[row], recipe.but(**across)))
    return recipe.but(**across, **y.changes(y.values[row], recipe))


def _measured(done: Outcomes, measure: str, target: float | None) -> dict[str, np.ndarray]:
    """The arrays of a map, [runs]."""
    curves = [done.curve(run, measure).y for run in range(len(done.recipes))]
    return {
        "first": np.array([curve[0] for curve in curves]),
        "loss": done.final(measure),
        "climb": np.where(done.died > 0, np.inf, climbs(curves)),
        "died": done.died,
        "steps": np.full(len(curves), np.inf) if target is None else done.cost(measure, target),
    }


def climbs(curves: Sequence[Floats]) -> Float64[np.ndarray, " runs"]:
    """How much of its way down each loss went up again, in its logarithm: 0 for one that only fell.

    The last loss is above the first exactly where this is above 1, unless both are 0. Infinite where it only rose.
    """
    table = np.empty((len(curves), max(len(curve) for curve in curves)))
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)], row[len(curve) :] = curve, curve[-1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        changes = np.diff(np.log(np.maximum(table, ARRIVED * table[:, :1])), axis=1)
        up, down = np.maximum(changes, 0).sum(axis=1), np.maximum(-changes, 0).sum(axis=1)
        return np.where(up == 0, 0.0, up / down)


def _grown(cells: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """These cells and all around them, diagonals too."""
    padded = np.pad(cells, 1)
    tall = padded[:-2] | padded[1:-1] | padded[2:]
    grown: Bool[np.ndarray, "rows columns"] = tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]
    return grown


def _distance(one: Bool[np.ndarray, "rows columns"], other: Bool[np.ndarray, "rows columns"]) -> int:
    """How far two divisions of the plane are apart: by how many cells a side must grow to hold all of the other's."""
    steps = 0
    for ours, theirs in ((one, other), (~one, ~other)):
        grown, grows = ours, 0
        while ours.any() and np.any(theirs & ~grown):
            grown, grows = _grown(grown), grows + 1
        steps = max(steps, grows)
    return steps


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
