"""Always ask the same intervention: the upper end of the usage axis in every comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.adapters import batch_size
from selfreg_gym.agents.helpers._choice import AsksOne, checked_intervention, deprecated_k

__all__ = ["Always"]


class Always(AsksOne):
    """Ask ``intervention`` at every step.

    Args:
        intervention: which one is asked: a number from 1, or its name. Default: the first.
        k: deprecated name of ``intervention``.

    Raises:
        InvalidArgumentError: ``intervention`` is neither a number from 1 nor a name.
    """

    takes_budget = False

    def __init__(self, *, intervention: int | str | None = None, k: int | None = None) -> None:
        self.intervention = checked_intervention(deprecated_k(intervention, k, 1))  # type: ignore[assignment]

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, intervention: int | str | None = None
    ) -> Always:
        """The same helper for every run."""
        return cls(intervention=intervention)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Help for every row."""
        n = batch_size(observation, episode_start)
        return (self.action if n is None else np.full(n, self.action, dtype=np.int64)), state

    def wrap(self, env: Any) -> Any:
        """Return the env itself: nothing is read."""
        return env

    def __repr__(self) -> str:
        return f"Always(intervention={self.intervention!r})"
