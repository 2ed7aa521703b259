"""Ask for help in states where the process reward model p(s) is below a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import AsksOne
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.helper import Reference

if TYPE_CHECKING:
    from selfreg_gym.prm.model import ProcessRewardModel

__all__ = ["PRMThreshold"]

_SCOPES = ("state", "task")


class PRMThreshold(AsksOne):
    """Help where p(s) < threshold.

    With scope "state" (the default) it toggles: help raises p(s) above the threshold, so help stops, and p(s) falls
    again. With scope "task", p is read once, at the first observation, and the whole episode is helped or not.

    Args:
        prm: anything with ``score(observations) -> (N,)``.
        threshold: 0 never asks, above 1 always does.
        scope: "state" or "task".
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument is out of range.
    """

    role, label, marker, colour = "baseline", "PRM threshold", "s", "pink"
    reference: Reference | None = "threshold"
    knob_bounds = (0.0, 1.0001)  # p(s) = 1 is helped at the upper end

    def __init__(
        self, prm: ProcessRewardModel, threshold: float = 0.5, *, scope: str = "state", intervention: int | str = 1
    ) -> None:
        super().__init__(intervention)
        if not callable(getattr(prm, "score", None)):
            raise InvalidArgumentError(
                f"PRMThreshold needs a process reward model (score(observations)), received {type(prm).__name__}."
            )
        if scope not in _SCOPES:
            raise UnknownNameError("scope of a threshold", scope, _SCOPES)
        if isinstance(threshold, bool | str) or not np.isfinite(threshold):
            raise InvalidArgumentError(f"the threshold must be a number, received threshold={threshold!r}.")
        self.prm = prm
        self.threshold = float(threshold)
        self.scope = scope

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, intervention: int | str = 1
    ) -> PRMThreshold:
        """The run's process reward model at threshold 0.5; calibrate it to meet a budget."""
        from selfreg_gym.prm.model import ProcessRewardModel

        return cls(ProcessRewardModel.from_pretrained(Path(run) / "prm"), intervention=intervention)

    @property
    def knob(self) -> float:
        """The threshold; usage does not fall when it rises."""
        return self.threshold

    def with_knob(self, x: float) -> PRMThreshold:
        """The same helper at another threshold."""
        return type(self)(self.prm, x, scope=self.scope, intervention=self.intervention)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Compare p(s) with the threshold.

        ``state``: per task, ``(N,)`` whether the episode is helped, decided at its first observation; otherwise unused.
        """
        if self.scope == "state":
            return self.ask_where(self.prm.score(observations) < self.threshold), state
        helped = np.zeros(len(start), dtype=bool) if state is None else np.array(state, dtype=bool)
        if start.any():
            helped[start] = self.prm.score([observations[i] for i in np.flatnonzero(start)]) < self.threshold
        return self.ask_where(helped), helped

    def __repr__(self) -> str:
        asked = f"scope={self.scope!r}, intervention={self.intervention!r}"
        return f"PRMThreshold({self.prm!r}, {self.threshold:g}, {asked})"
