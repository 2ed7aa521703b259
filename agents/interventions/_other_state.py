"""A state of another task, for controls: what an intervention says there does not fit the current state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selfreg_gym.errors import TaskContractError
from selfreg_gym.intervention_env.task_output import read_reset, read_step
from selfreg_gym.types import Decision, optional_member

__all__ = ["other_state"]


_DRAWS = 16  # of a task, until it is another one


@contextmanager
def other_state(decision: Decision, steps: int) -> Iterator[Decision]:
    """A decision in a state of another task; afterwards the task is in its state again.

    The other task is drawn from the tasks of the env (from other seeds of the same one if the env has only one). The
    state is reached by random admissible actions: as many as are drawn from 0 to ``steps``, or fewer if the episode
    would end. All draws come from the stream of the decision.

    Args:
        decision: the current decision, with its live task.
        steps: largest number of random actions.

    Raises:
        TaskContractError: the decision has no task with snapshots.
    """
    task = decision.task
    snapshot, restore = (optional_member(task, name) for name in ("snapshot", "restore"))
    if snapshot is None or restore is None:
        raise TaskContractError(
            "advice from another state needs the live task with snapshot() and restore(); received a decision with the "
            f"task {getattr(task, 'unwrapped', task)}. Use it in an intervention env."
        )
    before = snapshot()
    try:
        observation, info = _reach(decision, steps)
        offered = info.get("admissible_actions")
        yield decision.derived(1, observation=observation, admissible_actions=offered, info=info)
    finally:
        restore(before)


def _reach(decision: Decision, steps: int) -> tuple[str, dict[str, Any]]:
    """Bring the task into the other state, and return its observation and info."""
    task, rng = decision.task, decision.rng
    number = optional_member(task, "num_episodes")
    seed, wanted = int(rng.integers(2**31)), int(rng.integers(steps + 1))
    for _ in range(_DRAWS):
        options = {"episode": int(rng.integers(number))} if number else None
        observation, info = read_reset(task.reset(seed=seed, options=options))
        if info.get("task_id") != decision.info.get("task_id"):
            break
    actions: list[str] = []
    while len(actions) < wanted and info.get("admissible_actions"):
        action = str(rng.choice(info["admissible_actions"]))
        following, terminated, truncated, next_info = read_step(task.step(action))
        if terminated or truncated:
            read_reset(task.reset(seed=seed, options=options))
            for one in actions:
                task.step(one)
            break
        actions.append(action)
        observation, info = following, next_info
    return observation, info
