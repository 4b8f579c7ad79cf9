"""The process in which a reader's file is checked: `python -m descend.learn._child NAME FILE FOLDER`.

It leaves `began` in FOLDER when the reader's code is about to run, and `verdict.json` when it is judged. What the code
prints goes to standard output, what it asks for is not there, and when its time is up a thread ends it wherever it is.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import sys
import threading
import tokenize
from dataclasses import asdict
from pathlib import Path
from typing import Final

from descend.errors import DescendError
from descend.learn._exercise import page
from descend.learn._judge import Verdict, judge, last_call, named

BEGAN: Final = "began"
VERDICT: Final = "verdict.json"
CRASH: Final = "crash"

MEMORY: Final = 4 * 2**30  # bytes that a check may hold; torch and its threads take 0.5 GiB of them


def main(name: str, file: str, folder: Path) -> None:
    """Judge `file` and leave the verdict. Ends the process: whatever threads the reader's code began end with it."""
    exercise = page(name)
    try:
        importlib.import_module(f"descend.learn.exercises.{name}")  # torch, perhaps: not on the reader's time
    except DescendError as error:
        leave(folder, Verdict("unavailable", str(error)))
    sys.path.append(str(Path(file).parent))  # what stands beside the file can be imported, and hides nothing
    faulthandler.enable((folder / CRASH).open("w"))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    main_thread = threading.get_ident()

    def too_slow() -> None:
        leave(folder, _too_slow(exercise.seconds, main_thread, file))

    watch = threading.Timer(exercise.seconds, too_slow)
    watch.daemon = True
    (folder / BEGAN).touch()
    watch.start()
    verdict = _judged(name, file)
    watch.cancel()
    leave(folder, verdict)


def _judged(name: str, file: str) -> Verdict:
    try:
        with tokenize.open(file) as handle:  # in the encoding that the file declares
            source = handle.read()
    except (SyntaxError, UnicodeDecodeError):
        return Verdict("syntax", "Your file is not text in UTF-8. Save it as UTF-8.")
    try:
        return judge(page(name), source, file)
    except DescendError as error:
        return Verdict("unavailable", str(error))
    except BaseException as error:  # the check could not use what came back
        return Verdict("unusable", f"The check cannot go on with what your file returned: {named(error)}")


def _too_slow(seconds: float, thread: int, file: str) -> Verdict:
    """Where the reader's code is when its time is up."""
    where = last_call(sys._current_frames().get(thread), file)
    function, line, code = where or ("Your file", None, "")
    return Verdict("too slow", f"{function} was still running after {seconds:g} seconds.", line=line, code=code)


def leave(folder: Path, verdict: Verdict) -> None:
    """Write the verdict at once and wholly, and end."""
    unfinished = folder / f"{VERDICT}.{threading.get_ident()}"
    unfinished.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
    os.replace(unfinished, folder / VERDICT)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
