"""The process in which a reader's file is checked: `python -m descend.learn._child NAME FILE FOLDER SECONDS`.

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
import time
import tokenize
from dataclasses import asdict
from pathlib import Path
from typing import Final

from descend.errors import DescendError
from descend.learn._exercise import page
from descend.learn._judge import TOO_MUCH, Verdict, judge, last_call, named

BEGAN: Final = "began"
VERDICT: Final = "verdict.json"
CRASH: Final = "crash"

MEMORY: Final = 4 * 2**30  # bytes that a check may hold; torch takes 0.3 GiB of them
UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes, in which the system tells how much is held
TICK: Final = 0.05  # seconds between two looks


def main(name: str, file: str, folder: Path, seconds: float) -> None:
    """Judge `file` and leave the verdict. Ends the process: whatever threads the reader's code began end with it."""
    try:
        importlib.import_module(f"descend.learn.exercises.{name}")  # torch, perhaps: not on the reader's time
    except DescendError as error:
        leave(folder, Verdict("unavailable", str(error)))
    sys.path.append(str(Path(file).parent))  # what stands beside the file can be imported, and hides nothing
    faulthandler.enable((folder / CRASH).open("w"))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    (folder / BEGAN).touch()
    threading.Thread(target=_watch, args=(threading.get_ident(), file, folder, seconds), daemon=True).start()
    leave(folder, _judged(name, file))


def _judged(name: str, file: str) -> Verdict:
    try:
        with tokenize.open(file) as handle:  # in the encoding that the file declares
            source = handle.read()
    except (SyntaxError, UnicodeDecodeError):
        return Verdict("syntax", "Your file is not text in UTF-8. Save it as UTF-8.")
    except OSError as error:
        return Verdict("unreadable", f"Your file cannot be read: {error.strerror}.")
    try:
        return judge(page(name), source, file)
    except DescendError as error:
        return Verdict("unavailable", str(error))
    except BaseException as error:  # the check could not use what came back
        return Verdict("unusable", f"The check cannot go on with what your file returned: {named(error)}")


def _watch(thread: int, file: str, folder: Path, seconds: float) -> None:
    """End the process when the time is up or too much memory is held, and say in which line the reader's code is."""
    deadline = time.monotonic() + seconds
    kind, said = "too slow", f"was still running after {seconds:g} seconds."
    while time.monotonic() < deadline:
        time.sleep(TICK)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY // UNIT:
            kind, said = "memory", TOO_MUCH
            break
    function, line, code = last_call(sys._current_frames().get(thread), file) or ("Your file", None, "")
    leave(folder, Verdict(kind, f"{function} {said}", line=line, code=code))


def leave(folder: Path, verdict: Verdict) -> None:
    """Write the verdict at once and wholly, and end."""
    unfinished = folder / f"{VERDICT}.{threading.get_ident()}"
    unfinished.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
    os.replace(unfinished, folder / VERDICT)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
