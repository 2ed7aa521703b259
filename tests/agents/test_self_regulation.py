"""Self-regulation: `prm-per-task` decides before the start, which is one call where calls last to the end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_actors import Heads

from selfreg_gym import Intervention, InterventionVectorEnv
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.registry import load
from selfreg_gym.testing import ExpertActor
from selfreg_gym.types import Episode

SPECS = [EpisodeSpec(task, 100 + seed) for seed in range(4) for task in range(8)]


class FewCoins:
    """p(s) = 1 / 2 per coin that is left; counts the texts that it scores."""

    def __init__(self) -> None:
        self.count = 0

    def score(self, observations: Any) -> np.ndarray:
        self.count += len(observations)
        numbers = [[int(word) for word in text.split() if word.isdigit()] for text in observations]
        return np.array([0.5 ** (found[1] - found[0] + 1) if found else 1.0 for found in numbers])


def episodes(duration: Any, cost_per: Any, helper: Any) -> list[Episode]:
    expert = Intervention(ExpertActor(), name="expert", duration=duration, cost_per=cost_per)
    env = InterventionVectorEnv(5, "selfreg/Coin-v0", Heads(), [expert], autoreset_mode="Disabled")
    return sorted(run_episodes(env, SPECS, helper), key=lambda one: (one.seed, one.task_index))


@pytest.mark.parametrize("cost_per", ["call", "step"])
def test_a_helped_task_is_one_decision_and_one_call(cost_per: str) -> None:
    prm = FewCoins()
    for one in episodes("end", cost_per, load("helpers", "prm-per-task")(prm, threshold=0.1)):
        coins = 2 + one.task_index % 4
        if coins >= 4:  # p(s) is at most 1 / 16 at the start
            assert len(one.decisions) == 1
            assert one.success
            assert one.usage == ((1.0,) if cost_per == "call" else (float(coins),))
        else:
            assert one.usage == (0.0,)
            assert all(step.action == 0 for step in one.steps)
    assert prm.count == len(SPECS)  # once per episode


def test_calls_of_one_step_at_every_step_give_the_same_episodes() -> None:
    helper = load("helpers", "prm-per-task")(FewCoins(), threshold=0.1)
    to_the_end, by_step = episodes("end", "step", helper), episodes(1, "call", helper)
    assert any(step.continuation for one in to_the_end for step in one.steps)
    plain = [
        dataclasses.replace(one, steps=tuple(dataclasses.replace(step, continuation=False) for step in one.steps))
        for one in to_the_end
    ]
    assert plain == by_step


def test_a_threshold_on_p_can_abort_where_the_env_allows_it() -> None:
    expert = Intervention(ExpertActor(), name="expert")
    helper = load("helpers", "prm-threshold")(FewCoins(), threshold=0.2, abort_below=0.05)
    env = InterventionVectorEnv(5, "selfreg/Coin-v0", Heads(), [expert], autoreset_mode="Disabled", abort=True)
    for one in run_episodes(env, SPECS, helper.with_knob(0.3)):
        coins = 2 + one.task_index % 4
        assert one.aborted == (coins == 5)  # p(s) = 1 / 32 at the start
        if one.aborted:
            assert (len(one.steps), one.usage, one.success) == (1, (0.0,), False)
        elif coins > 2:
            assert one.usage[0] > 0
    env = InterventionVectorEnv(5, "selfreg/Coin-v0", Heads(), [expert], autoreset_mode="Disabled")
    for one in run_episodes(env, SPECS, helper):
        assert (one.error is not None) == (one.task_index % 4 == 3)
        assert one.error is None or "from 0 to K" in one.error
    with pytest.raises(InvalidArgumentError, match="scope='state'"):
        load("helpers", "prm-threshold")(FewCoins(), scope="task", abort_below=0.1)
