"""Success at a budget, interpolated between the estimates of several policies of different usage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.evaluation.bootstrap import Estimate, Z, widening

__all__ = ["Curve", "estimate_of"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Estimates of P policies.

    Attributes:
        points: ``(P, 2)`` usage and success.
        contributions: ``(P, units, 2)`` contributions of the units (tasks or episodes) to success and usage.
    """

    points: np.ndarray
    contributions: np.ndarray

    def at(self, budget: float) -> tuple[float, np.ndarray, tuple[int, ...]]:
        """Success at a budget.

        It is the success of a coin per episode between the two policies of neighbouring usage. Above the largest usage
        it is that of the policy with the largest usage, below the smallest usage that of the one with the smallest.

        Returns:
            The success, its contributions ``(units,)``, which include the error of the usages (the delta method), and
            the indices of the policies between which it is interpolated.
        """
        usage, success = self.points.T
        below = np.flatnonzero(usage <= budget + 1e-12)
        above = np.flatnonzero(usage > budget + 1e-12)
        if not len(below):
            low = high = int(np.argmin(usage))
        else:
            low = int(below[np.lexsort((success[below], usage[below]))[-1]])
            high = int(above[np.lexsort((-success[above], usage[above]))[0]]) if len(above) else low
        if low == high:
            return float(success[low]), self.contributions[low, :, 0], (low,)
        w = (budget - usage[low]) / (usage[high] - usage[low])
        slope = (success[high] - success[low]) / (usage[high] - usage[low])
        mixed = (1 - w) * self.contributions[low] + w * self.contributions[high]
        value = float((1 - w) * success[low] + w * success[high])
        return value, mixed[:, 0] - slope * mixed[:, 1], (low, high)


def estimate_of(value: float, contributions: np.ndarray, freedom: int) -> Estimate:
    """An estimate with its 95 % interval, from contributions ``(units,)`` and degrees of freedom."""
    half = Z * widening(contributions, freedom) * float(np.sqrt(np.square(contributions).sum()))
    return Estimate(value, value - half, value + half)
