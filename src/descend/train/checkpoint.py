"""Checkpoints that survive a kill, a full disk and a flipped bit, and load without pickle.

One generation is two files in <run>/checkpoints, numbered from 0 as they are written:

    0007.safetensors    every tensor
    0007.manifest       line 1: SHA-256 of the rest; the rest: JSON with the step, the size and SHA-256 of the tensors'
                        file, and every plain value

The tensors are written first and the manifest last, each to a temporary file in the same folder that is flushed,
fsynced and renamed; then the folder is fsynced, and only then are older generations removed. A generation without a
manifest does not exist. Every bit of both files is covered by a checksum.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from torch import Tensor

from descend.errors import CheckpointError
from descend.files import sync_folder, write_atomically

KEEP: Final = 2  # generations: were the newest damaged on disk, the one before it is still there

State = dict[str, Any]
"""A tree of dicts and lists whose leaves are tensors and plain values: what a run needs to go on."""


@dataclass(frozen=True)
class Checkpoint:
    """A good checkpoint, read: the state after `step`; `damaged` names newer generations that were passed over."""

    step: int
    state: State
    damaged: tuple[str, ...] = ()


def save(folder: Path, step: int, state: State, durable: bool = True) -> None:
    """Write a new generation, then remove all but the last KEEP. Raises CheckpointError if it cannot.

    One that is not `durable` is not fsynced: it outlives a kill, but perhaps not a power cut.
    """
    tensors: dict[str, Tensor] = {}
    plain = _pack(state, "", tensors)
    data = safetensors.torch.save(tensors)
    head = {"step": step, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "plain": plain}
    body = json.dumps(head).encode()
    earlier = _generations(folder)
    number = earlier[-1] + 1 if earlier else 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(_tensors(folder, number), data, durable)
        manifest = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        write_atomically(_manifest(folder, number), manifest, durable)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written to {folder}: {error.strerror}. "
            "Earlier checkpoints are untouched; make room and resume."
        ) from error
    for old in earlier[: 1 - KEEP]:
        _manifest(folder, old).unlink()
        _tensors(folder, old).unlink(missing_ok=True)


def load(folder: Path, at_most: int | None = None) -> Checkpoint | None:
    """The newest good checkpoint of a step up to `at_most`, or else the oldest; None where there never was one.

    Raises CheckpointError, naming each, if there are some and all are damaged.
    """
    damaged: list[str] = []
    oldest: Checkpoint | None = None
    for number in reversed(_generations(folder)):
        try:
            step, state = _read(folder, number)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        oldest = Checkpoint(step, state, tuple(damaged))
        if at_most is None or step <= at_most:
            return oldest
    if damaged and oldest is None:
        raise CheckpointError("No good checkpoint is left. " + " ".join(damaged))
    return oldest


def clean(folder: Path) -> None:
    """Remove what a killed writer left behind: temporary files, and tensors without a manifest. Only for the writer."""
    if not folder.is_dir():
        return
    whole = {_tensors(folder, number) for number in _generations(folder)}
    for file in [*folder.glob(".*.tmp"), *folder.glob("*.safetensors")]:
        if file not in whole:
            file.unlink()
    sync_folder(folder)


def _tensors(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.safetensors"


def _manifest(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.manifest"


def _generations(folder: Path) -> list[int]:
    return sorted(int(file.stem) for file in folder.glob("*.manifest") if file.stem.isdigit())


def _read(folder: Path, number: int) -> tuple[int, State]:
    """One generation, every checksum verified. Raises CheckpointError saying which file is damaged."""
    manifest, tensors = _manifest(folder, number), _tensors(folder, number)
    checksum, _, body = manifest.read_bytes().partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise CheckpointError(f"{manifest} is damaged: its checksum does not match.")
    head = json.loads(body)
    try:
        data = tensors.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{tensors} is missing.") from None
    if len(data) != head["size"] or hashlib.sha256(data).hexdigest() != head["sha256"]:
        raise CheckpointError(f"{tensors} is damaged: its checksum does not match.")
    return head["step"], _unpack(head["plain"], safetensors.torch.load(data))


def _pack(tree: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The tree with each tensor moved to `tensors` and replaced by {"tensor": its path}."""
    if isinstance(tree, Tensor):
        tensors[path] = tree.detach().cpu().clone().contiguous()
        return {"tensor": path}
    if isinstance(tree, dict):
        # as pairs, since JSON would turn an optimizer's integer keys into text
        return {"dict": [[key, _pack(value, f"{path}/{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_pack(value, f"{path}/{number}", tensors) for number, value in enumerate(tree)]
    return tree


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {key: _unpack(value, tensors) for key, value in tree["dict"]}
    if isinstance(tree, list):
        return [_unpack(value, tensors) for value in tree]
    return tree
