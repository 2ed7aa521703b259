"""Always ask the same intervention. The upper anchor of every comparison, and its price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helpers import batch_size

__all__ = ["Always"]


class Always:
    """Action ``k`` at every step.

    Args:
        k: which intervention (1 is the first).
    """

    takes_budget = False

    def __init__(self, *, k: int = 1) -> None:
        if k < 1:
            raise InvalidArgumentError(f"k counts interventions from 1, received {k!r} (0 would be nohelp: use Never).")
        self.k = k

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Always:
        """The same helper for every run."""
        return cls()

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Help for every row."""
        n = batch_size(observation, episode_start)
        return (self.k if n is None else np.full(n, self.k, dtype=np.int64)), state

    def wrap(self, env: Any) -> Any:
        """The env itself: nothing is read."""
        return env
