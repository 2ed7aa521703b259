"""Coin: the contract of a task, and the known optimum."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import selfreg_gym  # noqa: F401 - registers the ids
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.testing import check_task


def test_contract_of_a_task_and_of_gymnasium() -> None:
    check_task("selfreg/Coin-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("selfreg/Coin-v0").unwrapped)


def test_the_expert_always_succeeds() -> None:
    task = gym.make("selfreg/Coin-v0")
    for episode in range(4):
        _, info = task.reset(seed=episode, options={"episode": episode})
        assert info["steps_left"] == 2 + episode
        for _ in range(2 + episode):
            _, reward, terminated, truncated, info = task.step(task.get_wrapper_attr("expert_action")())
        assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


@pytest.mark.parametrize("action", ["wrong", "Heads", "", "invalid"])
def test_a_wrong_call_ends_the_episode(action: str) -> None:
    task = gym.make("selfreg/Coin-v0")
    task.reset(seed=0, options={"episode": 0})
    expert = task.get_wrapper_attr("expert_action")()
    action_text = {"heads": "tails", "tails": "heads"}[expert] if action == "wrong" else action
    observation, reward, terminated, _, info = task.step(action_text)
    assert (observation, reward, terminated) == ("The game is over.", 0.0, True)
    assert info["success"] is False
    assert info["invalid_action"] is (action != "wrong")


def test_heads_have_the_given_probability() -> None:
    task = gym.make("selfreg/Coin-v0", heads=0.8)
    shown = []
    for seed in range(2000):
        task.reset(seed=seed, options={"episode": 0})
        shown.append(task.get_wrapper_attr("expert_action")() == "heads")
    assert np.mean(shown) == pytest.approx(0.8, abs=0.03)


def test_the_optimal_value_equals_one_computed_by_hand() -> None:
    optimum = type(gym.make("selfreg/Coin-v0").unwrapped).optimal_value
    assert optimum(3, help_cost=0.0) == 1.0
    assert optimum(3, help_cost=1.0) == 0.5**3
    # r = 0.2: ask with one coin left (0.8 > 0.5), with two (0.6 > 0.4) and with three (0.4 > 0.3); with four left both
    # actions are worth 0.2, with five left guessing is better (0.1 > 0).
    assert optimum(3, help_cost=0.2) == pytest.approx(0.4)
    assert optimum(5, help_cost=0.2) == pytest.approx(0.1)


def test_invalid_arguments_raise() -> None:
    with pytest.raises(InvalidArgumentError, match="heads must be a probability"):
        gym.make("selfreg/Coin-v0", heads=1.0)
    with pytest.raises(UnknownNameError, match="render_mode"):
        gym.make("selfreg/Coin-v0", disable_env_checker=True).unwrapped.__class__(render_mode="rgb")
    for episode in (-1, 1000, 1.5, "0"):
        with pytest.raises(InvalidArgumentError, match="must be an integer from 0 to 999, received"):
            gym.make("selfreg/Coin-v0").reset(options={"episode": episode})


def test_render_returns_the_observation() -> None:
    task = gym.make("selfreg/Coin-v0", render_mode="ansi")
    observation, _ = task.reset(seed=0)
    assert task.render() == observation
