"""The rollout store returns each stored episode once."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import episode

from selfreg_gym.errors import (
    InvalidArgumentError,
    StoreError,
    UnknownNameError,
)
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.store.rollouts import Rollouts, UnfinishedStoreWarning
from selfreg_gym.types import Episode, Transition

# ---------------------------------------------------------------- what goes in comes out


def test_a_stored_episode_is_read_unchanged(rollouts: Rollouts) -> None:
    stored = [episode(0, 0), episode(1, 7, None, success=False), episode(2, 2**40, 0.1 + 0.2, cost=1 / 3)]
    assert rollouts.add(stored) == 3
    assert list(rollouts) == stored
    assert len(rollouts) == 3
    assert rollouts.transition_count() == 9


def test_a_cost_is_never_rounded(rollouts: Rollouts) -> None:
    cost = 0.123456789012345678
    rollouts.add(episode(cost=cost))
    (back,) = rollouts.episodes()
    assert back.steps[1].cost == cost
    assert back.usage == (cost, cost)
    assert rollouts.columns("cost")["cost"].tolist() == [0.0, cost, cost]


def test_numpy_values_and_odd_texts_are_accepted(rollouts: Rollouts) -> None:
    step = episode().steps[0]
    odd = dataclasses.replace(
        step,
        observation="nul \x00 and a lone \ud83d surrogate",
        steps_left=np.int64(4),
        action=np.int64(0),
        reward=np.float32(0.5),
        terminated=np.bool_(True),
        action_text="",
    )
    rollouts.add(episode(steps=(odd,), usage=(np.float64(0), 0.0), success=np.True_, metrics={"spl": np.float32(0.5)}))
    (back,) = rollouts.episodes()
    assert back.steps[0].observation == "nul \x00 and a lone \ufffd surrogate"
    assert (back.steps[0].steps_left, back.steps[0].action_text, back.success) == (4, "", True)
    assert back.metrics == {"spl": 0.5}


def test_each_distinct_text_is_stored_once_and_read_back_shared(rollouts: Rollouts) -> None:
    rollouts.add(episode(0, seed) for seed in range(50))
    distinct = {x for e in rollouts for s in e for x in (s.observation, s.state_key, s.feature_key, s.action_text)}
    assert rollouts.summary().texts == len(distinct - {None}) + 1  # and one list of admissible actions
    first, second = list(rollouts)[:2]
    assert first.steps[0].observation is second.steps[0].observation


def test_texts_with_the_same_hash_stay_different(rollouts: Rollouts, path: Path, monkeypatch) -> None:
    class Same:
        def __init__(self, *_: object, **__: object) -> None: ...
        def digest(self) -> bytes:
            return bytes(8)

    monkeypatch.setattr("selfreg_gym.store.writing.blake2b", Same)
    rollouts.add([episode(0, 0), episode(1, 0)])
    with Rollouts.open(path) as other:  # a writer that remembers nothing of the first
        other.add(episode(2, 0))
    assert list(rollouts) == [episode(0, 0), episode(1, 0), episode(2, 0)]


def test_it_can_be_read_in_the_sqlite_shell(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(episode())
    plain = sqlite3.connect(path)
    rows = plain.execute("SELECT t, who, action_text, state_key, observation, p, success FROM steps ORDER BY t")
    assert [row[:4] for row in rows] == [
        (0, "actor", "go left", "0|room 0"),
        (1, "expert", "go left", "0|room 1"),
        (2, "strong", "go left", "0|room 2"),
    ]
    plain.close()


TEXT = st.text(max_size=30)
STEP = st.builds(
    Transition,
    t=st.just(0),
    observation=TEXT,
    admissible_actions=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    state_key=TEXT,
    feature_key=st.none() | TEXT,
    steps_left=st.none() | st.integers(0, 2**40),
    action=st.integers(0, 2),
    action_text=TEXT,
    cost=st.just(0.0),
    reward=st.floats(allow_nan=False, allow_infinity=False),
    terminated=st.just(False),
    truncated=st.just(True),
    invalid=st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(step=STEP, p=st.none() | st.floats(0, 1), seed=st.integers(0, 2**63 - 1), kind=TEXT)
def test_any_text_is_read_unchanged(rollouts: Rollouts, step: Transition, p, seed: int, kind: str) -> None:
    one = Episode(1, seed, kind, kind, p, False, (0.0, 0.0), (step,))
    run = rollouts.count()  # hypothesis draws the same episode more than once
    rollouts.add(one, run=run)
    assert list(rollouts.episodes(run=run)) == [one]


# ---------------------------------------------------------------- filters, columns, figures


def test_filters(rollouts: Rollouts) -> None:
    for task, kind in enumerate(["pnp", "s_obj", "s_hum"]):
        rollouts.add(episode(task, 0, p, kind=kind, success=task == 1) for p in (0.0, 0.1 + 0.2, None))
    count = lambda **where: len(list(rollouts.episodes(**where)))  # noqa: E731
    assert count() == 9
    assert count(help_probability=0.3) == 3  # 0.1 + 0.2 is 0.30000000000000004
    assert count(help_probability=None) == 3
    assert count(help_probability=[0.0, None]) == 6
    assert count(task=1) == 3
    assert count(task=range(2), kind=["pnp", "s_hum"]) == 3
    assert count(task=np.array([0, 2]), success=True) == 0
    assert count(task_id="task-2", help_probability=0) == 1
    assert count(kind=[]) == 0
    with pytest.raises(UnknownNameError, match="Did you mean 'help_probability'"):
        rollouts.episodes(help_probabilty=0.3)


def test_columns_are_the_episodes_as_arrays(rollouts: Rollouts) -> None:
    rollouts.add([episode(0, 0), episode(1, 0, None, success=False), episode(1, 1)])
    steps = [(e, s) for e in rollouts for s in e]
    got = rollouts.columns(
        "task", "task_id", "success", "help_probability", "t", "action", "reward", "terminated", "steps_left",
        "state_key", "feature_key", "observation", "episode",
    )  # fmt: skip
    for name in ("t", "action", "reward", "terminated"):
        assert got[name].tolist() == [getattr(s, name) for _, s in steps]
    for name in ("state_key", "feature_key", "observation"):
        texts = [got[name].values[code] if code >= 0 else None for code in got[name].codes]
        assert texts == [getattr(s, name) for _, s in steps]
        assert len(set(got[name].values)) == len(got[name].values)
    assert [got["task_id"].values[code] for code in got["task_id"].codes] == [e.task_id for e, _ in steps]
    assert got["task"].tolist() == [e.task_index for e, _ in steps]
    assert got["success"].tolist() == [e.success for e, _ in steps]
    assert got["steps_left"].tolist() == [-1 if s.steps_left is None else s.steps_left for _, s in steps]
    assert np.isnan(got["help_probability"]).tolist() == [e.help_probability is None for e, _ in steps]
    assert got["episode"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert got["t"].dtype == np.int64
    assert got["terminated"].dtype == np.bool_
    assert len(rollouts.columns("action", "state_key", task=1)["state_key"].codes) == 6
    empty = rollouts.columns("action", "state_key", task=99)
    assert empty["action"].shape == empty["state_key"].codes.shape == (0,)
    with pytest.raises(UnknownNameError, match="Did you mean 'state_key'"):
        rollouts.columns("state_keys")
    with pytest.raises(InvalidArgumentError, match=r"columns needs at least one name, received none. Known: action"):
        rollouts.columns()
    with pytest.raises(InvalidArgumentError, match=r"help_probability must be .* at most 1, received 2"):
        rollouts.columns("action", help_probability=[0.5, 2])


def test_summary(rollouts: Rollouts) -> None:
    rollouts.add([episode(0, 0, 0.0, actions=(0, 0), success=False), episode(0, 1, 0.5), episode(1, 0, 0.5, error="x")])
    summary = rollouts.summary()
    assert (summary.episodes, summary.failures, summary.transitions) == (2, 1, 5)
    assert summary.by_help_probability == [(0.0, 1, 0.0, 0.0, 2.0), (0.5, 1, 1.0, 2.0, 3.0)]


# ---------------------------------------------------------------- once, whole, and nothing that is not data


def test_the_same_episode_is_stored_once(rollouts: Rollouts) -> None:
    assert rollouts.add([episode(), episode(), episode(seed=1)]) == 2
    assert rollouts.add(episode()) == 0
    assert rollouts.add(episode(p=0.6)) == 1  # the same seed at another help probability is another episode
    assert rollouts.add(episode(), run=1) == 1
    assert rollouts.transition_count() == 12


def test_an_episode_with_an_error_is_excluded(rollouts: Rollouts) -> None:
    broken = episode(success=False, error="the endpoint answered 500")
    assert rollouts.add([broken, broken]) == 0
    assert len(rollouts) == rollouts.transition_count() == 0
    assert not rollouts.is_complete
    assert [(p.task_index, error) for p, error in rollouts.failures()] == [(0, "the endpoint answered 500")] * 2
    assert [p.task_index for p in rollouts.missing()] == [0]
    assert rollouts.add(episode()) == 1  # played again
    assert rollouts.is_complete
    assert rollouts.add(broken) == 0  # and a late error does not undo it
    assert len(rollouts.failures()) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: (), "no steps"),
        (lambda s: (*s, dataclasses.replace(s[-1], t=3)), "steps after the end"),
        (lambda s: s[:-1], "must end at its last step"),
        (lambda s: (s[0], *s), "numbered 0, 1, 2"),
        (lambda s: (dataclasses.replace(s[0], action=3), *s[1:]), "an action is outside 0 .. 2"),
        (lambda s: (dataclasses.replace(s[0], reward=float("nan")), *s[1:]), "not finite"),
        (lambda s: (dataclasses.replace(s[0], cost=0.5), *s[1:]), r"steps cost 2.5, but its usage is 2.0"),
    ],
)
def test_an_invalid_episode_raises(rollouts: Rollouts, change, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rollouts.add(episode(steps=change(episode().steps)))
    assert rollouts.transition_count() == 0


def test_a_failed_transaction_stores_no_episode_and_no_text(rollouts: Rollouts) -> None:
    class Unreadable(str):
        def encode(self, *_: object, **__: object) -> bytes:
            raise AttributeError("a text that fails while it is being stored")

    bad = dataclasses.replace(episode().steps[2], action_text=Unreadable("x"))
    with pytest.raises(AttributeError):
        rollouts.add(episode(steps=(*episode().steps[:2], bad)))
    assert rollouts.summary().texts == 0
    rollouts.add(episode())
    assert list(rollouts) == [episode()]


# ---------------------------------------------------------------- the plan


def planned(n: int = 4, run: int = 0) -> list[EpisodeSpec]:
    return [EpisodeSpec(i % 2, i, 0.5, i, run) for i in range(n)]


def test_episodes_are_in_the_order_of_the_plan(rollouts: Rollouts) -> None:
    rollouts.fix_plan(planned())
    assert not rollouts.is_complete
    for i in (3, 0, 2):
        rollouts.add(episode(i % 2, i))
    assert rollouts.missing() == [planned()[1]]
    with pytest.warns(UnfinishedStoreWarning, match="3 of its 4 planned episodes.*biased"):
        assert not rollouts.require_complete()
    with pytest.raises(StoreError, match="3 of its 4"):
        rollouts.require_complete(strict=True)
    rollouts.add(episode(1, 1))
    assert rollouts.is_complete
    assert rollouts.require_complete()
    assert [e.seed for e in rollouts] == [0, 1, 2, 3]
    assert rollouts.plan == planned()


def test_an_empty_store_is_not_complete(rollouts: Rollouts) -> None:
    assert not rollouts.is_complete


def test_a_run_with_a_plan_accepts_no_other_episode(rollouts: Rollouts) -> None:
    rollouts.fix_plan(planned())
    with pytest.raises(StoreError, match="not in the plan of run 0"):
        rollouts.add(episode(5, 5))
    with pytest.raises(StoreError, match="already has a plan"):
        rollouts.fix_plan(planned())
    rollouts.add(episode(5, 5), run=1)
    with pytest.raises(InvalidArgumentError, match="no two with the same"):
        rollouts.fix_plan([planned()[0], dataclasses.replace(planned()[0], plan_index=1)])
    with pytest.raises(InvalidArgumentError, match="needs a plan_index"):
        rollouts.fix_plan([EpisodeSpec(0, 0, 0.5, run=2)])
    with pytest.raises(InvalidArgumentError, match="received 0 episodes"):
        rollouts.fix_plan([])


@pytest.mark.parametrize(
    "change",
    [{"steps": None}, {"usage": None}, {"usage": ("a", "b")}, {"seed": "1"}, {"task_index": None}],
    ids=["steps", "usage", "usage text", "seed", "task"],
)
def test_a_field_of_an_episode_of_another_type(rollouts: Rollouts, change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid episode: a field has a wrong type"):
        rollouts.add(dataclasses.replace(episode(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"observation": 5}, {"state_key": None}, {"feature_key": 3}, {"action_text": b"a"},
               {"admissible_actions": "ab"}, {"admissible_actions": (1,)}, {"cost": None}, {"reward": "1"}]
)  # fmt: skip
def test_a_field_of_a_transition_of_another_type(rollouts: Rollouts, change: dict[str, object]) -> None:
    whole = episode()
    steps = (dataclasses.replace(whole.steps[0], **change), *whole.steps[1:])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="invalid episode"):
        rollouts.add(dataclasses.replace(whole, steps=steps))
    assert rollouts.count() == 0


def test_only_episodes_are_added(rollouts: Rollouts) -> None:
    for other in (None, 5, "ab", [None]):
        with pytest.raises(InvalidArgumentError, match="Episode"):
            rollouts.add(other)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [None, 5, True, b"r.sqlite", "a\0b", "x" * 300])
def test_an_impossible_path(place: object) -> None:
    for make in (lambda: Rollouts.open(place), lambda: Rollouts.create(place, spec={})):  # type: ignore[arg-type]
        with pytest.raises((InvalidArgumentError, StoreError)):
            make()
