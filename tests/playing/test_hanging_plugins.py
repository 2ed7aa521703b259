"""Plug-ins that hang: with ``call_timeout`` only the affected episodes are discarded, and the others are the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym import (
    EpisodeSpec,
    Helper,
    Intervention,
    InterventionEnv,
    InterventionVectorEnv,
    collect,
    run_episodes,
)
from selfreg_gym.agents.interventions.mcts import MCTS
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import InvalidArgumentError, SetupError, TaskContractError
from selfreg_gym.intervention_env import guard
from selfreg_gym.testing import check_actor, check_helper, check_intervention
from selfreg_gym.types import Act, Decision

BAD = "coin-3"
"""The task in which the plug-ins hang."""

LIMIT = 1.5
"""Seconds for one call; the other calls take less than a millisecond each, also on a busy machine."""


def hang() -> None:
    while True:
        time.sleep(0.001)


def bad(decision: Decision) -> bool:
    return decision.info["task_id"] == BAD


class Planner:
    """Tries both actions on the live task of each decision, and hangs between the steps of one task."""

    def __init__(self, hangs: Callable[[], None] = hang) -> None:
        self._hangs = hangs

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return [self._plan(decision) for decision in decisions]

    def _plan(self, decision: Decision) -> str:
        before = decision.task.snapshot()
        decision.task.step("heads")
        if bad(decision):
            self._hangs()
        decision.task.restore(before)
        return "heads"

    def __deepcopy__(self, memo: dict[int, Any]) -> Planner:
        return self


class Together(Planner):
    """Begins a plan in every task of the batch before it ends one, as a batched search does."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        before = [decision.task.snapshot() for decision in decisions]
        for decision in decisions:
            decision.task.step("heads")
        if any(map(bad, decisions)):
            self._hangs()
        for decision, state in zip(decisions, before, strict=True):
            decision.task.restore(state)
        return ["heads"] * len(decisions)


def say_heads(text: str) -> str:
    return "heads"


def played(planner: Any, num_envs: int | None, who: str, limit: float | None = LIMIT) -> dict[int, Any]:
    friend = Intervention(planner if who == "intervention" else say_heads, name="friend")
    kwargs: dict[str, Any] = {
        "actor": planner if who == "actor" else say_heads, "interventions": [friend], "call_timeout": limit,
    }  # fmt: skip
    env: Any = (
        InterventionEnv("selfreg/Coin-v0", **kwargs)
        if num_envs is None
        else InterventionVectorEnv(num_envs, "selfreg/Coin-v0", **kwargs, autoreset_mode="Disabled")
    )
    specs = [EpisodeSpec(i, 10 + i, float(who == "intervention")) for i in range(6)]
    return {episode.task_index: episode for episode in run_episodes(env, specs, retries=0)}


@pytest.mark.parametrize(
    ("num_envs", "who", "kind"),
    [(None, "actor", Planner), (None, "intervention", Together), (4, "actor", Together), (4, "intervention", Planner)],
)
def test_only_the_episode_of_a_hanging_act_is_discarded(num_envs: int | None, who: str, kind: type[Planner]) -> None:
    faulty, right = played(kind(), num_envs, who), played(say_heads, num_envs, who, None)
    error = faulty.pop(3).error
    assert error is not None
    name = "the actor" if who == "actor" else "the intervention 'friend'"
    assert error.startswith(f"{name}: an actor must answer every decision; {kind.__name__}.act did not answer within")
    assert "1.5 s, the limit that call_timeout sets" in error
    del right[3]
    assert faulty == right


def test_a_batched_plan_that_raises_ends_the_episode_of_one_task_only() -> None:
    def fail() -> None:
        raise RuntimeError("no battery")

    faulty, right = played(Together(fail), 4, "intervention", None), played(say_heads, 4, "intervention", None)
    error = faulty.pop(3).error
    assert error is not None
    assert "Together.act raised RuntimeError: no battery. Then, the intervention 'friend': an actor must leave" in error
    del right[3]
    assert faulty == right


