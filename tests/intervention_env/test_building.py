"""Envs are made from names, objects and functions; invalid parts raise."""

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
def test_an_invalid_help_cost_raises(help_cost: Any) -> None:
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


def test_arguments_of_a_task_are_checked_before_it_is_made() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown argument of the task 'selfreg/SIF-v0': received 'kinds'\. Did .*'kind'"
    ):
        gym.make(
            "selfreg/Intervention-v0", task="selfreg/SIF-v0", actor=str, interventions=[], task_kwargs={"kinds": "pnp"}
        )
    kwargs: dict[str, Any] = {"heads": 0.5, "max_episode_steps": 3}  # the second is Gymnasium's own
    assert InterventionEnv("selfreg/Coin-v0", str, [], task_kwargs=kwargs).reset(seed=0)[1]["task_id"]
    with pytest.raises(UnknownNameError, match=r"'expert': received 'cots'.*Known: cost, cost_per, duration"):
        make(interventions=["expert"], intervention_kwargs={"expert": {"cots": 1.0}})


def test_a_task_with_kwargs_accepts_any_argument() -> None:
    def creator(**anything: Any) -> gym.Env[str, str]:
        assert anything == {"whatever": 1}
        return gym.make("selfreg/Coin-v0")

    def needy(wanted: int) -> gym.Env[str, str]:
        raise AssertionError(wanted)

    gym.register("test/Anything-v0", entry_point=creator)  # type: ignore[arg-type]
    gym.register("test/Needy-v0", entry_point=needy)  # type: ignore[arg-type]
    try:
        InterventionEnv("test/Anything-v0", str, [], task_kwargs={"whatever": 1})
        with pytest.raises(InvalidArgumentError, match=r"the task 'test/Needy-v0' was given .* 'wanted'"):
            InterventionEnv("test/Needy-v0", str, [])
    finally:
        del gym.registry["test/Anything-v0"], gym.registry["test/Needy-v0"]


def test_invalid_parts_raise() -> None:
    expert = Intervention(ExpertActor(), name="expert")
    for interventions, message in [
        ("expert", "interventions must be a list"),
        (expert, "interventions must be a list"),
        ([expert, expert], "different names"),
        ([ExpertActor()], r"write Intervention\("),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            make(interventions=interventions)
    with pytest.raises(InvalidArgumentError, match="an actor must have act"):
        make(actor=7)
    with pytest.raises(InvalidArgumentError, match="observations must be text"):
        InterventionEnv("CartPole-v1", str, [])
    with pytest.raises(InvalidArgumentError, match="task_kwargs"):
        InterventionEnv(gym.make("selfreg/Coin-v0"), str, [], task_kwargs={"heads": 0.1})
    with pytest.raises(InvalidArgumentError, match="a task must be an id"):
        InterventionEnv(7, str, [])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="differs from the task's render mode"):
        InterventionEnv(gym.make("selfreg/Coin-v0"), str, [], render_mode="ansi")


def test_a_task_may_be_an_id_an_env_or_a_function() -> None:
    for task in ("selfreg/Coin-v0", gym.make("selfreg/Coin-v0"), lambda: gym.make("selfreg/Coin-v0")):
        assert InterventionEnv(task, str, []).reset(seed=0, options={"episode": 0})[1]["task_id"] == "coin-0"
    assert InterventionEnv("selfreg/Coin-v0", str, []).action_space == gym.spaces.Discrete(1)
