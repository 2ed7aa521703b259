"""Do not ask in the first n steps; then ask at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import AsksOne
from selfreg_gym.errors import InvalidArgumentError

__all__ = ["WaitN"]


class WaitN(AsksOne):
    """No help in the first n steps of an episode, then help until its end.

    Args:
        n: an integer of at least 0.
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    role, minor, label, marker, colour = "baseline", True, "wait n steps", "2", "violet"
    knob_bounds = (-200.0, 0.0)
    knob_step = 4.0

    def __init__(self, n: int = 10, *, intervention: int | str = 1) -> None:
        super().__init__(intervention)
        if isinstance(n, bool | str) or not np.isfinite(n) or n != int(n) or n < 0:
            raise InvalidArgumentError(f"n of wait-n must be an integer of at least 0, received n={n!r}.")
        self.n = int(n)

    @property
    def knob(self) -> float:
        """-n: a longer wait uses less."""
        return -float(self.n)

    def with_knob(self, x: float) -> WaitN:
        """The helper that waits -x steps, rounded up (never more usage than asked for)."""
        return WaitN(int(np.ceil(-x)), intervention=self.intervention)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Count the steps of each episode; the count is the state."""
        step = np.where(start, 0, 0 if state is None else state) + 1
        return self.ask_where(step > self.n), step

    def __repr__(self) -> str:
        return f"WaitN({self.n}, intervention={self.intervention!r})"
