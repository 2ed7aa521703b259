"""Opening a store: the errors for invalid files."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from pathlib import Path

import pytest
from stored import SPEC, episode

from selfreg_gym.errors import (
    InvalidArgumentError,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
)
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.store.schema import FORMAT


def test_create_does_not_overwrite(rollouts: Rollouts, path: Path) -> None:
    with pytest.raises(StoreError, match="already exists"):
        Rollouts.create(path, spec=SPEC)
    assert not list(path.parent.glob(".*"))  # no drafts are left


def test_open_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no rollout store at"):
        Rollouts.open(tmp_path / "nothing.sqlite")
    with pytest.raises(StoreError, match="is a folder"):
        Rollouts.open(tmp_path)
    assert not (tmp_path / "nothing.sqlite").exists()


def test_open_another_version(rollouts: Rollouts, path: Path) -> None:
    rollouts.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StoreVersionError, match=f"store format {FORMAT + 1}; this selfreg_gym reads format {FORMAT}"):
        Rollouts.open(path)


@pytest.mark.parametrize("content", [b"", b"x", b"not a database, but a long enough text " * 100])
def test_open_a_file_that_is_not_a_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(
        StoreDamagedError, match="not a rollout store, but an empty file" if len(content) < 100 else "not a readable"
    ):
        Rollouts.open(path)


def test_open_another_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (x)")
    with pytest.raises(StoreDamagedError, match=r"not a rollout store.*recipes"):
        Rollouts.open(tmp_path / "other.sqlite")


def test_open_a_store_without_a_table(rollouts: Rollouts, path: Path) -> None:
    rollouts.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE plan")
    with pytest.raises(StoreDamagedError, match=r"has no tables.*plan"):
        Rollouts.open(path)


@pytest.mark.parametrize("harm", ["cut", "scribble"])
def test_open_a_damaged_store(rollouts: Rollouts, path: Path, harm: str) -> None:
    rollouts.add(episode(seed=seed) for seed in range(200))
    rollouts.close()
    data = bytearray(path.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 : len(data) // 2 + 6000] = bytes(range(250)) * 24
    path.write_bytes(data)
    with pytest.raises(StoreDamagedError, match=r"damaged|not a readable"):
        Rollouts.open(path)


def test_open_for_another_spec_names_the_difference(rollouts: Rollouts, path: Path) -> None:
    with Rollouts.open(path, spec=SPEC) as again:
        assert again.spec == SPEC
    other = {**SPEC, "env": {**SPEC["env"], "actor": "tiny"}, "tasks": (1, 2)}
    with pytest.raises(StoreError, match=r"env.actor: the store has 'scripted', asked for 'tiny'; tasks: .*\[1, 2\]"):
        Rollouts.open(path, spec=other)
    with pytest.raises(InvalidArgumentError, match="plain JSON"):
        Rollouts.create(path.with_name("b"), spec={"actor": object()})
    with pytest.raises(InvalidArgumentError, match="spec of a store must be a dict"):
        Rollouts.create(path.with_name("b"), spec=[])


def test_a_store_is_pickled_as_its_path(rollouts: Rollouts) -> None:
    rollouts.add(episode())
    with pickle.loads(pickle.dumps(rollouts)) as copy:
        assert list(copy) == [episode()]
    assert "1 of 1 episodes" in repr(rollouts)


def test_the_file_alone_can_be_copied_after_a_checkpoint(rollouts: Rollouts, path: Path, tmp_path: Path) -> None:
    rollouts.add(episode())
    rollouts.checkpoint()
    shutil.copy(path, tmp_path / "copy.sqlite")
    with Rollouts.open(tmp_path / "copy.sqlite") as copy:
        assert list(copy) == [episode()]
