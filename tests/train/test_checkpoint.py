import math
import random

import pytest
import torch

from descend.errors import CheckpointError
from descend.train import checkpoint


def state(step: int) -> checkpoint.State:
    torch.manual_seed(step)
    return {
        "model": {"weight": torch.randn(3, 2), "count": torch.tensor(step)},
        "optimizer": {
            "state": {0: {"m": torch.randn(3, 2), "step": step}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        "stopper": {"best_loss": math.inf, "best_weights": None},
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_state_comes_back_exactly_with_its_types(tmp_path):
    checkpoint.save(tmp_path, 7, state(7))
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded.step == 7
    assert same(loaded.state, state(7))


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "missing") is None


def test_two_generations_are_kept_and_nothing_else_is_left(tmp_path):
    for step in range(5):
        checkpoint.save(tmp_path, step, state(step))
    assert len(list(tmp_path.iterdir())) == 2 * checkpoint.KEEP
    assert checkpoint.load(tmp_path).step == 4
    assert checkpoint.load(tmp_path, at_most=3).step == 3
    assert checkpoint.load(tmp_path, at_most=1).step == 3, "the oldest there is, if none is old enough"


def test_each_of_1000_flipped_bits_is_detected_and_the_generation_before_is_used(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, state(2))
    newest = sorted(tmp_path.iterdir())[-2:]
    content = {file: file.read_bytes() for file in newest}
    draw = random.Random(0)
    for _ in range(1000):
        # a file is chosen by its size, so that every bit of the generation is as likely
        file = draw.choices(newest, [len(content[file]) for file in newest])[0]
        bit = draw.randrange(8 * len(content[file]))
        damaged = bytearray(content[file])
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        loaded = checkpoint.load(tmp_path)
        assert loaded.step == 1
        assert same(loaded.state, state(1))
        assert file.name in loaded.damaged[0]
        file.write_bytes(content[file])
    assert checkpoint.load(tmp_path).step == 2


@pytest.mark.parametrize("harm", ["truncate", "remove", "empty manifest"])
def test_a_generation_that_is_cut_short_or_missing_is_named(tmp_path, harm):
    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, state(2))
    manifest, tensors = sorted(tmp_path.iterdir())[-2:]
    if harm == "truncate":
        tensors.write_bytes(tensors.read_bytes()[:-1])
    elif harm == "remove":
        tensors.unlink()
    else:
        manifest.write_bytes(b"")
    loaded = checkpoint.load(tmp_path)
    assert loaded.step == 1
    assert (manifest if "manifest" in harm else tensors).name in loaded.damaged[0]


def test_when_all_are_damaged_every_one_is_named(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"No good checkpoint is left.*0001\.safetensors.*0000\.safetensors"):
        checkpoint.load(tmp_path)


def test_a_full_disk_is_reported_and_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, state(1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"step 2 could not be written.*No space left"):
        checkpoint.save(tmp_path, 2, state(2))
    assert checkpoint.load(tmp_path).step == 1


def test_what_a_killed_writer_left_is_removed(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    good = set(tmp_path.iterdir())
    (tmp_path / ".0001.manifest.99.tmp").write_bytes(b"half")
    (tmp_path / "0001.safetensors").write_bytes(b"tensors without a manifest")
    checkpoint.clean(tmp_path)
    assert set(tmp_path.iterdir()) == good
