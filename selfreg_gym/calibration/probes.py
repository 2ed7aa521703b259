"""Probes: the usage of a helper at one knob on the first episodes of a common plan, and estimates from them.

All probes play prefixes of one plan (common random numbers), so the difference of two usages has a smaller variance
than either. A probe b of n episodes corrects a probe x of m < n episodes (a control variate; Glasserman, Monte Carlo
Methods in Financial Engineering, section 4.1)::

    U(x)     = mean_{i <= n} b_i + mean_{i <= m} (x_i - b_i)
    Var U(x) = m Var(b_i / n + (x_i - b_i) / m) + (n - m) Var(b_i / n)

with b_i and x_i the cost units of episode i.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Probe", "Usage", "Z", "estimate", "mixed"]

Z = 1.959964
"""The normal quantile of a 95 % interval."""

Array = NDArray[np.float64]


@dataclass
class Probe:
    """One knob: usage and success of the first ``played`` episodes of the plan, in the plan's order."""

    knob: float
    usages: list[float]
    successes: list[bool] = field(default_factory=list)

    @property
    def played(self) -> int:
        """Number of episodes."""
        return len(self.usages)

    @property
    def mean(self) -> float:
        """Mean usage, in cost units per episode; 0 without episodes."""
        return float(np.mean(self.usages)) if self.usages else 0.0

    @property
    def success(self) -> float | None:
        """Share of successful episodes; None if it was not measured."""
        return float(np.mean(self.successes)) if self.successes else None

    @property
    def error(self) -> float:
        """Standard error of ``mean``."""
        return float(np.std(self.usages) / np.sqrt(self.played)) if self.usages else 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """An estimate of a mean usage.

    Attributes:
        mean: cost units per episode.
        error: its standard error over episodes of these tasks.
    """

    mean: float
    error: float

    @property
    def half_width(self) -> float:
        """Half-width of the 95 % interval."""
        return Z * self.error


def estimate(probe: Probe, others: Iterable[Probe] = ()) -> Usage:
    """The usage of a probe, corrected by the probe among ``others`` that reduces its error most."""
    found = Usage(probe.mean, probe.error)
    if not probe.played:
        return found
    own = np.asarray(probe.usages)
    for other in others:
        if other.played > probe.played:
            corrected = _corrected(own, np.asarray(other.usages))
            if corrected.error < found.error:
                found = corrected
    return found


def _corrected(own: Array, base: Array) -> Usage:
    m, n = len(own), len(base)
    difference = own - base[:m]
    shared = base[:m] / n + difference / m
    variance = m * np.var(shared) + (n - m) * np.var(base[m:] / n)
    return Usage(float(base.mean() + difference.mean()), float(np.sqrt(variance)))


def mixed(low: Probe, high: Probe, budget: float) -> tuple[float, Usage]:
    """The weight of ``high`` at which the mixture meets the budget, and the usage of the mixture.

    Both are compared on the episodes that both have played. A probe without episodes is the lower bound of the knob,
    with usage 0.
    """
    n = high.played if not low.played else min(low.played, high.played)
    below = np.zeros(n) if not low.played else np.asarray(low.usages[:n])
    above = np.asarray(high.usages[:n])
    gap = float(above.mean() - below.mean())
    weight = float(np.clip((budget - below.mean()) / gap, 0.0, 1.0)) if gap > 0 else 0.0
    usages = (1.0 - weight) * below + weight * above
    return weight, Usage(float(usages.mean()), float(np.std(usages) / np.sqrt(n)))
