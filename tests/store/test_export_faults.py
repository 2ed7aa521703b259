"""Exports: invalid characters, invalid names, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfreg_gym import Episode, Rollouts, Transition
from selfreg_gym.errors import InvalidArgumentError, StoreError

ODD = ["go\x00left", "half \ud83d", "K\u00fcche \U0001f642", "\u202e\x1b[31m", "x" * 200_000]


def store(path: Path, text: str, spec: Any = None) -> Rollouts:
    rollouts = Rollouts.create(path, spec=spec or {})
    step = Transition(0, text, (text, "b"), text, text, 1, 0, text, 0.0, 1.0, True, False, False)
    rollouts.add(Episode(0, 0, text, text, 0.5, True, (0.0,), (step,)))
    return rollouts


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_stored(text: str, tmp_path: Path) -> None:
    clean = text.replace("\ud83d", "\ufffd")
    (episode,) = store(tmp_path / "s.sqlite", text)
    (step,) = episode.steps
    assert (episode.task_id, episode.kind) == (clean, clean)
    assert step.admissible_actions == (clean, "b")
    assert {step.observation, step.state_key, step.feature_key, step.action_text} == {clean}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_exported(text: str, tmp_path: Path, datasets: Path) -> None:
    minari, parquet = pytest.importorskip("minari"), pytest.importorskip("pyarrow.parquet")
    rollouts = store(tmp_path / "s.sqlite", text)
    (row,) = parquet.read_table(rollouts.to_parquet(tmp_path / "x.parquet")).to_pylist()
    assert row["observation"] == row["admissible_actions"][0] == text.replace("\ud83d", "\ufffd")
    rollouts.to_minari("odd/texts-v0")
    data = minari.load_dataset("odd/texts-v0")
    expected = text.replace("\ud83d", "\ufffd").replace("\0", "\ufffd")
    assert list(data[0].observations) == [expected, ""]
    assert all(data.observation_space.contains(observation) for observation in data[0].observations)
    assert sorted(path.name for path in datasets.iterdir()) == ["odd"]


@pytest.mark.filterwarnings("ignore")
def test_a_failed_minari_export_leaves_the_name_free(
    tmp_path: Path, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    rollouts = store(tmp_path / "s.sqlite", "go")
    for bad in ("no version", "../out-v0", "a/../../b-v0", "", 3, "x-v"):
        with pytest.raises(InvalidArgumentError, match="namespace/name-v0"):
            rollouts.to_minari(bad)
    with pytest.raises(InvalidArgumentError, match="no episode"):
        rollouts.to_minari("bugs/again-v0", task=7)
    with monkeypatch.context() as patch:  # a library that fails in the middle of writing
        storage = minari.dataset.minari_storage.MinariStorage
        patch.setattr(storage, "update_metadata", lambda self, metadata: 1 / 0)
        with pytest.raises(StoreError, match="left no files: ZeroDivisionError"):
            rollouts.to_minari("bugs/again-v0")
    assert not datasets.exists() or not list(datasets.iterdir())
    rollouts.to_minari("bugs/again-v0")
    with pytest.raises(StoreError, match="already"):
        rollouts.to_minari("bugs/again-v0")
    assert minari.load_dataset("bugs/again-v0").total_episodes == 1


def test_a_parquet_file_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rollouts = store(tmp_path / "s.sqlite", "go")
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.parquet").mkdir()
    for bad in (tmp_path / "file" / "x.parquet", tmp_path / "folder.parquet"):
        with pytest.raises(StoreError):
            rollouts.to_parquet(bad)
    assert sorted(path.name for path in tmp_path.glob("*.new")) == []
