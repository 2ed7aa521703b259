"""Ask at every k-th step, whatever the state."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.adapters import batch_size
from selfreg_gym.agents.helpers import _rows
from selfreg_gym.agents.helpers._choice import AsksOne, checked_intervention
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import HelperPolicy

__all__ = ["EveryK"]


class EveryK(AsksOne, HelperPolicy):
    """Help at steps k, 2k, 3k, ... of each episode (counted from 1).

    Args:
        k: at least 1, need not be whole: k = 2.5 asks at steps 3, 5, 8, 10, ...
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    takes_budget = False
    knob_bounds = (0.0, 1.0)

    def __init__(self, k: float = 5.0, *, intervention: int | str = 1) -> None:
        if isinstance(k, bool | str) or not k >= 1:
            raise InvalidArgumentError(f"every-k asks at every k-th step, k at least 1, received k={k!r}.")
        self.k = float(k)
        self.intervention = checked_intervention(intervention)  # type: ignore[assignment]

    @property
    def knob(self) -> float:
        """Calls per step, 1 / k."""
        return 1.0 / self.k

    def with_knob(self, x: float) -> EveryK:
        """The helper that asks x times per step; 0 never asks."""
        return EveryK(1.0 / x if x > 0 else np.inf, intervention=self.intervention)

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
        return _rows.answer(np.where(due, self.action, 0), n), step

    def __repr__(self) -> str:
        return f"EveryK({self.k:g}, intervention={self.intervention!r})"
