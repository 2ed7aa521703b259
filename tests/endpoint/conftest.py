"""Options of servers for the tests of endpoints, and moments to decide in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.types import Decision

QUICK = {"model": "rule", "backoff": 0.001, "max_backoff": 0.01, "timeout": 5.0, "load_timeout": 5.0}
"""Options of a server that fails quickly."""


@pytest.fixture
def quick() -> dict[str, Any]:
    return dict(QUICK)


@pytest.fixture(scope="session")
def moments() -> Callable[[int], list[Decision]]:
    """The first N moments of expert episodes of the household task, with fresh streams each time."""
    env = gym.make("selfreg/SIF-v0", split="train").unwrapped
    seen = []
    for episode in range(4):
        observation, info = env.reset(seed=episode, options={"episode": episode})
        for step in range(3):
            seen.append((observation, info["admissible_actions"], (episode, step, 0)))
            observation, _, terminated, truncated, info = env.step(env.expert_action())
            if terminated or truncated:
                break

    def some(count: int) -> list[Decision]:
        return [Decision(observation, actions, key=key) for observation, actions, key in seen[:count]]

    return some
