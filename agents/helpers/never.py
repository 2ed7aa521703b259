"""Never ask: the actor alone. The lower anchor of every comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.adapters import batch_size

__all__ = ["Never"]


class Never:
    """Action 0 at every step."""

    takes_budget = False

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Never:
        """The same helper for every run."""
        return cls()

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Nohelp for every row."""
        n = batch_size(observation, episode_start)
        return (0 if n is None else np.zeros(n, dtype=np.int64)), state

    def wrap(self, env: Any) -> Any:
        """The env itself: nothing is read."""
        return env
