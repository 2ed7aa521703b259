"""Exports, read by the libraries of their formats."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selfreg_gym.errors import InvalidArgumentError, MissingPackageError
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Episode, Transition

SPEC = {"env": {"task": "selfreg/Coin-v0"}}


def episode(seed: int, *, length: int = 3, p: float | None = 0.5) -> Episode:
    steps = tuple(
        Transition(
            t=t,
            observation=f"Küche {t}\n«{seed}»",
            admissible_actions=tuple(f"go {i}" for i in range(t)) if t else None,
            state_key=f"s{t}",
            feature_key=None,
            steps_left=length - t,
            action=t % 2,
            action_text="go",
            cost=(t % 2) / 3,
            reward=float(t == length - 1),
            terminated=t == length - 1,
            truncated=False,
            invalid=False,
        )
        for t in range(length)
    )
    return Episode(seed % 3, seed, "task", "pnp", p, True, (sum(s.cost for s in steps),), steps)


@pytest.fixture
def rollouts(tmp_path: Path):
    with Rollouts.create(tmp_path / "r.sqlite", spec=SPEC) as made:
        made.add([episode(0), episode(1, length=5, p=None), episode(2, length=1)])
        yield made


def test_parquet_has_a_row_per_transition(rollouts: Rollouts, tmp_path: Path) -> None:
    from pyarrow import parquet

    path = rollouts.to_parquet(tmp_path / "out" / "r.parquet")
    rows = parquet.read_table(path).to_pylist()
    steps = [(n, e, s) for n, e in enumerate(rollouts) for s in e]
    assert len(rows) == len(steps) == 9
    for row, (number, e, s) in zip(rows, steps, strict=True):
        assert (row["episode"], row["t"], row["task"], row["seed"]) == (number, s.t, e.task_index, e.seed)
        assert row["observation"] == s.observation
        assert row["admissible_actions"] == (None if s.admissible_actions is None else list(s.admissible_actions))
        assert row["cost"] == s.cost  # not rounded
        assert row["usage"] == list(e.usage)
        assert (row["help_probability"], row["feature_key"]) == (e.help_probability, None)
    assert [p.name for p in path.parent.iterdir()] == ["r.parquet"]


def test_parquet_of_many_row_groups_and_of_a_filter(rollouts: Rollouts, tmp_path: Path, monkeypatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr("selfreg_gym.store.export._CHUNK", 2)
    assert parquet.read_table(rollouts.to_parquet(tmp_path / "all.parquet")).num_rows == 9
    assert parquet.read_table(rollouts.to_parquet(tmp_path / "one.parquet", help_probability=None)).num_rows == 5


def test_an_empty_export_leaves_no_file(rollouts: Rollouts, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidArgumentError, match="no episode to export"):
        rollouts.to_parquet(tmp_path / "none.parquet", task=99)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("package", "method", "arguments", "extra"),
    [("datasets", "to_hf_dataset", (), "hf"), ("minari", "to_minari", ("selfreg/coin-v0",), "minari")],
)
def test_a_missing_package_is_named(
    rollouts: Rollouts, package: str, method: str, arguments, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails, as if it were not installed
    with pytest.raises(MissingPackageError, match=rf"needs the package '{package}'.*selfreg-gym\[{extra}\]"):
        getattr(rollouts, method)(*arguments)


def test_hugging_face(rollouts: Rollouts) -> None:
    dataset = rollouts.to_hf_dataset()
    assert len(dataset) == 9
    assert dataset[0]["observation"] == next(iter(rollouts)).steps[0].observation


def test_minari(rollouts: Rollouts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    dataset = rollouts.to_minari("selfreg/coin-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (3, 9)
    for exported, stored in zip(dataset.iterate_episodes(), rollouts, strict=True):
        assert list(exported.observations) == [*(s.observation for s in stored), ""]
        assert list(exported.actions) == [s.action for s in stored]
        assert list(exported.rewards) == [s.reward for s in stored]
        assert exported.terminations[-1]
