"""Calls of several steps and aborted episodes in a store: written, read by step and by decision, exported."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import Corridor, Hasty
from stored import SPEC, episode

from selfreg_gym import Intervention, InterventionVectorEnv
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.store.ragged import Ragged
from selfreg_gym.store.rollouts import Coded, Rollouts
from selfreg_gym.testing import ExpertActor
from selfreg_gym.types import Episode


def played(duration: Any = "subgoal") -> list[Episode]:
    people = [Intervention(ExpertActor(), name="expert", duration=duration, cost_per="step")]
    env = InterventionVectorEnv(4, Corridor, Hasty(), people, autoreset_mode="Disabled")
    specs = [EpisodeSpec(0, seed, 0.4) for seed in range(25)]
    return sorted(run_episodes(env, specs), key=lambda one: one.seed)


def aborted() -> Episode:
    made = episode(actions=(0, 1, 3), success=False)
    last = dataclasses.replace(made.steps[-1], action_text="", cost=0.0)
    return dataclasses.replace(made, steps=(*made.steps[:-1], last), usage=(1.0, 0.0))


def test_steps_and_decisions_are_read_back(rollouts: Rollouts) -> None:
    episodes = played()
    assert any(step.continuation for one in episodes for step in one.steps)
    rollouts.add(episodes)
    assert list(rollouts) == episodes
    names = ("t", "action", "cost", "reward", "tokens", "price", "terminated", "truncated", "invalid", "steps_left")
    steps = rollouts.columns(*names, "continuation")
    assert steps["continuation"].tolist() == [s.continuation for one in episodes for s in one.steps]
    columns = rollouts.columns(*names, "observation", "state_key", "task", "actor_logprobs", decisions=True)
    assert list(columns) == [*names, "observation", "state_key", "task", "actor_logprobs"]
    decisions = [decision for one in episodes for decision in one.decisions]
    for name in ("t", "action", "terminated", "truncated", "invalid", "steps_left"):
        assert columns[name].tolist() == [getattr(decision, name) for decision in decisions], name
    for name in ("cost", "reward"):
        np.testing.assert_allclose(columns[name], [getattr(decision, name) for decision in decisions])
    text = columns["observation"]
    assert isinstance(text, Coded)
    assert [text.values[code] for code in text.codes] == [decision.observation for decision in decisions]
    assert len(columns["actor_logprobs"]) == len(decisions)


def test_tokens_and_reported_costs_of_a_call_are_sums(rollouts: Rollouts) -> None:
    one = next(one for one in played() if any(step.continuation for step in one.steps))
    steps = [
        dataclasses.replace(step, tokens=None if step.t % 2 else 10, reported_cost=0.5 if step.t % 2 else None)
        for step in one.steps
    ]
    rollouts.add(dataclasses.replace(one, steps=tuple(steps)))
    columns = rollouts.columns("tokens", "price", decisions=True)
    decisions = next(iter(rollouts)).decisions
    assert columns["tokens"].tolist() == [-1 if d.tokens is None else d.tokens for d in decisions]
    expected = [np.nan if d.reported_cost is None else d.reported_cost for d in decisions]
    np.testing.assert_array_equal(columns["price"], expected)


def test_a_store_without_long_calls_has_one_decision_per_step(rollouts: Rollouts) -> None:
    rollouts.add(played(1))
    assert rollouts.columns("t", decisions=True)["t"].tolist() == rollouts.columns("t")["t"].tolist()


def test_columns_of_lists_are_taken_by_row() -> None:
    lists = Ragged.of([(1.0,), None, (2.0, 3.0)]).take(np.array([2, 1]))
    assert [None if one is None else one.tolist() for one in lists] == [[2.0, 3.0], None]


def test_an_aborted_episode(rollouts: Rollouts, path: Path) -> None:
    one = aborted()
    rollouts.add(one)
    assert list(rollouts) == [one]
    assert next(iter(rollouts)).aborted
    rollouts.close()
    with sqlite3.connect(path) as connection:
        who = connection.execute("SELECT who, continuation FROM steps ORDER BY t").fetchall()
    assert who[-1] == ("abort", 0)


def changed(one: Episode, index: int, **fields: Any) -> Episode:
    steps = list(one.steps)
    steps[index] = dataclasses.replace(steps[index], **fields)
    return dataclasses.replace(one, steps=tuple(steps))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (changed(episode(), 0, continuation=True), "continuation must follow"),
        (changed(episode(), 2, continuation=True), "continuation must follow"),
        (changed(episode(), -1, action=9), r"last action is outside 0 .. 3"),
        (changed(episode(), 0, action=3), r"an action is outside 0 .. 2"),
        (dataclasses.replace(aborted(), success=True), "a cost or success"),
    ],
)
def test_wrong_continuations_and_aborts(rollouts: Rollouts, wrong: Episode, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rollouts.add(wrong)


def test_a_store_of_format_4_is_read_and_converted_when_it_is_written(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(episode())
    rollouts.close()
    with sqlite3.connect(path) as connection:  # what format 4 was: the same without this column
        connection.execute("DROP VIEW steps")
        connection.execute("ALTER TABLE transitions DROP COLUMN continuation")
        connection.execute("CREATE VIEW steps AS SELECT run, episode, t FROM transitions")
        connection.execute("PRAGMA user_version = 4")
    with Rollouts.open(path, spec=SPEC) as again:
        assert list(again) == [episode()]
        assert not again.columns("continuation")["continuation"].any()
        episodes = [
            dataclasses.replace(
                one, task_index=7, usage=(*one.usage, 0.0),
                steps=tuple(dataclasses.replace(step, propensities=None) for step in one.steps),
            )
            for one in played()
        ]  # fmt: skip
        again.add(episodes)
        assert list(again) == [episode(), *episodes]


def test_exports_have_the_continuations(rollouts: Rollouts, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    episodes = played()
    rollouts.add(episodes)
    table = parquet.read_table(rollouts.to_parquet(tmp_path / "a.parquet"))
    assert table["continuation"].to_pylist() == [s.continuation for one in episodes for s in one.steps]
