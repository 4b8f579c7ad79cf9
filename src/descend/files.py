"""Files that survive a kill and a power cut, and the lock by which a folder has one writer."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from descend.errors import RunBusyError, RunError

LOCK: Final = "lock"
OPEN_FILES: Final = 10_240  # the most that every system allows a process; often it begins with 256 or 1,024


def write_atomically(file: Path, content: bytes, durable: bool = True) -> None:
    """Write a file atomically: readers see the old content or the new; if `durable`, also after a power cut."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make names created, replaced or removed in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_to_append(file: Path) -> int:
    """A descriptor to append lines with; a line torn by a kill is cut off."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.ftruncate(descriptor, file.read_bytes().rfind(b"\n") + 1)
    return descriptor


def append(descriptor: int, data: bytes) -> None:
    """Append all of it or, where the disk is full, nothing, so that the next row still begins where rows begin."""
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except BaseException:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise


def claim(folder: Path) -> int:
    """Become the one writer of a run folder: a descriptor, held until it is closed or the process dies.

    Raises RunBusyError, after half a second, naming the process that is.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + 0.5  # a reader in `writer_of` holds it for some microseconds
    while not _locked(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            os.close(descriptor)
            who = "process {pid} on {host} since {since}".format_map(writer_of(folder) or _UNSIGNED)
            raise RunBusyError(f"Run {folder} is being written by {who}. Wait until it ends, or stop it.")
        time.sleep(0.005)
    writer = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(writer).encode())
    return descriptor


def writer_of(folder: Path) -> dict[str, Any] | None:
    """Who is writing a run now: {"pid", "host", "since"}, or None."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _locked(descriptor, fcntl.LOCK_SH):
            return None
        writer: dict[str, Any] = json.loads(os.read(descriptor, 1000))
        return writer
    except ValueError:
        return _UNSIGNED
    finally:
        os.close(descriptor)


_UNSIGNED: Final = {"pid": "unknown", "host": "this or another host", "since": "just now"}  # has not signed yet


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def many_open_files() -> Iterator[int]:
    """Let this process have as many files open as it may, at most OPEN_FILES unless it could before: how many."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (OPEN_FILES if limit == resource.RLIM_INFINITY else limit for limit in limits)
    allowed = max(soft, min(hard, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, limits[1]))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextlib.contextmanager
def naming(place: Path) -> Iterator[None]:
    """What the operating system refuses, as a RunError that names the place and the cause."""
    try:
        yield
    except OSError as error:
        raise unwritten(place, error) from error


def unwritten(place: Path, error: OSError) -> RunError:
    return RunError(f"{place} cannot be written: {error.strerror}. What was recorded before stays readable.")
