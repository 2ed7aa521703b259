"""The interface of an input (a block of columns), the standardisation of columns, and one-hot codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from selfreg_gym.inputs.table import DecisionTable

__all__ = ["Block", "Scale", "column", "one_hot"]


class Block(Protocol):
    """One input: a block of ``width`` columns, with the constants that were fitted to the rollouts."""

    name: ClassVar[str]

    @property
    def width(self) -> int:
        """Number of columns."""

    def encode(self, table: DecisionTable) -> np.ndarray:
        """The columns of n decisions, float32 ``(n, width)``."""

    def record(self) -> dict[str, Any]:
        """The constants that are plain JSON values."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The constants that are arrays."""


@dataclass(frozen=True, eq=False)
class Scale:
    """Means and standard deviations ``(d,)`` that standardise columns; a constant column becomes 0."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weight: np.ndarray | None = None) -> Scale:
        """The scale of ``values`` (n, d), with each row counted ``weight`` times."""
        mean = np.average(values, axis=0, weights=weight)
        square = np.average((values - mean) ** 2, axis=0, weights=weight)
        deviation = np.sqrt(square)
        return cls(mean.astype(np.float64), np.where(deviation > 1e-6, deviation, np.inf))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """``values`` (n, d) standardised, float32."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """The constants; the infinite deviation of a constant column is saved as 0."""
        return {"mean": self.mean, "deviation": np.where(np.isfinite(self.deviation), self.deviation, 0.0)}

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray]) -> Scale:
        """The scale with these constants."""
        deviation = arrays["deviation"]
        return cls(arrays["mean"], np.where(deviation > 0, deviation, np.inf))


def one_hot(place: np.ndarray, width: int) -> np.ndarray:
    """float32 ``(n, width)`` with a 1 at each place; all zero for a negative place."""
    found = np.zeros((len(place), width), np.float32)
    known = np.flatnonzero(place >= 0)
    found[known, place[known]] = 1.0
    return found


def column(values: np.ndarray) -> np.ndarray:
    """float32 ``(n, 1)``, of ``(n,)`` numbers."""
    return values.astype(np.float32)[:, None]
