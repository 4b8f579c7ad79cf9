"""Does an answer hold? It is run on several hidden variants, and the first property that fails is the verdict."""

from __future__ import annotations

import inspect
import linecache
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from types import FrameType, ModuleType, TracebackType
from typing import Any, Final

from descend.learn._exercise import Exercise
from descend.learn._expect import Observation

VARIANTS: Final = (0, 1, 2)
SEEDS: Final = (0, 1)
"""Of the hidden data of a reader's check. They stay the same, so that one sees whether a change helped."""

LONGEST: Final = 300  # characters of an exception's message: torch sometimes quotes whole tensors
TOO_MUCH: Final = "needs more memory than a check may take."
MODULE: Final = "answer"  # what the reader's file is called while it is checked


@dataclass(frozen=True)
class Verdict:
    """What is to be said of an answer. `kind` is for programs, `sentence` for people.

    Where a property fails: what it is, what was observed and what was expected. Where the reader's code raised: the
    line of their file.
    """

    kind: str
    sentence: str
    what: str = ""
    observed: str = ""
    expected: str = ""
    line: int | None = None
    code: str = ""
    checked: int = 0
    """How many properties held before."""

    @property
    def passed(self) -> bool:
        return self.kind == "passed"


class _RefusedError(Exception):
    """The answer cannot be checked as it is."""

    def __init__(self, kind: str, sentence: str, line: int | None = None, code: str = "") -> None:
        super().__init__(sentence)
        self.kind, self.line, self.code = kind, line, code


class Answer:
    """The reader's module. What it lacks, or what was not written yet, is said in a sentence."""

    def __init__(self, module: ModuleType) -> None:
        self.raw = module

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(self.raw, name)
        except AttributeError:
            raise _RefusedError("missing", f"Your file has no {name}. The check needs it under that name.") from None
        if value is None or value is ...:
            raise _RefusedError("not written", f"{name} is not written yet.")
        return _called(name, value) if inspect.isfunction(value) or inspect.isclass(value) else value


def _called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The reader's function or class; one that takes other arguments is refused before it is called."""

    @wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        _require_arguments(name, function, args, kwargs)
        return function(*args, **kwargs)

    return call


def _require_arguments(name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a class that is written in C
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        count = f"{len(args)} argument{'s' * (len(args) != 1)}"
        given = " and ".join([count] * bool(args) + [f"{key}=..." for key in kwargs]) or "no argument"
        raise _RefusedError(
            "signature", f"The check calls {name} with {given}; {name}{signature} has {error}."
        ) from None


def judge(
    exercise: Exercise, source: str, file: str, *, seeds: Iterable[int] = SEEDS, variants: Sequence[int] = VARIANTS
) -> Verdict:
    """Run `source`, which is called `file`, and check it on every variant with every seed.

    Whatever the reader's code raises becomes a verdict; a check that raises by itself is our mistake, and raises.
    """
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    held = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = _load(source, file)
            for seed in seeds:
                for variant in variants:
                    for observation in exercise.check(answer, _seeded(seed, variant), variant):
                        if not observation.holds:
                            return _failed(observation, held)
                        held += 1
    except _RefusedError as refusal:
        return Verdict(refusal.kind, str(refusal), line=refusal.line, code=refusal.code, checked=held)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt of the reader's
        verdict = _raised(error, file, held)
        if verdict is None:
            raise
        return verdict
    finally:
        sys.modules.pop(MODULE, None)
    assert held, f"the check of {exercise.number} yields nothing"
    return Verdict("passed", f"All {held} properties hold.", checked=held)


def _load(source: str, file: str) -> Answer:
    try:
        code = compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        text = (error.text or "").strip()
        raise _RefusedError("syntax", f"Your file is not valid Python: {error.msg}.", error.lineno, text) from None
    except ValueError as error:  # a null byte
        raise _RefusedError("syntax", f"Your file is not valid Python: {error}.") from None
    module = ModuleType(MODULE)
    module.__file__ = file
    sys.modules[MODULE] = module  # a dataclass looks for the module it is defined in
    exec(code, module.__dict__)
    return Answer(module)


def _seeded(seed: int, variant: int) -> Any:
    """A source of hidden data; what the reader's code draws by itself is the same each time, too."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    return np.random.default_rng([seed, variant])


def _failed(observation: Observation, held: int) -> Verdict:
    what, observed, expected = observation.what, observation.observed, observation.expected
    sentence = f"{what}: observed {observed}, expected {expected}."
    return Verdict("refused", sentence, what, observed, expected, checked=held)


def _raised(error: BaseException, file: str, held: int) -> Verdict | None:
    """What the reader's code raised, with its last line; None where it took no part in it."""
    if (place := last_line(error.__traceback__, file)) is None:
        return None
    function, line, code = place
    kind, said = _told(error)
    return Verdict(kind, f"{function} {said}", line=line, code=code, checked=held)


def last_line(trace: TracebackType | None, file: str) -> tuple[str, int, str] | None:
    """The innermost place of a traceback that is in `file`: function, number and text of the line."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(trace) if frame.f_code.co_filename == file]
    return place(frames[-1][0], frames[-1][1]) if frames else None


def last_call(frame: FrameType | None, file: str) -> tuple[str, int, str] | None:
    """The same of code that is running: `frame` is where it is now."""
    while frame and frame.f_code.co_filename != file:
        frame = frame.f_back
    return place(frame, frame.f_lineno) if frame else None


def place(frame: FrameType, line: int) -> tuple[str, int, str]:
    """The function as one would call it: max_stable_lr, Stopper.update, whatever stands inside of it."""
    named = [part for part in frame.f_code.co_qualname.split(".") if not part.startswith("<")]
    text = linecache.getline(frame.f_code.co_filename, line).strip()
    return ".".join(named) or "Your file", line, text


def _told(error: BaseException) -> tuple[str, str]:
    """The kind of verdict, and what the code did."""
    if isinstance(error, NotImplementedError):
        return "not written", "is not written yet."
    if isinstance(error, SystemExit):
        return "exit", "ends the program (exit). Let it return instead: the check goes on after it."
    if isinstance(error, RecursionError):
        return "raised", "calls itself without end (RecursionError)."
    if isinstance(error, MemoryError):
        return "memory", TOO_MUCH
    if isinstance(error, EOFError):
        return "raised", "waits for input, and a check has none to give (EOFError)."
    return "raised", f"raised {named(error)}"


def named(error: BaseException) -> str:
    """An exception in one line: "ValueError: shapes do not fit"."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # a class of the reader's
        said = ""
    said = said if len(said) <= LONGEST else f"{said[: LONGEST - 3]}..."
    return f"{type(error).__name__}: {said}" if said else f"{type(error).__name__}."
