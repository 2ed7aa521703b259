"""Two interventions: a locksmith who knows the digit, and a hint that halves the range at a lower cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym import Decision, Intervention

__all__ = ["Hint", "Locksmith"]


class _Knows:
    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Knows:
        return self


class _Halves:
    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return [(d.admissible_actions or ("0",))[len(d.admissible_actions or ("0",)) // 2] for d in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Halves:
        return self


class Locksmith(Intervention):
    """Says the digit.

    Args:
        cost: cost units of one call.
    """

    privileged = True

    def __init__(self, *, cost: float = 1.0) -> None:
        super().__init__(_Knows(), name="locksmith", cost=cost)


class Hint(Intervention):
    """Says the middle of the range.

    Args:
        cost: cost units of one call.
    """

    def __init__(self, *, cost: float = 0.3) -> None:
        super().__init__(_Halves(), name="lock-hint", cost=cost)
