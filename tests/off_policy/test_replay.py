"""Replay: a helper gets in the replay what it got in play."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym
from selfreg_gym.agents.helpers.dp import DP
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.agents.helpers.wait_n import WaitN
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.helper import Helper
from selfreg_gym.off_policy.replay import replay_env, replayed_actions
from selfreg_gym.transitions import TransitionModel


def _played(helper, episodes: int = 24, num_envs: int = 4):
    env = gym.make_vec(
        "selfreg/Intervention-v0", num_envs=num_envs, task="selfreg/FrozenLake-v0", actor="scripted",
        interventions=["expert"], autoreset_mode="Disabled",
    )  # fmt: skip
    specs = [selfreg_gym.EpisodeSpec(i % 8, 100 + i) for i in range(episodes)]
    return list(selfreg_gym.run_episodes(env, specs, helper))


@pytest.mark.parametrize("helper", [WaitN(2), Random(0.4, seed=3)], ids=["wait_n", "random"])
def test_a_helper_repeats_its_own_decisions(helper) -> None:
    episodes = _played(helper)
    taken = [step.action for episode in episodes for step in episode]
    assert 0 < sum(taken) < len(taken)
    for num_envs in (1, 5, 64):
        assert replayed_actions(episodes, helper, num_envs=num_envs).tolist() == taken


def test_a_helper_with_a_wrapper_reads_keys_and_steps_left() -> None:
    collected = _played(Random(0.5))
    helper = DP(selfreg_gym.solve_budget(TransitionModel.fit(collected, prior=1.0), budget=0.5), seed=1)
    episodes = _played(helper)
    taken = [step.action for episode in episodes for step in episode]
    assert replayed_actions(episodes, helper).tolist() == taken


def test_another_draw_is_another_sequence_of_random_numbers(known) -> None:
    episodes = known(0).sample(50, seed=0)
    first, again, other = (replayed_actions(episodes, Random(0.5), draw=i) for i in (0, 0, 1))
    assert (first == again).all()
    assert 0.3 < (first != other).mean() < 0.7


def test_the_counters_of_the_env_are_those_of_the_stored_episode(known) -> None:
    episodes = known(0, interventions=2).sample(30, help_probabilities=[0.5], seed=1)

    class Counts(Helper):
        def wrap(self, env):
            self.env = env
            return env

        def decide(self, observations, state, start):
            return np.array([int(slot.usage.sum()) % 2 for slot in self.env.unwrapped.slots]), state

    answers = replayed_actions(episodes, Counts(), num_envs=7)
    place = 0
    for episode in episodes:
        spent = 0.0
        for step in episode:
            assert answers[place] == int(spent) % 2
            spent += step.cost
            place += 1


def test_names_and_costs_of_the_interventions_are_known() -> None:
    model = TransitionModel([np.full((1, 1), 0.5)] * 3, [[0.1], [0.2], [0.3]], [1.0], cost=[0, 2.0, 0.5])
    env = replay_env(model.sample(20, seed=0), ["cheap", "good"])
    assert [(one.name, one.cost) for one in env.interventions] == [("cheap", 2.0), ("good", 0.5)]


def test_an_intervention_that_was_never_tried_is_an_error(known) -> None:
    episodes = known(0).sample(20, seed=0)
    with pytest.raises(InvalidArgumentError, match="asked number 2, which was never tried"):
        replayed_actions(episodes, lambda text: 2)
    with pytest.raises(TaskContractError, match="a helper"):
        replayed_actions(episodes, lambda text: "help")
