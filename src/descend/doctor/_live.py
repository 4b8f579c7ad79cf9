"""The doctor while a run is trained: one line when something is found, at next to no cost, and never a flood."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Final

from descend.doctor._check import LIKELY, Finding
from descend.doctor._judge import FIRST, diagnose
from descend.run import Recorder, Run

FEWEST: Final = 50  # steps: a shorter record shows too little
EVERY: Final = 2.0  # times as many steps and seconds as at the look before, so that a run is looked at some ten times
SHARE: Final = 0.01  # of the time of training that looking may take
ONE_LOOK: Final = 0.1  # seconds, measured for a record of 10,000 steps and the first look, which imports the checks


def to_terminal(line: str) -> None:
    """Where lines go unless told otherwise: standard error, above the progress bar if there is one."""
    print(line, file=sys.stderr)


class Live:
    """Looks at the record of a run now and then, and says what it finds that is at least likely.

    Each check is said once, at most three in all, and noted in the record as "found". `look` costs two comparisons
    where no look is due: looks come at growing distances, and take at most a hundredth of the time of training.
    Whatever goes wrong here is said once, and training goes on.
    """

    def __init__(self, recorder: Recorder, say: Callable[[str], object] = to_terminal) -> None:
        self._recorder, self._say = recorder, say
        self._due_step, self._due_seconds = float(FEWEST), ONE_LOOK / SHARE
        self._told = {str(note.details.get("check")) for note in Run(recorder.folder).notes("found")}
        self._broken = False

    def look(self, step: int, seconds: float) -> None:
        """To be called after every step, with the updates made and the seconds of training."""
        if step < self._due_step or seconds < self._due_seconds:
            return
        began = time.perf_counter()
        self.end(step)
        cost = time.perf_counter() - began
        self._due_step, self._due_seconds = EVERY * step, max(EVERY * seconds, seconds + cost / SHARE)

    def end(self, step: int) -> None:
        """Look now: to be called when training is over and that is noted, so that the whole record is judged."""
        if self._broken or len(self._told) >= FIRST:
            return
        try:
            diagnosis = diagnose(Run(self._recorder.folder))
            for finding in diagnosis.findings:
                if finding.sure >= LIKELY and finding.check not in self._told and len(self._told) < FIRST:
                    self._tell(finding, step)
            if diagnosis.failed:
                raise RuntimeError("; ".join(f"{name}: {error}" for name, error in diagnosis.failed.items()))
        except Exception as error:  # whatever it is, it must not end a training
            self._give_up(step, error)

    def _tell(self, finding: Finding, step: int) -> None:
        self._told.add(finding.check)
        self._say(f"At step {step:,} the doctor finds {finding.check} ({finding.certainty}): {finding.sentence}")
        about = {"check": finding.check, "sentence": finding.sentence, "sure": finding.sure}
        self._recorder.note("found", step, **about)

    def _give_up(self, step: int, error: Exception) -> None:
        self._broken = True
        sentence = f"The doctor stops looking at this run ({type(error).__name__}: {error}). Training goes on."
        with contextlib.suppress(Exception):  # nowhere to say it: standard error is closed, or the disk is full
            self._recorder.note("doctor", step, sentence=sentence)
            self._say(sentence)
