"""The sub-goals of the household task: functions of the robot's knowledge, in a sensible order."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym.envs.sif.houses import OBJECTS
from selfreg_gym.envs.sif.subgoals import SUBGOALS
from selfreg_gym.errors import NotResetError


def states(*, expert: bool, episodes: int) -> Any:
    """Env, observation, sub-goal and the expert's action at the decisions of some episodes."""
    env = gym.make("selfreg/SIF-v0", split="val-unseen", invalid_action="noop").unwrapped
    rng = np.random.default_rng(0)
    for i in range(episodes):
        text, info = env.reset(seed=i, options={"episode": i})
        over = False
        while not over:
            advice = env.expert_action()
            yield env, text, env.subgoal(), advice
            text, _, over, _, info = env.step(advice if expert else str(rng.choice(info["admissible_actions"])))


@pytest.mark.parametrize("expert", [True, False])
def test_a_sub_goal_follows_from_the_observation(expert: bool) -> None:
    seen = set()
    for env, text, name, _ in states(expert=expert, episodes=60):
        seen.add(name)
        target = OBJECTS[env._world.task.target]
        holds = text.rsplit(" hold ", 1)[1].rstrip(".")
        if name == "finish":
            assert holds == "nothing"
        elif holds == f"a {target}":
            assert name == ("find the human" if "You have lost the human" in text else "bring the object")
        elif holds != "nothing":
            assert name == "put down the other object"
        else:
            assert name == ("find the object" if f"The {target} is not on your map." in text else "fetch the object")
    assert seen <= set(SUBGOALS)
    assert seen >= {"find the object", "fetch the object", "bring the object"} | ({"finish"} if expert else set())


def test_the_expert_ends_the_episode_where_the_sub_goal_is_to_finish() -> None:
    found = [advice for *_, name, advice in states(expert=True, episodes=60) if name == "finish"]
    assert len(found) > 30
    assert set(found) == {"Done!"}


def test_a_sub_goal_needs_an_episode() -> None:
    with pytest.raises(NotResetError, match="subgoal"):
        gym.make("selfreg/SIF-v0").unwrapped.subgoal()
