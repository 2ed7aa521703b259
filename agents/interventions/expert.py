"""The task's expert as an intervention: one call returns one action of a planner with full state information."""

from __future__ import annotations

from collections.abc import Sequence

from selfreg_gym.errors import TaskContractError
from selfreg_gym.types import Decision, Intervention, optional_member

__all__ = ["Expert"]


class _TaskExpert:
    """An actor that calls ``expert_action()`` of the live task."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Return the expert action of each decision's task."""
        return [self._ask(decision.task) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, object]) -> _TaskExpert:
        return self

    def __repr__(self) -> str:
        return "TaskExpert()"

    @staticmethod
    def _ask(task: object) -> str:
        if task is None:
            raise TaskContractError(
                "the expert needs the live task, received a decision without a task: create it by "
                "Decision(..., task=env)."
            )
        expert_action = optional_member(task, "expert_action")
        if expert_action is None:
            name = type(getattr(task, "unwrapped", task)).__name__
            raise TaskContractError(
                f"the intervention 'expert' needs a task with a method expert_action() -> str, received {name}, which "
                "has none: add one, or choose another intervention (`selfreg list` shows them)."
            )
        return expert_action()


class Expert(Intervention):
    """Help from the task's expert; a call raises ``TaskContractError`` if the task has no ``expert_action()``.

    Args:
        cost: cost units of one call.
    """

    privileged = True

    def __init__(self, *, cost: float = 1.0) -> None:
        super().__init__(_TaskExpert(), name="expert", cost=cost)
