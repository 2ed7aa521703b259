"""A slippery lake whose intervention problem is known exactly, and episodes with random help on it."""

from __future__ import annotations

import pytest
from small_actors import NoisyExpert

import selfreg_gym
from selfreg_gym.envs.frozen_lake import FrozenLake

MOVES = 12


class Lake(FrozenLake):
    """The lake with at most 12 moves."""

    def __init__(self, **kwargs) -> None:
        super().__init__(max_steps=MOVES, **kwargs)


@pytest.fixture(scope="session")
def lake_env() -> dict:
    """Keyword arguments of the intervention env."""
    return {"task": Lake, "actor": NoisyExpert(), "interventions": ["expert"]}


@pytest.fixture(scope="session")
def lake_model():
    """The exact model of task 0."""
    return Lake().intervention_model((0,), noise=0.5)


@pytest.fixture(scope="session")
def lake_rollouts(tmp_path_factory, lake_env):
    """A store of 200 episodes of task 0."""
    path = tmp_path_factory.mktemp("forks") / "rollouts.sqlite"
    return selfreg_gym.collect(lake_env, store=path, tasks=[0], episodes=200, seed=3, progress=False)
