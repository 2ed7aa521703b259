"""The interface of an input (a block of columns), the standardisation of columns, and one-hot codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


_SMALLEST = 1e-6
_ROWS = 8192  # rows that are converted to float64 at once


@dataclass(frozen=True, eq=False)
class Scale:
    """Means and standard deviations ``(d,)`` that standardise columns; a constant column becomes 0.

    They have the precision of float32, so that neither depends on the order of the rows.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weight: np.ndarray | None = None, *, smallest: float = _SMALLEST) -> Scale:
        """The scale of ``values`` (n, d), with each row counted ``weight`` times.

        A column counts as constant if its deviation is at most ``smallest``, or rounding of its mean to float32.
        """
        weights = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
        mean = _mean(values, weights, lambda rows: rows)
        mean = mean.astype(np.float32).astype(np.float64)
        deviation = np.sqrt(_mean(values, weights, lambda rows: (rows - mean) ** 2))
        deviation = deviation.astype(np.float32).astype(np.float64)
        varies = deviation > np.maximum(smallest, np.finfo(np.float32).eps * np.abs(mean))
        return cls(mean, np.where(varies, deviation, np.inf))

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
        if deviation.shape != arrays["mean"].shape:
            raise ValueError(f"{arrays['mean'].shape} means and {deviation.shape} deviations do not fit together")
        return cls(arrays["mean"], np.where(deviation > 0, deviation, np.inf))


def _mean(values: np.ndarray, weights: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``(d,)`` weighted mean of a function of the rows, in float64."""
    total = np.zeros(values.shape[1])
    for begin in range(0, len(values), _ROWS):
        part = slice(begin, begin + _ROWS)
        total += weights[part] @ function(np.asarray(values[part], np.float64))
    return total / weights.sum()


def one_hot(place: np.ndarray, width: int) -> np.ndarray:
    """float32 ``(n, width)`` with a 1 at each place; all zero for a negative place."""
    found = np.zeros((len(place), width), np.float32)
    known = np.flatnonzero(place >= 0)
    found[known, place[known]] = 1.0
    return found


def column(values: np.ndarray) -> np.ndarray:
    """float32 ``(n, 1)``, of ``(n,)`` numbers."""
    return values.astype(np.float32)[:, None]
