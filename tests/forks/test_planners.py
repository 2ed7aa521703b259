"""Planners in forks: they see what they see in an ordinary episode, and nothing of the repetition's events to come."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from small_actors import NoisyExpert
from small_tasks import _Small

from selfreg_gym import InterventionEnv
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.forks import fork, live_states
from selfreg_gym.testing import RandomActor


class Guesses(_Small):
    """Three coins are tossed after they are called; one wrong call fails."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        gym.Env.reset(self, seed=seed)
        self.state, self.left = "right so far", 3
        return self.state, self._info(("heads", "tails"))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        right = (self.np_random.random() < 0.5) == (action == "heads")
        self.left -= 1
        over = not right or self.left == 0
        return self.state, float(right), over, False, self._info(("heads", "tails"), over=over, success=bool(right))


@pytest.mark.parametrize(("planner", "given"), [("mcts", {"simulations": 16}), ("best-of-n", {"n": 6, "futures": 1})])
def test_a_planner_does_not_foresee_the_events_of_a_fork(planner: str, given: dict[str, Any]) -> None:
    """Three fair coins are called right with probability 1/8 by anyone who cannot foresee them."""
    env: dict[str, Any] = {
        "task": Guesses,
        "actor": RandomActor(),
        "interventions": [planner],
        "intervention_kwargs": {planner: given},
    }
    live = InterventionEnv(**env)
    live.reset(seed=1)
    forks = fork(env, live_states(live), first_actions=[(1, 1, 1)], repetitions=120)
    assert not forks.failed.any()
    assert forks.success.mean() < 0.125 + 3 * np.sqrt(0.125 * 0.875 / 120)


def test_a_planner_on_a_task_that_cannot_be_reseeded_is_privileged() -> None:
    class Blind(Guesses):
        reseed = None  # type: ignore[assignment]

    env: dict[str, Any] = {"task": Blind, "actor": RandomActor(), "interventions": ["mcts"]}
    live = InterventionEnv(**env, intervention_kwargs={"mcts": {"simulations": 16}})
    live.reset(seed=1)
    assert live.interventions[0].privileged_on(live.task)
    forks = fork(env, live_states(live), first_actions=[(1, 1, 1)], repetitions=5)
    assert not forks.failed.any()
    assert not forks.reseeded


def test_a_planner_may_reset_the_task_in_a_fork() -> None:
    env: dict[str, Any] = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["advice", "expert"]}
    env["intervention_kwargs"] = {"advice": {"shuffled": True}}
    live = InterventionEnv(**env)
    live.reset(seed=0, options={"episode": 3})
    forks = fork(env, live_states(live), first_actions=[0, 1, (2, 1)], repetitions=8)
    assert not forks.failed.any()
    assert (forks.calls[0, 2].sum(axis=0) >= 8).all()


def test_a_live_env_with_abort() -> None:
    env = InterventionEnv("selfreg/Coin-v0", NoisyExpert(), ["expert"], abort=True)
    env.reset(seed=0, options={"episode": 3})
    forks = fork(env, first_actions=[0, 1, 2], repetitions=4)
    assert (forks.steps[0, 2] == 1).all()
    assert not forks.success[0, 2].any()
    assert (forks.calls[0, :, :, 0] == [[0] * 4, [1] * 4, [0] * 4]).all()


def test_a_live_state_of_another_task_is_an_error() -> None:
    live = InterventionEnv("selfreg/FrozenLake-v0", "scripted", ["expert"])
    live.reset(seed=0)
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    with pytest.raises(InvalidArgumentError, match="a state of FrozenLake, and the env's task is Coin"):
        fork(env, live_states(live), repetitions=2)
