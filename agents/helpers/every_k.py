"""Ask at every k-th step, whatever the state."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.agents.helpers import _rows
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helpers import batch_size
from selfreg_gym.types import HelperPolicy

__all__ = ["EveryK"]


class EveryK(HelperPolicy):
    """Help from the first intervention at steps k, 2k, 3k, ... of each episode (counted from 1).

    Args:
        k: at least 1, need not be whole: k = 2.5 asks at steps 3, 5, 8, 10, ...
    """

    takes_budget = False
    knob_bounds = (0.0, 1.0)

    def __init__(self, k: float = 5.0) -> None:
        if not k >= 1:
            raise InvalidArgumentError(f"every-k asks at every k-th step, k at least 1, received k={k!r}.")
        self.k = float(k)

    @property
    def knob(self) -> float:
        """Calls per step, 1 / k."""
        return 1.0 / self.k

    def with_knob(self, x: float) -> EveryK:
        """The helper that asks x times per step; 0 never asks."""
        return EveryK(1.0 / x if x > 0 else np.inf)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Count the steps of each episode; the count is the state."""
        n = batch_size(observation, episode_start)
        fresh = _rows.begins(n, state, episode_start)
        step = np.where(fresh, 0, 0 if state is None else state) + 1
        due = np.floor(step / self.k + 1e-9) > np.floor((step - 1) / self.k + 1e-9)
        return _rows.answer(due, n), step

    def __repr__(self) -> str:
        return f"EveryK({self.k:g})"
