"""Long texts are stored in compressed form, and read as they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from long_tasks import LongTask

from selfreg_gym import Episode, History, Rollouts, Transition, collect
from selfreg_gym.errors import StoreDamagedError
from selfreg_gym.store.texts import loaded, stored

LONG = "\n".join(f"> go to room {i % 7}\nYou are in room {i % 7}; the \u00e9t\u00e9 is over." for i in range(80))


@pytest.mark.parametrize("text", ["", "short", LONG, "\u2603" * 3000, "x" * 1999])
def test_any_text_is_read_as_it_was(text: str) -> None:
    assert loaded(stored(text)) == text
    assert isinstance(stored(text), bytes) is (len(text) >= 2000)


def test_text_that_does_not_shrink_is_stored_as_it_is() -> None:
    text = "".join(chr(0x4E00 + (i * i * 7919 + i * 31) % 20000) for i in range(2000))
    assert loaded(stored(text)) == text


def test_damaged_bytes_are_an_error() -> None:
    with pytest.raises(StoreDamagedError, match="damaged"):
        loaded(b"no zlib")


def episode(observation: str, seed: int) -> Episode:
    actions = tuple(f"take thing {i} from the shelf in the old kitchen" for i in range(100))
    step = Transition(0, observation, actions, observation, "f", 0, 0, actions[3], 0.0, 1.0, True, False, False)
    return Episode(0, seed, "task", "", 0.5, True, (0.0,), (step,))


def test_a_store_has_each_long_text_once(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with Rollouts.create(path, spec={"env": {}}) as rollouts:
        for seed in range(3):
            rollouts.add(episode(LONG, seed))
    with Rollouts.open(path) as rollouts:  # another writer, which remembers no text
        rollouts.add(episode(LONG, 3))
        assert [one.steps for one in rollouts.episodes()] == [episode(LONG, 0).steps] * 4
        assert rollouts.columns("observation")["observation"].values == [LONG]
    connection = sqlite3.connect(path)
    kinds = dict(connection.execute("SELECT typeof(text), count(*) FROM texts GROUP BY 1"))
    assert kinds == {"blob": 2, "text": 2}, "the dialogue and the actions; the key f and the action"
    shown = connection.execute("SELECT observation, action_text FROM steps").fetchall()
    assert shown[0][0].endswith("bytes, zlib]")
    assert shown[0][1].startswith("take thing 3")


def test_a_store_of_format_5_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with Rollouts.create(path, spec={"env": {}}) as rollouts:
        rollouts.add(episode("short", 0))
    connection = sqlite3.connect(path)
    digest = connection.execute("SELECT hash FROM texts WHERE text = 'short'").fetchone()[0]
    with connection:
        connection.execute("UPDATE texts SET text = ?, hash = ? WHERE hash = ?", (LONG, digest, digest))  # as format 5
        connection.execute("PRAGMA user_version = 5")
    with Rollouts.open(path) as rollouts:
        assert next(iter(rollouts.episodes())).steps[0].observation == LONG
        rollouts.add(episode(LONG, 1))
        assert [one.steps[0].observation for one in rollouts.episodes()] == [LONG, LONG]
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (6,)


def test_long_dialogues_with_many_actions_take_little_space(tmp_path: Path) -> None:
    """100 steps with 100 actions and a dialogue of 8 turns: less than 200 kB per episode."""
    path = tmp_path / "r.sqlite"
    env = {"task": lambda: History(LongTask(), turns=8), "actor": lambda text: "wait", "interventions": ["expert"]}
    with collect(
        env, store=path, tasks=range(2), episodes=2, help_probabilities=[0.0, 0.8], progress=False
    ) as rollouts:
        observations = rollouts.columns("observation")["observation"].values
        lengths = [len(one.steps) for one in rollouts.episodes()]
        assert [one.success for one in rollouts.episodes()].count(True) == 2
    assert lengths == [100] * 4
    assert sum(map(len, observations)) > 1_000_000
    assert path.stat().st_size < 4 * 200_000
