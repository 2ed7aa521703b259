"""A person in calls of several steps, among several interventions, and at the end of the input."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym import EpisodeSpec, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.interventions.human import Human
from selfreg_gym.collection import collect
from selfreg_gym.testing import ExpertActor
from selfreg_gym.types import Intervention

COIN: dict[str, Any] = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.999}}
FIVE_COINS = {"episode": 3}


def silent(text: str) -> None:
    """Shows nothing."""


def heads(text: str) -> str:
    return "heads"


def typed(*answers: str) -> Callable[[str], str]:
    left = iter(answers)
    return lambda question: next(left)


@pytest.mark.parametrize(("cost_per", "costs"), [("call", [1.0, 0.25, 0.0]), ("step", [1.0, 0.25, 1.0])])
def test_a_person_passes_in_the_middle_of_a_longer_call(cost_per: Any, costs: list[float]) -> None:
    """The env's actor acts at this step, its cost is that of a passed call, and the call goes on."""
    person = Human(read=typed("heads", "pass", "heads"), write=silent, pass_cost=0.25).lasting(3, cost_per)
    env = InterventionEnv(**COIN, actor=heads, interventions=[person])
    env.reset(seed=0, options=FIVE_COINS)
    infos = [env.step(1)[4] for _ in range(3)]
    assert [info["cost"] for info in infos] == costs
    assert [info["calls"].tolist() for info in infos] == [[1]] * 3
    assert [info["action_mask"].tolist() for info in infos] == [[0, 1], [0, 1], [1, 1]]
    assert infos[-1]["usage"].tolist() == [sum(costs)]
    assert all(info["error"] is None for info in infos)


def test_a_person_who_is_late_in_the_middle_of_a_longer_call() -> None:
    late, waits = threading.Event(), iter([False, True, False])

    def read(question: str) -> str:
        if next(waits):
            late.wait(30)
        return "heads"

    person = Human(read=read, write=silent, timeout_s=1.0, pass_cost=0.5).lasting(3)
    env = InterventionEnv(**COIN, actor=heads, interventions=[person])
    env.reset(seed=0, options=FIVE_COINS)
    costs = [env.step(1)[4]["cost"] for _ in range(2)]
    late.set()
    while not person.actor.asked._timed._lines.qsize():  # type: ignore[attr-defined]
        pass
    costs.append(env.step(1)[4]["cost"])  # the late line is discarded, and the person answers this question
    assert costs == [1.0, 0.5, 0.0]


class Person:
    """Answers "heads", and closes the input after some answers."""

    def __init__(self, answers: int) -> None:
        self._left = answers

    def __call__(self, question: str) -> str:
        if self._left == 0:
            raise EOFError
        self._left -= 1
        return "heads"


def test_the_end_of_the_input_interrupts_a_collection_which_can_be_continued(tmp_path: Path) -> None:
    def fill(answers: int, path: str) -> Any:
        people = [Human(read=Person(answers), write=silent).lasting(2), Intervention(ExpertActor(), name="expert")]
        env = {**COIN, "actor": heads, "interventions": people}
        plan: dict[str, Any] = {"tasks": range(4), "episodes": 4, "help_probabilities": (0.6,), "num_envs": 2}
        return collect(env, store=tmp_path / path, **plan, seed=1, progress=False)

    with fill(10**6, "whole.sqlite") as rollouts:
        whole = list(rollouts)
        assert rollouts.is_complete
    asked = sum(step.action == 1 for episode in whole for step in episode)
    with pytest.raises(KeyboardInterrupt):
        fill(asked // 2, "r.sqlite")
    with fill(10**6, "r.sqlite") as rollouts:
        assert rollouts.is_complete
        assert list(rollouts) == whole


@pytest.mark.filterwarnings("ignore:.*the episode is truncated")
def test_a_person_whose_answers_are_invalid_ends_one_episode() -> None:
    people = [Human(read=typed("heads", *["?"] * 10, *["heads"] * 5), write=silent)]
    env = InterventionEnv(**COIN, actor=heads, interventions=people)
    env.reset(seed=0, options=FIVE_COINS)
    env.step(1)
    _, _, terminated, truncated, info = env.step(1)
    assert (terminated, truncated) == (False, True)
    assert "the person gave 10 invalid answers in a row; the last one: no action has the name '?'" in info["error"]
    env.reset(seed=1, options=FIVE_COINS)
    infos = [env.step(1)[4] for _ in range(5)]
    assert infos[-1]["success"]
    assert not any(info["error"] for info in infos)


def test_persons_and_other_interventions_in_one_batch() -> None:
    """The answers of each person go to the environments that asked this person."""
    first = Human(read=typed(*["heads"] * 50), write=silent, name="first")
    second = Human(read=typed(*["pass"] * 50), write=silent, name="second", pass_cost=0.125)
    people = [first, second, Intervention(ExpertActor(), name="expert", cost=0.5)]
    env = InterventionVectorEnv(6, **COIN, actor=heads, interventions=people, autoreset_mode="Disabled")
    episodes = list(run_episodes(env, [EpisodeSpec(i % 4, i, 0.8) for i in range(12)]))
    cost = {0: 0.0, 1: 1.0, 2: 0.125, 3: 0.5}
    steps = [step for episode in episodes for step in episode]
    assert {step.action for step in steps} == set(cost)
    assert all(step.cost == cost[step.action] for step in steps)
    assert not any(episode.error for episode in episodes)
