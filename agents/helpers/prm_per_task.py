"""Decide at the first step of an episode: ask at every step if p(s) is low there, otherwise never."""

from __future__ import annotations

from typing import Any

from selfreg_gym.agents.helpers.prm_threshold import PRMThreshold

__all__ = ["PRMPerTask"]


class PRMPerTask(PRMThreshold):
    """Help at every step of an episode whose first observation has p(s) below the threshold.

    It cannot toggle. Compared with ``prm-threshold``, which uses the same p(s), it shows the effect of toggling.

    Args:
        prm: anything with ``score(observations) -> (N,)``, success probabilities without help.
        threshold: 0 never asks, above 1 always does.
        intervention: which one is asked: a number from 1, or its name.
    """

    reference, minor, label, marker, colour = None, True, "PRM, once per task", "v", "yellow"
    flags_hard_tasks = True

    def __init__(self, prm: Any, threshold: float = 0.5, *, intervention: int | str = 1) -> None:
        super().__init__(prm, threshold, scope="task", intervention=intervention)

    def with_knob(self, x: float) -> PRMPerTask:
        """The same helper at another threshold."""
        return type(self)(self.prm, x, intervention=self.intervention)

    def __repr__(self) -> str:
        return f"PRMPerTask({self.prm!r}, {self.threshold:g}, intervention={self.intervention!r})"
