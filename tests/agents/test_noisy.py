"""The actor ``noisy``: the expert's action or a random one, with the probabilities that it reports."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import Decision
from selfreg_gym.agents.actors.noisy import Noisy
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.testing import check_actor


@pytest.fixture
def lake() -> Any:
    env = gym.make("selfreg/FrozenLake-v0", disable_env_checker=True)
    env.reset(seed=0, options={"episode": 0})
    return env


def test_it_keeps_the_contract() -> None:
    for task in ("selfreg/Coin-v0", "selfreg/FrozenLake-v0", "selfreg/Taxi-v0"):
        check_actor(Noisy(), task=task)


@pytest.mark.parametrize("noise", [0.0, 0.4, 1.0])
def test_its_actions_have_the_probabilities_that_it_reports(lake: Any, noise: float) -> None:
    moves = lake.get_wrapper_attr("MOVES")
    acts = Noisy(noise).act([Decision("", moves, lake, key=(i,)) for i in range(4000)])
    shares = [sum(act.text == move for act in acts) / 4000 for move in moves]
    np.testing.assert_allclose(shares, np.exp(acts[0].logprobs), atol=0.03)
    expert = lake.get_wrapper_attr("expert_action")()
    assert np.exp(acts[0].logprobs[moves.index(expert)]) == pytest.approx(1 - noise + noise / 4)


def test_a_task_without_expert_or_list_raises(lake: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expert_action"):
        Noisy().act([Decision("", ("a",), object())])
    with pytest.raises(InvalidArgumentError, match="list of admissible actions"):
        Noisy().act([Decision("", None, lake)])
    with pytest.raises(InvalidArgumentError, match="probability"):
        Noisy(1.5)
