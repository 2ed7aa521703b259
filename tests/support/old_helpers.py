"""Helpers without the base class: the former interface by attributes alone, a trained one, and a bare ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BarePredict", "OldInterface", "OldTrained"]


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


class OldTrained(OldInterface):
    """Asks with the probability that it was trained to: one over the number of prices of the fitted values."""

    of_values, takes_cap, learns, minor = True, True, "gains", False

    def __init__(self, knob: float = 0.3) -> None:
        super().__init__(knob)
        self.info: dict[str, Any] = {"knob": self.knob}

    @classmethod
    def train(
        cls, rollouts: Any, teacher: Any, *, costs: Any, seed: int, progress: bool, cap: int | None = None
    ) -> OldTrained:
        """Read the teacher."""
        return cls(1 / len(teacher.prices))

    def save_pretrained(self, path: Path) -> None:
        """Write the probability."""
        path.mkdir()
        (path / "knob.txt").write_text(repr(self.knob))

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether it was trained in this run."""
        return (run / "values" / "trained").is_dir()

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> OldTrained:  # type: ignore[override]
        """Read the probability."""
        return cls(float((run / "values" / "trained" / "knob.txt").read_text()))