def test_a_search_that_is_interrupted_is_repeated_from_the_same_state(tmp_path: Path) -> None:
    def searched(name: str, hangs_at: int, limit: float | None) -> list[Any]:
        calls = []

        def value(states: Sequence[Any]) -> np.ndarray:
            calls.append(len(states))
            if len(calls) == hangs_at:
                hang()
            return np.full(len(states), 0.5)

        planner = MCTS(simulations=4, value=value)
        env = {"task": "selfreg/Coin-v0", "actor": say_heads, "interventions": [planner], "call_timeout": limit}
        with collect(
            env, store=tmp_path / name, tasks=[0, 1], episodes=4, help_probabilities=[1.0], retries=0, progress=False
        ) as rollouts:
            assert not rollouts.failures()
            assert len(calls) > hangs_at
            return list(rollouts)

    interrupted = searched("a.sqlite", 5, LIMIT)
    assert len(interrupted) == 8
    assert interrupted == searched("b.sqlite", 0, None)


def test_the_store_keeps_the_failure_and_the_next_call_plays_it_again(tmp_path: Path) -> None:
    friend = Intervention(Planner(), name="friend")
    env = {"task": "selfreg/Coin-v0", "actor": say_heads, "interventions": [friend]}
    given: dict[str, Any] = {
        "store": tmp_path / "r.sqlite", "tasks": [2, 3], "episodes": 1, "help_probabilities": [1.0], "retries": 0,
        "progress": False,
    }  # fmt: skip
    with collect(env | {"call_timeout": LIMIT}, **given) as rollouts:
        assert [episode.task_index for episode in rollouts] == [2]
        assert len(rollouts.failures()) == 1
    with collect(env | {"call_timeout": 1.1 * LIMIT}, **given) as rollouts:  # another limit is no other collection
        assert len(rollouts.failures()) == 2


def test_a_task_that_hangs_within_a_plan_cannot_be_used_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    door = threading.Event()

    class Stuck(Coin):
        def step(self, action: str) -> Any:
            door.wait()
            return super().step(action)

    monkeypatch.setattr(guard, "_PATIENCE", 0.2)
    friend = Intervention(Planner(), name="friend")
    env = InterventionEnv(Stuck, say_heads, [friend], call_timeout=LIMIT)
    env.reset(seed=0)
    with pytest.raises(SetupError, match="does not return from a method that an actor or an intervention called"):
        env.step(1)
    door.set()


class Slow(Helper):
    """Asks always, and hangs if it sees the text of one task."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        if any("Coin 1 of 3" in text for text in np.atleast_1d(observation)):
            hang()
        return np.ones(len(np.atleast_1d(observation)), dtype=np.int64), state


def test_a_hanging_helper_ends_the_episodes_in_which_it_hangs() -> None:
    env = InterventionVectorEnv(
        2, "selfreg/Coin-v0", say_heads, [Intervention(say_heads, name="friend")], autoreset_mode="Disabled",
        call_timeout=LIMIT,
    )  # fmt: skip
    (texts, _) = env.reset(seed=[0, 1], options={"episode": np.array([0, 1])})
    affected = ["Coin 1 of 3" in text for text in texts]
    assert sum(affected) == 1
    episodes = run_episodes(env, [EpisodeSpec(0, 0), EpisodeSpec(1, 1)], Slow(), retries=0)
    for episode in episodes:
        if affected[episode.task_index]:
            assert episode.error is not None
            assert episode.error.startswith("the helper: a helper must answer every call: predict of ")
            assert "Slow did not return within the limit that call_timeout of the env sets" in episode.error
        else:
            assert episode.error is None


def test_the_contract_checks_find_plugins_that_hang() -> None:
    class Hangs:
        def act(self, decisions: Sequence[Decision]) -> list[str | Act]:
            hang()
            return []

        def __deepcopy__(self, memo: dict[int, Any]) -> Hangs:
            return self

    class Never(Helper):
        def predict(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            hang()
            return 0, None

    with pytest.raises(TaskContractError, match=r"act\(decisions\) returns within 0\.2 s \(the argument timeout\)"):
        check_actor(Hangs(), timeout=0.2)
    with pytest.raises(TaskContractError, match=r"act\(decisions\) returns within 0\.2 s"):
        check_intervention(Intervention(Hangs(), name="slow"), timeout=0.2)
    with pytest.raises(TaskContractError, match=r"predict returns within 0\.2 s"):
        check_helper(Never(), timeout=0.2)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), "5", True])
def test_an_invalid_limit_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"call_timeout \(seconds\) must be"):
        InterventionEnv("selfreg/Coin-v0", say_heads, [], call_timeout=limit)
