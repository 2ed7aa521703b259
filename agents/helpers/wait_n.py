"""Let the actor try alone for n steps, then ask at every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.adapters import batch_size
from selfreg_gym.agents.helpers import _rows
from selfreg_gym.agents.helpers._choice import AsksOne, checked_intervention
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import HelperPolicy

__all__ = ["WaitN"]


class WaitN(AsksOne, HelperPolicy):
    """No help in the first n steps of an episode, and then help until its end.

    Args:
        n: whole, at least 0.
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    takes_budget = False
    knob_bounds = (-200.0, 0.0)
    knob_step = 4.0

    def __init__(self, n: int = 10, *, intervention: int | str = 1) -> None:
        if isinstance(n, bool | str) or not np.isfinite(n) or n != int(n) or n < 0:
            raise InvalidArgumentError(f"wait-n waits a whole number of steps, at least 0, received n={n!r}.")
        self.n = int(n)
        self.intervention = checked_intervention(intervention)  # type: ignore[assignment]

    @property
    def knob(self) -> float:
        """-n: a longer wait uses less."""
        return -float(self.n)

    def with_knob(self, x: float) -> WaitN:
        """The helper that waits -x steps, rounded up (never more usage than asked for)."""
        return WaitN(int(np.ceil(-x)), intervention=self.intervention)

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
        return _rows.answer(np.where(step > self.n, self.action, 0), n), step

    def __repr__(self) -> str:
        return f"WaitN({self.n}, intervention={self.intervention!r})"
