"""Ask at random: at each step with probability p. What a helper must beat at equal usage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helpers import batch_size

__all__ = ["Random"]


class Random:
    """Help with probability ``p`` at each step, whatever is observed.

    The draws come from the helper's own seed: a run that begins without ``state`` begins the stream again. They do not
    depend on ``deterministic``, because chance is all there is to this policy.

    Args:
        p: probability of help, in [0, 1]. It is the knob that calibration turns.
        seed: seed of the draws.
        k: which intervention is asked (1 is the first).
    """

    takes_budget = True
    knob_bounds = (0.0, 1.0)

    def __init__(self, p: float = 0.5, seed: int = 0, *, k: int = 1) -> None:
        if not 0 <= p <= 1:
            raise InvalidArgumentError(f"p is a probability in [0, 1], received {p!r}.")
        if k < 1:
            raise InvalidArgumentError(f"k counts interventions from 1, received {k!r}.")
        self.p, self.seed, self.k = float(p), seed, k

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Random:
        """The same helper for every run; a budget is met by calibrating ``knob``."""
        return cls(seed=seed)

    @property
    def knob(self) -> float:
        """What calibration turns: p. Usage does not decrease in it."""
        return self.p

    def with_knob(self, knob: float) -> Random:
        """The same helper, with the same draws, at another p."""
        return Random(knob, self.seed, k=self.k)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Draw for every row; ``state`` is the stream."""
        rng = np.random.default_rng(self.seed) if state is None else state
        n = batch_size(observation, episode_start)
        if n is None:
            return (self.k if rng.random() < self.p else 0), rng
        return np.where(rng.random(n) < self.p, self.k, 0).astype(np.int64), rng

    def wrap(self, env: Any) -> Any:
        """The env itself: nothing is read."""
        return env
