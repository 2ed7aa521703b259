"""Forks of a running env: it does not change, counters continue, and faults are explained."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from small_actors import Heads

from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError
from selfreg_gym.forks import fork, live_states
from selfreg_gym.helper import Helper


class TestLive:
    def test_a_live_env_is_forked_and_not_changed(self) -> None:
        env = gym.make(
            "selfreg/Intervention-v0", task="selfreg/Coin-v0", task_kwargs={"heads": 0.7}, actor=Heads(),
            interventions=["expert"],
        )  # fmt: skip
        env.reset(seed=5, options={"episode": 3})
        before = env.unwrapped.snapshot()
        left = env.unwrapped.slots[0].info["steps_left"]
        forks = fork(env, repetitions=300, seed=1)
        assert repr(env.unwrapped.snapshot()) == repr(before)
        assert forks.states[0].steps_left == left
        assert (forks.calls[0, 1, :, 0] == 1).all()
        success, _ = forks.rates(1)
        assert success[0] == pytest.approx(0.7 ** (left - 1), abs=0.09)  # the coins after the next one are drawn anew

    def test_counters_continue(self) -> None:
        env = gym.make_vec(
            "selfreg/Intervention-v0", num_envs=2, task="selfreg/Coin-v0", task_kwargs={"heads": 0.999}, actor=Heads(),
            interventions=["expert"],
        )  # fmt: skip
        env.reset(seed=5, options={"episode": 3})
        env.step(np.array([1, 0]))
        env.step(np.array([1, 0]))
        seen = []

        class Reads(Helper):
            def wrap(self, env):
                self.slots = env.unwrapped.slots
                return env

            def decide(self, observations, state, start):
                seen.extend((slot.t, slot.usage.sum()) for slot in self.slots if not slot.over)
                return np.zeros(len(start), int), state

        forks = fork(env, then=Reads(), repetitions=1, num_envs=1)
        assert len(forks) == 2
        assert {seen[0], seen[0 + len(seen) // 2]} == {(2, 2.0), (2, 0.0)}
        assert (forks.cost[:, 1] == 1.0).all()

    def test_faults(self) -> None:
        def make(task):
            return gym.make("selfreg/Intervention-v0", task=task, actor=Heads(), interventions=["expert"])

        env = make("selfreg/Coin-v0")
        with pytest.raises(NotResetError):
            fork(env)
        env.reset(seed=0, options={"episode": 0})
        with pytest.raises(InvalidArgumentError, match="other processes"):
            fork(env, workers=2)
        while True:
            _, _, terminated, truncated, _ = env.step(0)
            if terminated or truncated:
                break
        with pytest.raises(EpisodeOverError):
            live_states(env)
        env = make(Coin())
        env.reset(seed=0, options={"episode": 0})
        with pytest.raises(InvalidArgumentError, match="keyword arguments"):
            fork(env)
        forks = fork({"task": Coin, "actor": Heads(), "interventions": ["expert"]}, live_states(env), repetitions=2)
        assert forks.success.shape == (1, 2, 2)
