"""`ContinuedCalls`: any action continues a call; single and vector env, and Stable-Baselines3's helpers use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from corridor import Corridor, Hasty

from selfreg_gym import ContinuedCalls, HelpBudget, Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.agents.helpers._sb3_env import wrapped
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.testing import ExpertActor


def people(duration: Any) -> list[Intervention]:
    return [Intervention(ExpertActor(), name="expert", duration=duration, cost_per="step")]


def test_any_action_continues_a_call() -> None:
    env: Any = ContinuedCalls(InterventionEnv(Corridor(), Hasty(), people(3)))
    env.reset(seed=3)
    assert [env.step(action)[4]["intervention"] for action in (1, 0, 0, 0)] == ["expert"] * 3 + [None]
    batch: Any = ContinuedCalls(InterventionVectorEnv(2, Corridor, Hasty(), people("end")))
    batch.reset(seed=3)
    assert batch.step([1, 0])[4]["intervention"].tolist() == ["expert", None]
    assert batch.step([0, 0])[4]["intervention"].tolist() == ["expert", None]
    batch.reset(seed=3)
    with pytest.raises(InvalidArgumentError, match="from 0 to 1"):
        batch.step([0, 2])


def test_a_learner_without_masks_can_step_the_env_of_its_training() -> None:
    batch = wrapped(InterventionVectorEnv(3, Corridor, Hasty(), people(2), autoreset_mode="SameStep"), 3.0)
    rng, used = np.random.default_rng(0), []
    batch.reset(seed=0)
    for _ in range(60):
        infos = batch.step(rng.integers(0, 2, 3))[4]
        used.append(infos["usage"].max())
    assert max(used) == 3.0
    masks = HelpBudget(InterventionVectorEnv(3, Corridor, Hasty(), people(2)), 3.0)
    masks.reset(seed=0)
    masks.step([1, 0, 1])
    assert masks.action_masks().tolist() == [[False, True], [True, True], [False, True]]
