"""What the environments are built from: names, objects, functions; and what is no part of one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from selfreg_gym import Intervention, InterventionEnv
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.testing import ExpertActor


def make(actor: Any = lambda text: "heads", **kwargs: Any) -> InterventionEnv:
    kwargs.setdefault("interventions", [Intervention(ExpertActor(), name="expert")])
    return InterventionEnv("selfreg/Coin-v0", actor, **kwargs)


@pytest.mark.parametrize("help_cost", [-0.1, float("nan"), float("inf"), "much", None])
def test_a_bad_help_cost_is_refused(help_cost: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="help_cost"):
        make(help_cost=help_cost)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task: received 'selfreg/Coyn-v0'. Did you mean"):
        InterventionEnv("selfreg/Coyn-v0", str, [])
    with pytest.raises(UnknownNameError, match="unknown task: received 'selfregg/Coin-v0'"):
        InterventionEnv("selfregg/Coin-v0", str, [])
    with pytest.raises(UnknownNameError, match="unknown actor: received 'nobody'"):
        make(actor="nobody")
    with pytest.raises(UnknownNameError, match="unknown intervention: received 'exprt'"):
        make(interventions=["exprt"])


def test_bad_parts_are_refused() -> None:
    expert = Intervention(ExpertActor(), name="expert")
    for interventions, message in [
        ("expert", "interventions is a list"),
        (expert, "interventions is a list"),
        ([expert, expert], "different names"),
        ([ExpertActor()], r"write Intervention\("),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            make(interventions=interventions)
    with pytest.raises(InvalidArgumentError, match="an actor has act"):
        make(actor=7)
    with pytest.raises(InvalidArgumentError, match="observations must be text"):
        InterventionEnv("CartPole-v1", str, [])
    with pytest.raises(InvalidArgumentError, match="task_kwargs"):
        InterventionEnv(gym.make("selfreg/Coin-v0"), str, [], task_kwargs={"heads": 0.1})
    with pytest.raises(InvalidArgumentError, match="a task is an id"):
        InterventionEnv(7, str, [])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="differs from the task's own"):
        InterventionEnv(gym.make("selfreg/Coin-v0"), str, [], render_mode="ansi")


def test_a_task_may_be_an_id_an_env_or_a_function() -> None:
    for task in ("selfreg/Coin-v0", gym.make("selfreg/Coin-v0"), lambda: gym.make("selfreg/Coin-v0")):
        assert InterventionEnv(task, str, []).reset(seed=0, options={"episode": 0})[1]["task_id"] == "coin-0"
    assert InterventionEnv("selfreg/Coin-v0", str, []).action_space == gym.spaces.Discrete(1)
