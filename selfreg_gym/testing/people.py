"""Two actors that work on every task: for checks, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym.types import Decision

__all__ = ["ExpertActor", "RandomActor"]


class RandomActor:
    """Any admissible action with equal probability, from the decision's own stream; "" where any text may be said."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Draw for every decision."""
        options = [decision.admissible_actions or ("",) for decision in decisions]
        return [some[int(d.rng.integers(len(some)))] for d, some in zip(decisions, options, strict=True)]

    def __deepcopy__(self, memo: dict[int, Any]) -> RandomActor:
        return self


class ExpertActor:
    """What the task's own ``expert_action()`` says."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Ask the task of every decision."""
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> ExpertActor:
        return self
