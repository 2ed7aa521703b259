"""A slippery lake and a corridor whose intervention problems are known exactly, and episodes with random help."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from corridor import Corridor, Hasty, exact
from small_actors import NoisyExpert

import selfreg_gym
from selfreg_gym import Rollouts, TransitionModel
from selfreg_gym.envs.frozen_lake import FrozenLake

MOVES = 12


class Lake(FrozenLake):
    """The lake with at most 12 moves."""

    def __init__(self, **kwargs) -> None:
        super().__init__(max_steps=MOVES, clock=False, **kwargs)


class Walkway(Corridor):
    """A corridor whose randomness can be drawn anew. A hasty step is often fatal, so help is worth much."""

    def reseed(self, seed: int) -> None:
        self.np_random = np.random.default_rng(seed)


class Known(NamedTuple):
    """Arguments of an env, the exact model of its intervention problem on task 0, and a store of 200 episodes."""

    env: dict[str, Any]
    model: TransitionModel
    rollouts: Rollouts


def _known(task: Any, actor: Any, model: TransitionModel, path: Path) -> Known:
    env = {"task": task, "actor": actor, "interventions": ["expert"]}
    rollouts = selfreg_gym.collect(env, store=path, tasks=[0], episodes=200, seed=3, progress=False)
    return Known(env, model, rollouts)


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The slippery lake."""
    path = tmp_path_factory.mktemp("forks") / "rollouts.sqlite"
    return _known(Lake, NoisyExpert(), Lake().intervention_model((0,), noise=0.5), path)


@pytest.fixture(scope="session")
def walkway(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The corridor."""
    return _known(Walkway, Hasty(), exact(), tmp_path_factory.mktemp("forks") / "walkway.sqlite")


@pytest.fixture(scope="session")
def lake_env(lake: Known) -> dict[str, Any]:
    """Arguments of the env of the slippery lake."""
    return lake.env


@pytest.fixture(scope="session")
def lake_rollouts(lake: Known) -> Rollouts:
    """Episodes on the slippery lake."""
    return lake.rollouts
