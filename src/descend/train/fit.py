"""The training loop: a Recipe goes in, a Run comes out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from descend.doctor._live import Live
from descend.errors import CheckpointError, DescendError, RunError
from descend.facts.non_finite import locate
from descend.optim._clip import clip_by_norm, clip_by_value, global_norm
from descend.recipe import Recipe
from descend.run import Recorder, Run, new_folder, run_folder
from descend.train import checkpoint
from descend.train.build import Parts, build
from descend.train.compiled import CompiledLoop
from descend.train.evaluate import evaluate, judge
from descend.train.facts import beginning, facts_of
from descend.train.non_finite import buffers_of, healthy
from descend.train.observe import Observer
from descend.train.progress import Bar, progress_bar
from descend.train.stop import EarlyStopping, asked_to_stop
from descend.train.team import Team, Unwritten

CHECKPOINT_SECONDS: Final = 30.0  # between checkpoints, unless the recipe counts steps
MOST_SKIPS: Final = 100  # batches in a row: then it is the weights that are at fault, and no batch will help
MOST_REWINDS: Final = 10  # a run that goes back more often will not get anywhere
REWIND_LR: Final = 0.5  # the same steps at the same learning rate would end the same way
RESUMABLE: Final = ("running", "killed", "interrupted", "failed")


def fit(
    recipe: Recipe,
    *,
    runs: str | Path = "runs",
    name: str | None = None,
    label: str | None = None,
    progress: bool = False,
    doctor: bool = False,
) -> Run:
    """Train what a recipe describes and return its Run, in a new folder of `runs`.

    `label` is what figures and comparisons call it. With `doctor`, problems are named on standard error while it
    trains, in at most three lines.

    Ctrl-C (or SIGTERM) ends it after the step under way, with everything saved; `resume` goes on from there.
    Raises RecipeError or DataError before anything is written, RunError if a run called `name` exists.
    """
    if name and run_folder(runs, name).exists():
        raise _taken(run_folder(runs, name))
    with torch_to_ourselves(recipe.seed):
        parts = build(recipe)
        folder = free_folder(recipe, runs, name)
        return train(parts, folder, progress, doctor, label=label)


def resume(folder: str | Path, *, progress: bool = False, doctor: bool = False) -> Run:
    """Go on with a run that was killed or interrupted, from its newest good checkpoint, as if it had never stopped.

    Losses, weights and data order are bit for bit those of the uncut run. Raises RunError if the run has ended or is
    being written, CheckpointError if it has checkpoints and all are damaged.
    """
    run = Run(folder)
    require_resumable(run)
    with torch_to_ourselves(run.recipe.seed):
        return train(build(run.recipe), run.folder, progress, doctor, resuming=True)


def load(run: Run) -> Parts:
    """The model of a run with its newest weights (after early stopping: the best), and the parts around it.

    Raises CheckpointError where the run has no good checkpoint.
    """
    with torch_to_ourselves(run.recipe.seed):
        parts = build(run.recipe)
    saved = checkpoint.load(run.folder / "checkpoints")
    if saved is None:
        raise CheckpointError(f"Run {run.folder} has no checkpoint yet.")
    parts.model.load_state_dict(saved.state["model"])
    return parts


def load_model(run: Run) -> nn.Module:
    """The trained model of a run, in evaluation mode, with its newest weights (after early stopping: the best).

    Raises CheckpointError where the run has no good checkpoint.
    """
    return load(run).model.eval()


def free_folder(recipe: Recipe, runs: str | Path, name: str | None) -> Path:
    """A new, empty folder for a run of this recipe. Raises RunError where one called `name` exists."""
    if not name:
        return new_folder(runs, f"{recipe.data}-{recipe.model}-{recipe.optimizer}")
    folder = run_folder(runs, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()  # of two processes, one
    except FileExistsError:
        raise _taken(folder) from None
    return folder


def require_resumable(run: Run) -> None:
    """Raise RunError for a run that has ended, or that somebody is writing."""
    if run.status not in RESUMABLE:
        raise RunError(f"Run {run.folder} has ended ({run.status}): there is nothing to resume.")


def _taken(folder: Path) -> RunError:
    return RunError(f"{folder} exists already. Resume it with `descend resume {folder}`, or choose another name.")


def train(
    parts: Parts,
    folder: Path,
    progress: bool,
    doctor: bool,
    *,
    resuming: bool = False,
    label: str | None = None,
    team: Team | None = None,
) -> Run:
    """Train what was built, into `folder`. Of a team every process calls this, and the first one writes."""
    writes = team is None or team.rank == 0
    with (
        Recorder(folder, parts.recipe) if writes else Unwritten(folder) as recorder,
        contextlib.nullcontext(team.asked_here) if team else asked_to_stop() as asked,
        progress_bar(folder.name, parts.steps, shown=progress and writes) as bar,
    ):
        if label:
            recorder.note("label", 0, text=label)
        if team:
            recorder.note("processes", 0, count=team.size)
        live = Live(recorder) if doctor and isinstance(recorder, Recorder) else None
        _Trainer(parts, recorder, asked, bar, live, team).train(resuming)
    return Run(folder)


@dataclass
class _Position:
    """How far a run has come."""

    step: int = 0
    examples: int = 0
    seconds: float = 0.0  # of training: evaluations and checkpoints do not count
    lr_scale: float = 1.0  # lowered by each rewind
    rewinds: int = 0
    skips: int = 0  # in a row
    evaluated_at: int = -1  # the step of the last evaluation
    ending: str | None = None  # why it ends after this step


class _Trainer:
    """One run under way: its parts, how far it has come, and what it writes."""

    def __init__(
        self,
        parts: Parts,
        recorder: Recorder | Unwritten,
        asked: threading.Event,
        bar: Bar,
        live: Live | None,
        team: Team | None = None,
    ) -> None:
        self.parts, self.recorder, self.asked, self.bar, self.live = parts, recorder, asked, bar, live
        self.team, self.writes = team, isinstance(recorder, Recorder)
        self.recipe, self.model, self.batches, self.optimizer = (
            parts.recipe,
            parts.model,
            parts.batches,
            parts.optimizer,
        )
        self.at = _Position()
        self.stopper = EarlyStopping(self.recipe.patience, self.recipe.min_delta)
        self.observer = Observer(parts, report=lambda what: recorder.note("monitor", self.at.step, sentence=what))
        self.checkpoints = recorder.folder / "checkpoints"
        self.saved_at = time.perf_counter()
        self.scalars: dict[float, Tensor] = {}
        self.predictions: dict[str, object] = {}  # facts of the last evaluation that are not noted yet
        self.loop: CompiledLoop | None = None  # where the run is long and the network plain
        self.refused = 0  # the step that it could not take
        # a batch that is skipped must not leave its mark on running statistics
        self.statistics = list(self.model.buffers()) if self.recipe.non_finite == "skip" else []

    def train(self, resuming: bool) -> None:
        """Train until something ends it, and write down what."""
        try:
            self._go_on() if resuming else self._begin()
            while self.at.ending is None:
                if self.loop and self.at.step + 1 != self.refused and not self.observer.due(self.at.step + 1):
                    self._many_steps(self.loop)
                else:
                    self._steps()
            self._end(self.at.ending)
        except BaseException as error:
            with contextlib.suppress(OSError, DescendError):  # on a full disk even this cannot be written
                self.recorder.note("ended", self.at.step, why="failed", error=f"{type(error).__name__}: {error}")
            raise

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _steps(self) -> None:
        """Step after step, until the run ends or goes back."""
        at, optimizer, observer = self.at, self.optimizer, self.observer
        loss_of, dense, plain_forward = self.parts.loss, self.parts.dense, self.parts.forward
        backward: Callable[[Tensor, Tensor | None], object] = Tensor.backward
        if team := self.team:  # adds up the gradients while autograd makes them
            dense, plain_forward, backward = None, team.forward, team.backward
        clock = time.perf_counter()
        for inputs, targets in self.batches.after(at.step):
            if self._over():
                return
            at.step += 1
            at.examples += inputs.shape[0]
            lr = self._set_learning_rate()
            observing = observer.due(at.step)
            forward = observer.forward if observing and not team else plain_forward
            if observing and team:  # monitors see what they see of one process
                with torch.no_grad():
                    observer.forward(inputs[: self.recipe.micro_batch])
            statistics = [statistic.clone() for statistic in self.statistics]

            if dense:
                outputs = forward(inputs)  # forward
                loss = dense.backward(outputs, targets, self.batches.weight(inputs.shape[0]))  # loss, backward by hand
                batch_loss = loss.item()
            else:
                optimizer.zero_grad()  # zero gradients
                batch_loss = 0.0
                for piece, answers, weight, share in self._pieces(inputs, targets):
                    outputs = forward(piece)  # forward
                    loss = loss_of(outputs, answers)  # loss
                    backward(loss, weight)  # backward: adds to the gradients
                    batch_loss += loss.item() * share
                batch_loss = team.total(batch_loss) if team else batch_loss

            if not healthy(batch_loss, buffers_of(optimizer)):
                if self._found_non_finite(batch_loss, inputs, targets):
                    return
                for statistic, before in zip(self.statistics, statistics, strict=True):
                    statistic.copy_(before)
                self._evaluate_and_save(time.perf_counter())
                continue
            at.skips = 0
            values = {"loss/batch": batch_loss, "lr/0": lr}
            if observing:
                observer.before_update(at.step, batch_loss, targets, lr)
            values |= self._clip()
            optimizer.step()  # update
            if observing:
                values |= observer.after_update()

            now = time.perf_counter()
            at.seconds += now - clock
            self.recorder.log(at.step, at.examples, at.seconds, values)
            self.bar(at.step, batch_loss, now)
            self._evaluate_and_save(now)
            if self.loop:
                return  # which goes on from here
            clock = time.perf_counter()

    def _many_steps(self, loop: CompiledLoop) -> None:
        """Steps up to whatever is due next, by a compiled loop. A step that it refuses is for `_steps` to look at."""
        if self._over():
            return
        at, parts, every = self.at, self.parts, self.recipe.checkpoint_every
        most = min(loop.at_once, parts.steps - at.step)
        ends = (parts.evaluate_every, every) if every else (parts.evaluate_every,)
        most = min(most, *(each - at.step % each for each in ends))
        most = next((ahead for ahead in range(1, most) if self.observer.due(at.step + 1 + ahead)), most)
        started = time.perf_counter()
        made = loop.advance(at.step, most)
        now, count = time.perf_counter(), len(made.losses)
        if count < most:
            self.refused = at.step + count + 1
        steps = np.arange(at.step + 1, at.step + count + 1)
        rates = parts.lr * np.array([parts.schedule(int(step) - 1) for step in steps])
        values = {"loss/batch": made.losses, "lr/0": rates}
        if made.norms is not None:
            values["clip/norm_before"] = made.norms
        clock = np.linspace(at.seconds, at.seconds + now - started, count + 1)[1:]
        examples = at.examples + np.cumsum(made.rows)
        self.recorder.log_many(steps.astype(np.float64), examples.astype(np.float64), clock, values)
        at.step += count
        at.examples += int(made.rows.sum())
        at.seconds += now - started
        if count:
            self.bar(at.step, float(made.losses[-1]), now)
            self._evaluate_and_save(now)

    def _pieces(self, inputs: Tensor, targets: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor | None, float]]:
        """A batch's micro-batches: inputs, targets, what their mean loss counts in the gradient, and in the loss."""
        rows = inputs.shape[0]
        weight = self.batches.weight(rows)
        size = self.recipe.micro_batch or rows
        if self.team:
            weight *= self.team.size  # as DDP takes the mean over processes
            mine = self.team.pieces(inputs, targets, size)
            return ((piece, answers, self._scalar(share * weight), share) for piece, answers, share in mine)
        if size >= rows:
            return [(inputs, targets, self._scalar(weight), 1.0)]
        cut = zip(inputs.split(size), targets.split(size), strict=True)
        shares = [(piece, answers, len(piece) / rows) for piece, answers in cut]
        return [(piece, answers, self._scalar(share * weight), share) for piece, answers, share in shares]

    def _scalar(self, value: float) -> Tensor | None:
        """A 0-d tensor to begin a backward pass with, None for 1; a run needs only a few values, each made once."""
        if value == 1.0:
            return None
        if value not in self.scalars:
            self.scalars[value] = self.batches.targets.new_tensor(value, dtype=getattr(torch, self.recipe.dtype))
        return self.scalars[value]

    def _set_learning_rate(self) -> float:
        """Set the rates of the step about to be made, a group of parameters each, and return the recipe's."""
        schedule = self.parts.schedule(self.at.step - 1)
        for group, lr in zip(self.optimizer.param_groups, self.parts.lrs, strict=True):
            group["lr"] = lr * schedule * self.at.lr_scale
        return self.parts.lr * schedule * self.at.lr_scale

    def _clip(self) -> dict[str, float]:
        """Clip the gradients as the recipe says; what the norm was before, for the record."""
        if self.recipe.clip_norm is None and self.recipe.clip_value is None:
            return {}
        gradients = [gradients for _, gradients in buffers_of(self.optimizer)]
        before = float(global_norm(gradients))
        if self.recipe.clip_norm is not None:
            clip_by_norm(gradients, self.recipe.clip_norm)
        if self.recipe.clip_value is not None:
            clip_by_value(gradients, self.recipe.clip_value)
        return {"clip/norm_before": before}

    def _over(self) -> bool:
        """Whether the run ends before the next step; sets `ending`."""
        if self.at.ending is None and self.at.step >= self.parts.steps:
            self.at.ending = "finished"
        if self.at.ending is None and (self.team.asked if self.team else self.asked.is_set()):
            self.at.ending = "interrupted"
        return self.at.ending is not None

    # --- around the loop ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start a new run: note what is trained, and how good it is before the first update."""
        self.loop = None if self.team else CompiledLoop.of(self.parts)
        for kind, details in beginning(self.parts).items():
            lane = {"lane": "compiled"} if self.loop and kind == "started" else {}
            self.recorder.note(kind, 0, **details | lane)
        first = self._evaluate()
        self._note_facts(**facts_of(self.parts, first["loss/train"]))
        if self.recipe.non_finite == "rewind":
            self._save()

    def _go_on(self) -> None:
        """Continue from the newest good checkpoint, or from the beginning where none was written yet."""
        lane = ""
        for note in Run(self.recorder.folder).notes("started"):
            lane = note.details.get("lane", "")
            if note.details["data"] != self.parts.fingerprint():
                raise RunError(
                    f"The data of run {self.recorder.folder} has changed since it began, so to resume would mix two "
                    "trainings. Bring the data back as it was, or train anew."
                )
        if self.writes:
            checkpoint.clean(self.checkpoints)
        saved = checkpoint.load(self.checkpoints)
        if saved is None:
            self.recorder.restart(after=-1)
            self.recorder.note("resumed", 0, sentence="Resumed from the beginning, before a checkpoint was written.")
            self._begin()
        else:
            self.loop = None if self.team else CompiledLoop.of(self.parts, lane)
            self._restore(saved.state)
            self.recorder.restart(after=self.at.step)
            passed_over = " ".join(saved.damaged)
            self.recorder.note(
                "resumed", self.at.step, sentence=f"Resumed after step {self.at.step:,}. {passed_over}".strip()
            )

    def _evaluate_and_save(self, now: float) -> None:
        """What is due after a step: an evaluation, a look of the doctor, a checkpoint."""
        if self.at.step % self.parts.evaluate_every == 0:
            self._evaluate()
        if self.live:
            self.live.look(self.at.step, self.at.seconds)
        every = self.recipe.rewind_steps if self.recipe.non_finite == "rewind" else self.recipe.checkpoint_every
        if self.at.step % every == 0 if every else now - self.saved_at > CHECKPOINT_SECONDS:
            self._save()

    def _evaluate(self) -> dict[str, float]:
        """Record how good the model is now, and end the run if it is good enough or has stopped getting better."""
        values, self.predictions = evaluate(self.parts)
        self.at.evaluated_at = self.at.step
        self.recorder.log(self.at.step, self.at.examples, self.at.seconds, values)
        loss = values.get("loss/validation", values["loss/train"])
        self.stopper.see(loss, self.at.step, self.model)
        if self.recipe.target_loss is not None and loss <= self.recipe.target_loss:
            self.at.ending = "target reached"
        elif self.stopper.exhausted:
            self.at.ending = "early stopped"
        done = self.at.step // self.parts.evaluate_every
        if done & (done - 1) == 0 and done:
            self._note_facts()
        return values

    def _note_facts(self, **topics: object) -> None:
        """Note facts, and those of the last evaluation with them.

        A note waits for the disk (about 1 ms), so evaluations are noted after the 1st, 2nd, 4th, 8th, ... and at the
        end: what a reader sees is then at most half as old as the run.
        """
        self.recorder.note("facts", self.at.step, **topics, predictions=self.predictions)
        self.predictions = {}

    def _end(self, why: str) -> None:
        """Keep the final weights (after early stopping the best ones), and note how it ended."""
        if why == "finished" and self.at.evaluated_at != self.at.step:
            self._evaluate()
            why = self.at.ending or why
        if why not in ("interrupted", "non-finite"):
            self.stopper.restore(self.model)
        if not self._weights_are_finite():
            why = "non-finite"
        test = self.parts.dataset.test
        if test is not None and why not in ("interrupted", "non-finite"):
            judged = {f"{measure}/test": value for measure, value in judge(self.parts, test).items()}
            self.recorder.log(self.at.step, self.at.examples, self.at.seconds, judged)
        if self.predictions:
            self._note_facts()
        self._save()
        best = {"best_loss": self.stopper.best_loss, "best_step": self.stopper.best_step}
        self.recorder.note("ended", self.at.step, why=why, seconds=self.at.seconds, **best)
        if self.live:
            self.live.end(self.at.step)

    def _found_non_finite(self, loss: float, inputs: Tensor, targets: Tensor) -> bool:
        """Name the place, then end, skip the batch or go back, as the recipe says. True if this loop is over."""
        problem = locate(
            loss, self.model, inputs, lambda: self.model(inputs), lambda outputs: self.parts.loss(outputs, targets)
        )
        values = {"loss/batch": loss}
        self.recorder.log(self.at.step, self.at.examples, self.at.seconds, values)
        about = problem.fields() | {"sentence": f"At step {self.at.step:,} {problem.sentence}"}
        self.recorder.note("non_finite", self.at.step, action=self.recipe.non_finite, **about)
        self.at.skips += 1
        if self.recipe.non_finite == "skip" and problem.what != "weight" and self.at.skips < MOST_SKIPS:
            return False
        if self.recipe.non_finite == "rewind" and self.at.rewinds < MOST_REWINDS:
            self._rewind()
        else:
            self.at.ending = "non-finite"
        return True

    def _rewind(self) -> None:
        """Go back at least `rewind_steps` steps, to a checkpoint, and take the way from there with smaller steps."""
        here = self.at
        saved = checkpoint.load(self.checkpoints, at_most=here.step - self.recipe.rewind_steps)
        assert saved is not None, "a run that may rewind saves before its first step"
        self._restore(saved.state)
        if self.team:
            self.team.wait()  # until all have read it: the first process writes others, and removes the oldest
        self.at.lr_scale, self.at.rewinds = here.lr_scale * REWIND_LR, here.rewinds + 1
        self.recorder.restart(after=self.at.step)
        self.recorder.note(
            "rewound",
            self.at.step,
            from_step=here.step,
            lr_scale=self.at.lr_scale,
            sentence=f"Went back from step {here.step:,} to {self.at.step:,}; the learning rate is halved from there.",
        )
        self._save()

    # --- state --------------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write a checkpoint, unless the weights are no longer finite: a good one is never replaced by a bad one."""
        if self.writes and self._weights_are_finite():
            checkpoint.save(self.checkpoints, self.at.step, self._state())
        self.saved_at = time.perf_counter()

    def _weights_are_finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())

    def _state(self) -> checkpoint.State:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": _random_state(self.parts.device),
            "position": asdict(self.at),
            "stopper": asdict(self.stopper),
            "monitors": self.observer.memory,
        }

    def _restore(self, state: checkpoint.State) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        _set_random_state(state["random"], self.parts.device)
        self.at = _Position(**state["position"])
        if self.at.ending == "interrupted":
            self.at.ending = None
        self.stopper = EarlyStopping(**state["stopper"])
        self.observer.memory = state["monitors"]


# --- the process around a run -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def torch_to_ourselves(seed: int) -> Iterator[None]:
    """Torch's random numbers from `seed`, and its threads ours to set; both are the caller's again afterwards."""
    threads = torch.get_num_threads()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the generators that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
