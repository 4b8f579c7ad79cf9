"""Check a reader's file in a process of its own, which can hang, crash or print without end and does no harm here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Final

from descend.errors import DescendError
from descend.learn._child import BEGAN, CRASH, VERDICT
from descend.learn._exercise import page
from descend.learn._judge import Verdict

START: Final = 120.0  # seconds to import torch on a busy machine
GRACE: Final = 2.0  # after which a process that does not end itself is ended: a call that never gives way to the watch
KEPT: Final = 4000  # bytes of what the code prints


def check(name: str, file: Path, *, seconds: float | None = None) -> tuple[Verdict, str]:
    """The verdict on a file, and what it printed; `seconds`, if not the exercise's own, is its time limit.

    Raises DescendError where no process could be started.
    """
    limit = page(name).seconds if seconds is None else seconds
    with tempfile.TemporaryDirectory(prefix="descend-learn-") as place:
        folder = Path(place)
        process = subprocess.Popen(
            # -P: what lies in the current folder, called numpy.py perhaps, is not imported instead
            [sys.executable, "-P", "-m", "descend.learn._child", name, str(file.resolve()), place, str(limit)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(),
        )
        printed = _Printed(process.stdout)
        try:
            in_time = _wait(process, folder, limit)
        finally:
            _end(process)
        said = printed.text()
        if not in_time and (folder / BEGAN).exists() and not (folder / VERDICT).exists():
            verdict = Verdict("too slow", f"Your file was still running after {limit:g} seconds.")
        else:
            verdict = _left(process, folder, file, said)
        return verdict, said


def _environment() -> dict[str, str]:
    quiet = {
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:replace",
    }
    return {"OMP_NUM_THREADS": "1"} | dict(os.environ) | quiet


class _Printed:
    """The beginning of what a process prints; the rest is read and forgotten, so that it never waits."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream
        self._stream = stream
        self._begin = b""
        self.more = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream, contextlib.suppress(OSError):
            while block := os.read(self._stream.fileno(), 65536):
                room = KEPT - len(self._begin)
                self.more = self.more or len(block) > room
                self._begin += block[:room]

    def text(self) -> str:
        self._thread.join(timeout=1.0)
        return self._begin.decode("utf-8", "replace") + ("\n..." if self.more else "")


def _wait(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> bool:
    """Until it ends, or its time is up."""
    deadline = time.monotonic() + START
    began = False
    while time.monotonic() < deadline:
        if not began and (folder / BEGAN).exists():
            began = True
            deadline = time.monotonic() + seconds + GRACE
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """With the processes of its session that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _left(process: subprocess.Popen[bytes], folder: Path, file: Path, printed: str) -> Verdict:
    """The verdict that the process has left, or what became of it instead."""
    with contextlib.suppress(FileNotFoundError):
        return Verdict(**json.loads((folder / VERDICT).read_text(encoding="utf-8")))
    if not (folder / BEGAN).exists() and process.returncode == -signal.SIGKILL:
        raise DescendError(
            f"The check had not begun after {START:g} seconds. Close what keeps this machine busy, and check again."
        )
    if not (folder / BEGAN).exists():
        last = (printed.splitlines() or ["it said nothing"])[-1]
        raise DescendError(f"The check could not be started with {sys.executable}: {last}")
    if process.returncode >= 0:
        return Verdict("exit", "Your file ended Python (os._exit?) before the check was done. Let it return instead.")
    line = re.search(rf'File "{re.escape(str(file.resolve()))}", line (\d+)', (folder / CRASH).read_text())
    number = -process.returncode
    name = {one.value: one.name for one in signal.Signals}.get(number, f"signal {number}")
    if name == "SIGKILL":
        return Verdict("crash", "The system ended your file (SIGKILL), as it does where memory runs out.")
    sentence = f"Your file crashed Python itself ({name})."
    return Verdict("crash", sentence, line=int(line[1]) if line else None, code=_line(file, line and int(line[1])))


def _line(file: Path, number: int | None) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[number - 1].strip() if number and number <= len(lines) else ""
