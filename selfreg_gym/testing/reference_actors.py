"""Two actors for any task, used in checks, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym.types import Decision

__all__ = ["ExpertActor", "RandomActor"]


class RandomActor:
    """Draws an admissible action uniformly from the decision's random stream; "" if any text is admissible."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Draw an action for each decision."""
        options = [decision.admissible_actions or ("",) for decision in decisions]
        return [some[int(d.rng.integers(len(some)))] for d, some in zip(decisions, options, strict=True)]

    def __deepcopy__(self, memo: dict[int, Any]) -> RandomActor:
        return self


class ExpertActor:
    """Takes the task's ``expert_action()``."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Call ``expert_action()`` of each decision's task."""
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> ExpertActor:
        return self
