"""Helpers without the base class: the former interface by attributes alone, and a bare ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BarePredict", "OldInterface"]


class BarePredict:
    """Asks about observations with an even number of characters; it has ``predict`` and nothing else."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Answer one text or N."""
        if isinstance(observation, str):
            return 1 - len(observation) % 2, state
        return np.array([1 - len(text) % 2 for text in observation]), state


class OldInterface:
    """Asks at random with probability ``knob``, drawing in batch order; it declares what it can by attributes."""

    takes_budget = False
    knob_bounds = (0.0, 1.0)

    def __init__(self, knob: float = 0.3) -> None:
        self.knob, self.seed = float(knob), 0

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0, knob: float = 0.3) -> OldInterface:
        """The same for every run."""
        assert (run / "rollouts.sqlite").exists()
        return cls(knob)

    def with_knob(self, x: float) -> OldInterface:
        """Another probability."""
        return OldInterface(x)

    def wrap(self, env: Any) -> Any:
        """It reads the text."""
        return env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Draw; ``state`` is the generator."""
        rng = np.random.default_rng(self.seed) if state is None else state
        n = 1 if isinstance(observation, str) else len(observation)
        actions = (rng.random(n) < self.knob).astype(int)
        return (int(actions[0]) if isinstance(observation, str) else actions), rng
