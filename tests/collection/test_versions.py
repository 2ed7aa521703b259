"""Versions of the packages of a task: part of a store's identity, and a reason not to continue it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym import Rollouts, collect
from selfreg_gym.collection import versions
from selfreg_gym.collection.versions import OtherVersionWarning, versions_of
from selfreg_gym.errors import RunDirectoryError, StoreError, TaskContractError
from selfreg_gym.pipeline import open_run

ENV = {"task": "selfreg/FrozenLake-v0", "actor": lambda text: "down", "interventions": ["expert"]}
INSTALLED = {"selfreg-gym": versions._version("selfreg-gym"), "gymnasium": gym.__version__}


def fill(path: Path, stop_after: int | None = None) -> Rollouts:
    """Collect eight episodes, or stop after some, as Ctrl-C does."""
    played = []

    def progress(episode: Any) -> None:
        played.append(episode)
        if len(played) == stop_after:
            raise KeyboardInterrupt

    return collect(
        ENV, store=path, tasks=range(2), episodes=4, help_probabilities=(0, 1), seed=1, num_envs=1, progress=progress
    )


def pretend(monkeypatch: pytest.MonkeyPatch, **other: str) -> None:
    """Pretend that distributions have other versions."""
    found = {name.replace("_", "-"): version for name, version in other.items()}
    monkeypatch.setattr(versions, "_version", lambda name: found.get(name) or INSTALLED[name])


@pytest.mark.parametrize("form", ["id", "env", "class"])
def test_a_task_names_the_distributions_that_it_wraps(form: str) -> None:
    made = gym.make("selfreg/FrozenLake-v0")
    task = {"id": "selfreg/FrozenLake-v0", "env": made, "class": type(made.unwrapped)}[form]
    assert versions_of(task) == INSTALLED
    assert versions_of("selfreg/Coin-v0") == {"selfreg-gym": INSTALLED["selfreg-gym"]}


def test_distributions_that_are_no_tuple_of_names_raise() -> None:
    class Wrong(gym.Env):
        distributions = "gymnasium"

    with pytest.raises(TaskContractError, match=r"tuple of names.*received 'gymnasium'"):
        versions_of(Wrong)


def test_a_store_is_not_continued_with_another_version_of_the_tasks_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.sqlite"
    with pytest.raises(KeyboardInterrupt):
        fill(path, stop_after=3)
    with Rollouts.open(path) as rollouts:
        assert rollouts.spec["env"]["identity"]["versions"] == INSTALLED
        assert rollouts.count() == 3
    with monkeypatch.context() as patch:
        pretend(patch, gymnasium="9.9")
        with pytest.raises(StoreError, match=rf"gymnasium 9\.9 for {gym.__version__}.*pip install 'gymnasium=="):
            fill(path)
        with Rollouts.open(path) as rollouts:
            assert rollouts.count() == 3
    assert fill(path).is_complete
    pretend(monkeypatch, gymnasium="9.9")
    assert fill(path).count() == 8, "nothing is appended to a complete store, so it can be opened"


def test_another_version_of_this_package_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.sqlite"
    with pytest.raises(KeyboardInterrupt):
        fill(path, stop_after=3)
    pretend(monkeypatch, selfreg_gym="9.9")
    with pytest.warns(OtherVersionWarning, match=r"this is selfreg-gym 9\.9"):
        assert fill(path).is_complete


def test_a_store_of_an_earlier_version_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.sqlite"
    with pytest.raises(KeyboardInterrupt):
        fill(path, stop_after=3)
    with sqlite3.connect(path) as connection:
        spec = json.loads(connection.execute("SELECT value FROM meta WHERE key = 'spec'").fetchone()[0])
        del spec["env"]["identity"]["versions"]
        connection.execute("UPDATE meta SET value = ? WHERE key = 'spec'", (json.dumps(spec, sort_keys=True),))
    pretend(monkeypatch, gymnasium="9.9")
    assert fill(path).is_complete


def test_a_run_is_not_continued_with_another_version_of_the_tasks_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["task.id=selfreg/FrozenLake-v0", "task.kwargs={}", "task.splits={collected={}}"]
    run = open_run(tmp_path / "r", preset="smoke", overrides=overrides, progress=False)
    assert run.manifest.data["task_versions"] == INSTALLED
    pretend(monkeypatch, gymnasium="9.9")
    with pytest.raises(RunDirectoryError, match=r"gymnasium 9\.9 for"):
        open_run(tmp_path / "r")
