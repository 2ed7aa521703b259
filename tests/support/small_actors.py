"""Actors of small tasks whose intervention problem is known exactly, as a plug-in has them."""

from __future__ import annotations

from collections.abc import Sequence

from selfreg_gym.types import Decision

__all__ = ["Heads", "NoisyExpert"]


class Heads:
    """Says "heads"."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Answer every decision."""
        return ["heads"] * len(decisions)


class NoisyExpert:
    """The expert's move, or half of the time any of the four."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Answer every decision."""
        return [
            str(decision.rng.choice(decision.admissible_actions))
            if decision.rng.random() < 0.5
            else decision.task.get_wrapper_attr("expert_action")()
            for decision in decisions
        ]
