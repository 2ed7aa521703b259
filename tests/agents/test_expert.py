"""The intervention `expert` calls the task's expert, also through wrappers."""

from __future__ import annotations

import copy

import gymnasium as gym
import pytest

import selfreg_gym
from selfreg_gym.agents.interventions import expert
from selfreg_gym.agents.interventions.expert import Expert
from selfreg_gym.envs.sif import SIF
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.testing import check_intervention
from selfreg_gym.types import Decision


def test_it_passes_check_intervention():
    check_intervention(Expert())
    assert expert.__all__ == ["Expert"]
    help_ = Expert()
    assert (help_.name, help_.cost) == ("expert", 1.0)
    assert copy.deepcopy(help_) is help_
    assert copy.deepcopy(help_.actor) is help_.actor
    with pytest.raises(InvalidArgumentError):
        Expert(cost=0)


def test_it_calls_each_task_also_through_wrappers():
    assert selfreg_gym is not None
    tasks = [SIF(kind="pnp"), gym.make("selfreg/SIF-v0", kind="s_hum")]
    for i, task in enumerate(tasks):
        task.reset(seed=i, options={"episode": i + 1})
    said = Expert().actor.act([Decision("", (), task=task) for task in tasks])
    assert said == [task.unwrapped.expert_action() for task in tasks]


def test_an_episode_with_help_at_every_step_succeeds():
    env = gym.make(
        "selfreg/Intervention-v0", task="selfreg/SIF-v0", actor="scripted", interventions=["expert"], help_cost=0.1
    )
    for seed in range(9):
        env.reset(seed=seed)
        over, steps = False, 0
        while not over:
            _, _, over, _, info = env.step(1)
            steps += 1
        assert info["success"] is True
        assert info["usage"].tolist() == [steps]


class NoExpert(gym.Env):
    """A task without an expert."""


@pytest.mark.parametrize("task", [NoExpert(), gym.Wrapper(NoExpert()), object()])
def test_a_task_without_an_expert_raises(task):
    with pytest.raises(
        TaskContractError, match=r"'expert' needs a task with a method expert_action.*received (NoE|obj)"
    ):
        Expert().actor.act([Decision("", (), task=task)])


def test_a_decision_without_a_task_raises():
    with pytest.raises(TaskContractError, match="without a task"):
        Expert().actor.act([Decision("")])


def test_an_error_of_the_tasks_expert_is_raised():
    class Broken(gym.Env):
        def expert_action(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Expert().actor.act([Decision("", (), task=Broken())])
