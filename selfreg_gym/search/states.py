"""States of a task for planners: the actor's decision in a state, simulated steps, and groups of different tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfreg_gym.errors import SelfRegError, TaskContractError, shown
from selfreg_gym.intervention_env.task_output import complete_info, read_step, success_of
from selfreg_gym.types import Act, Decision, optional_member

__all__ = ["TaskState", "advance", "apart", "member"]


@dataclass(frozen=True, slots=True)
class TaskState:
    """A state of a task in which the episode goes on.

    Attributes:
        task: the task env. Only rollouts step it; it must be in this state, unless ``snapshot`` is given.
        observation: its text.
        info: the info of its last reset or step.
        key: non-negative integers that seed the random draws of the evaluation; equal keys give equal draws.
        act: what the actor would do here, if it was asked.
        snapshot: the task's snapshot of this state; needed if several states share the task.
    """

    task: Any
    observation: str
    info: Mapping[str, Any]
    key: tuple[int, ...] = (0,)
    act: Act | None = None
    snapshot: Any = None

    def decision(self, *key: int) -> Decision:
        """The actor's decision in this state; ``key`` is appended to the state's key and seeds its draws."""
        admissible = self.info.get("admissible_actions")
        return Decision(self.observation, admissible, self.task, (*self.key, *key), self.info)


def advance(task: Any, act: str | Act, steps_left: int | None = None) -> tuple[str, bool, bool, dict[str, Any]]:
    """Step a task with an act: ``(observation, over, success, info)``, checked as by the intervention env.

    Args:
        task: the task env.
        act: the action.
        steps_left: ``info["steps_left"]`` before the step, or None if it is not known. It can be lower than the task's
            own, because the env has ``max_episode_steps``; the episode is over when none is left.

    Raises:
        TaskContractError: the act has an error, or the task broke its contract.
    """
    if isinstance(act, Act):
        if act.error is not None:
            raise TaskContractError(f"an actor failed in a simulated step: {act.error}")
        act = act.text
    try:
        observation, terminated, truncated, info = read_step(task.step(act))
    except SelfRegError:
        raise
    except Exception as error:
        raise TaskContractError(
            f"a task must accept every action text: {task} raised {type(error).__name__} ({shown(str(error))}) in a "
            f"simulated step({shown(act)})."
        ) from error
    info = dict(info)
    complete_info(info, observation)
    over = terminated or truncated
    if steps_left is not None:
        own = info.get("steps_left")
        info["steps_left"] = steps_left - 1 if own is None else min(int(own), steps_left - 1)
        over = over or steps_left <= 1
    return observation, over, over and success_of(info, terminated), info


def apart(tasks: Sequence[Any]) -> Iterator[list[int]]:
    """Divide tasks into groups of indices in which no task occurs twice, because one env has one state at a time."""
    left = list(range(len(tasks)))
    while left:
        wave = list({id(getattr(tasks[i], "unwrapped", tasks[i])): i for i in reversed(left)}.values())
        wave.sort()
        yield wave
        taken = set(wave)
        left = [i for i in left if i not in taken]


def member(task: Any, name: str) -> Any:
    """A member that a planner needs.

    Raises:
        TaskContractError: the task does not have it.
    """
    found = optional_member(task, name)
    if found is None:
        raise TaskContractError(
            f"a planner needs {name}() of the task, and {getattr(task, 'unwrapped', task)} has none: use the task of "
            "an intervention env, or wrap it by selfreg_gym.intervention_env.snapshots.with_snapshots."
        )
    return found
