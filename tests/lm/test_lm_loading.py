"""Invalid checkpoints, backbones by name, the memo, weighted subsampling."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selfreg_gym import registry
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.lm.backbone import backbone_path
from selfreg_gym.lm.loading import load_causal, load_classifier, load_tokenizer, torch_dtype
from selfreg_gym.lm.memo import Memo, digest
from selfreg_gym.lm.subsampling import subsample


def test_a_saved_model_loads_in_any_dtype(checkpoint: Path) -> None:
    assert load_causal(checkpoint).dtype == torch.float32
    assert load_causal(checkpoint, dtype="bfloat16").dtype == torch.bfloat16
    classifier = load_classifier(checkpoint)
    assert classifier.config.problem_type == "multi_label_classification"
    assert classifier.num_labels == 1


@pytest.mark.parametrize("damage", ["missing", "no config", "broken config", "no weights", "broken weights"])
def test_an_invalid_checkpoint_raises(checkpoint: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    if damage != "missing":
        shutil.copytree(checkpoint, folder)
    if damage == "no config":
        (folder / "config.json").unlink()
    if damage == "broken config":
        (folder / "config.json").write_text("{")
    if damage == "no weights":
        (folder / "model.safetensors").unlink()
    if damage == "broken weights":
        (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="model"):
        load_causal(folder)


def test_a_checkpoint_without_tokenizer_raises(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoint / name, tmp_path / name)
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_tokenizer(tmp_path)


def test_dtypes_are_names_of_floats() -> None:
    with pytest.raises(InvalidArgumentError, match="received 'int8'"):
        torch_dtype("int8")
    with pytest.raises(InvalidArgumentError, match="received 'float23'"):
        torch_dtype("float23")


def test_a_backbone_is_a_directory_or_an_actor(checkpoint: Path) -> None:
    assert backbone_path(checkpoint) == checkpoint
    assert backbone_path("tiny").name == "tiny"
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        backbone_path("tini")
    with pytest.raises(InvalidArgumentError, match=r"the actor 'scripted', which has no checkpoint.*: lm, tiny\.$"):
        backbone_path("scripted")
    with pytest.raises(InvalidArgumentError, match="the actor 'endpoint', which has no checkpoint"):
        backbone_path("endpoint")  # it needs the address of a server


def test_only_actors_with_a_checkpoint_are_proposed(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError) as raised:
        backbone_path("tini")
    assert raised.value.choices == ["auto", "lm", "tiny"]

    class Needs:
        checkpoint_dir = checkpoint

        def __init__(self, path: str) -> None:
            self.path = path

    class Plain:
        checkpoint_dir = checkpoint

    plugins = {"needs": Needs, "plain": Plain}
    monkeypatch.setattr(registry, "names", lambda kind, **flags: ["needs", "plain"])
    monkeypatch.setattr(registry, "load", lambda kind, name: plugins[name])
    assert backbone_path("plain") == checkpoint
    with pytest.raises(InvalidArgumentError, match="which has no checkpoint, or none without arguments"):
        backbone_path("needs")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, selfreg_gym.lm, selfreg_gym.prm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_memo_drops_the_least_recently_used_entry() -> None:
    memo: Memo[int] = Memo(2)
    a, b, c = (digest([text]) for text in "abc")
    memo.put(a, 1)
    memo.put(b, 2)
    assert memo.get(a) == 1
    memo.put(c, 3)
    assert (memo.get(b), memo.get(a), memo.get(c)) == (None, 1, 3)
    assert len(memo) == 2
    assert digest(("ab", "c")) != digest(("a", "bc"))
    none: Memo[int] = Memo(0)
    none.put(a, 1)
    assert none.get(a) is None


def test_subsampling_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=500) * (rng.random(500) < 0.8)
    values = rng.normal(size=500) + weights
    truth = np.average(values, weights=weights)
    estimates = []
    for _ in range(400):
        rows, left = subsample(weights, 60, rng)
        assert len(rows) == 60
        assert len(set(rows)) == 60
        assert (weights[rows] > 0).all()
        estimates.append(np.average(values[rows], weights=left))
    error = np.std(estimates) / np.sqrt(400)
    assert abs(np.mean(estimates) - truth) < 4 * error + 1e-3


def test_a_row_of_large_weight_is_always_selected() -> None:
    weights = np.array([100.0, *([1.0] * 50)])
    rows, left = subsample(weights, 11, np.random.default_rng(1))
    assert rows[0] == 0
    assert left[0] / left[1] == pytest.approx(100 / 5)  # each of the others represents five rows
    rows, left = subsample(weights, None, np.random.default_rng(1))
    assert len(rows) == 51
    with pytest.raises(InvalidArgumentError, match="not all 0"):
        subsample(np.zeros(3), 2, np.random.default_rng(1))


def test_the_memo_computes_each_new_key_once_and_keeps_values_before_a_failure() -> None:
    memo: Memo[int] = Memo(10)
    memo.put(b"a", 1)
    asked: list[list[int]] = []

    def read(new: list[int]):
        asked.append(new)
        for index in reversed(new):
            if index == 9:
                raise RuntimeError("gone")
            yield index, 10 * index

    assert memo.get_or_compute([b"b", b"a", b"c", b"b"], read) == [0, 1, 20, 0]
    assert memo.get_or_compute([b"c", b"b"], read) == [20, 0]
    assert asked == [[0, 2]]
    with pytest.raises(RuntimeError, match="gone"):
        memo.get_or_compute([b"a"] * 9 + [b"d", b"e"], read)
    assert memo.get(b"e") == 100
    assert memo.get(b"d") is None
