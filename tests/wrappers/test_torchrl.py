"""Vector envs in TorchRL, which asks the outermost wrapper for ``autoreset_mode``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym
from selfreg_gym.testing.reference_actors import RandomActor


def make(num_envs: int = 3, mode: str = "Disabled") -> Any:
    return gym.make_vec(
        "selfreg/Intervention-v0", num_envs=num_envs, task="selfreg/Coin-v0", actor=RandomActor(),
        interventions=["expert"], help_cost=0.1, autoreset_mode=mode,
    )  # fmt: skip


@pytest.mark.parametrize("mode", gym.vector.AutoresetMode)
def test_wrappers_have_the_autoreset_mode_of_the_env(mode: gym.vector.AutoresetMode) -> None:
    env = selfreg_gym.HelpCost(selfreg_gym.FeatureObservation(make(mode=mode.value)), 0.2)
    assert env.autoreset_mode is mode
    assert env.metadata["autoreset_mode"] is mode


def test_a_rollout_of_torchrl_is_our_rollout() -> None:
    libs = pytest.importorskip("torchrl.envs")
    rows, steps = 3, 40
    env = libs.GymWrapper(selfreg_gym.FeatureObservation(make(rows)), categorical_action_encoding=True)
    env.set_seed(0)
    data = env.rollout(steps, break_when_any_done=False)
    assert data.batch_size == (rows, steps)

    env = selfreg_gym.FeatureObservation(make(rows))
    env.reset(seed=0)
    observation, _ = env.reset()  # as `rollout` does
    over = np.zeros(rows, bool)
    for t in range(steps):
        if over.any():
            observation, _ = env.reset(options={"reset_mask": over})
        for key, value in observation.items():
            assert np.allclose(data[key][:, t].numpy(), value), (key, t)
        observation, reward, terminated, truncated, _ = env.step(data["action"][:, t].numpy())
        over = terminated | truncated
        assert np.allclose(data["next", "reward"][:, t, 0].numpy(), reward)
        assert (data["next", "done"][:, t, 0].numpy() == over).all()
    assert data["next", "done"].sum() > rows
