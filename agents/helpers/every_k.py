"""Ask at every k-th step, in any state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import AsksOne
from selfreg_gym.errors import InvalidArgumentError

__all__ = ["EveryK"]


class EveryK(AsksOne):
    """Help at steps k, 2k, 3k, ... of each episode (counted from 1).

    Args:
        k: at least 1, not necessarily an integer: k = 2.5 asks at steps 3, 5, 8, 10, ...
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    role, minor, label, marker, colour = "baseline", True, "every k-th step", "1", "teal"
    knob_bounds = (0.0, 1.0)

    def __init__(self, k: float = 5.0, *, intervention: int | str = 1) -> None:
        super().__init__(intervention)
        if isinstance(k, bool | str) or not k >= 1:
            raise InvalidArgumentError(f"k of every-k must be at least 1, received k={k!r}.")
        self.k = float(k)

    @property
    def knob(self) -> float:
        """Calls per step, 1 / k."""
        return 1.0 / self.k

    def with_knob(self, x: float) -> EveryK:
        """The helper that asks x times per step; 0 never asks."""
        return EveryK(1.0 / x if x > 0 else np.inf, intervention=self.intervention)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Count the steps of each episode; the count is the state."""
        step = np.where(start, 0, 0 if state is None else state) + 1
        return self.ask_where(np.floor(step / self.k + 1e-9) > np.floor((step - 1) / self.k + 1e-9)), step

    def __repr__(self) -> str:
        return f"EveryK({self.k:g}, intervention={self.intervention!r})"
