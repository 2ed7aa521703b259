"""A helper as a curve: success against usage, between never asking and always asking.

One coin per episode between two policies reaches any point on the straight line between them. So the line from never to
always ("the coin") is what a helper must beat, and the upper hull of a helper's points is what it can deliver at usages
between them, if the points are known exactly. The hull of *measured* points is biased upwards, because it keeps the
points that were lucky: it is for drawing. The figures with intervals are in
:mod:`selfreg_gym.evaluation.curve_estimates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Floats

__all__ = ["Curve", "area_between", "curve_of", "hull", "read_off"]


def hull(usage: Floats, success: Floats) -> tuple[Floats, Floats]:
    """The non-decreasing concave upper hull of the points ``(usage, success)``, both ``(m,)``.

    Points that another point beats at no more usage are dropped first. Ties in usage keep the higher success: sorting
    by usage alone would leave it to chance which of two points at one usage survives.
    """
    order = np.lexsort((-success, usage))
    kept: list[int] = []
    for i in order:
        if kept and success[i] <= success[kept[-1]]:
            continue
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            rise = (usage[b] - usage[a]) * (success[i] - success[a]) - (usage[i] - usage[a]) * (success[b] - success[a])
            if rise < 0:
                break
            kept.pop()  # b lies on or under the line from a to i
        kept.append(int(i))
    return usage[kept], success[kept]


def read_off(usage: Floats, values: Floats, at: Floats | float) -> Floats:
    """Read B piecewise linear curves off at B usages: linear between neighbouring points, flat outside.

    Args:
        usage: ``(B, m)`` usage of the points, in any order.
        values: ``(B, m)`` what is read off (success, toggles, ...).
        at: ``(B,)`` or a number.

    Returns:
        ``(B,)``. The line between two neighbouring points is a coin per episode between them, so what is read off is
        reached by a policy that exists.
    """
    at = np.broadcast_to(np.asarray(at, dtype=np.float64), usage.shape[:1])
    order = np.argsort(usage, axis=1, kind="stable")
    x, y = np.take_along_axis(usage, order, axis=1), np.take_along_axis(values, order, axis=1)
    right = np.clip((x < at[:, None]).sum(axis=1), 1, x.shape[1] - 1) if x.shape[1] > 1 else np.zeros(len(x), int)
    left = np.maximum(right - 1, 0)
    rows = np.arange(len(x))
    x0, x1, y0, y1 = x[rows, left], x[rows, right], y[rows, left], y[rows, right]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x1 > x0, (at - x0) / (x1 - x0), 1.0)
        return y0 + np.clip(share, 0.0, 1.0) * (y1 - y0)


def area_between(usage: Floats, success: Floats) -> Floats:
    """Normalised area under B piecewise linear curves, from their first point (never) to their last (always).

    Args:
        usage, success: ``(B, m)``: never, the helper's points in any order, always.

    Returns:
        ``(B,)``; 0.5 on the straight line from never to always. NaN where usage or success of the two are equal.
    """
    low, high = usage[:, :1], usage[:, -1:]
    order = np.argsort(usage, axis=1, kind="stable")
    x, y = np.take_along_axis(usage, order, axis=1), np.take_along_axis(success, order, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = (y - success[:, :1]) / (success[:, -1:] - success[:, :1])
        slope = np.where(np.diff(x) > 0, np.diff(y) / np.diff(x), 0.0)
        left, right = np.clip(x[:, :-1], low, high), np.clip(x[:, 1:], low, high)
        middle = y[:, :-1] + slope * ((left + right) / 2 - x[:, :-1])
        return (middle * (right - left)).sum(axis=1) / np.where(high > low, high - low, np.nan)[:, 0]


@dataclass(frozen=True)
class Curve:
    """One helper's points with the two anchors.

    Attributes:
        usage, success: ``(m,)`` the helper's points, in any order; usage in cost units per episode.
        never: (usage, success) of never asking.
        always: (usage, success) of always asking.

    Raises:
        InvalidArgumentError: always asking uses no more than never asking, so that there is no axis to measure on.
    """

    usage: Floats
    success: Floats
    never: tuple[float, float]
    always: tuple[float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "usage", np.asarray(self.usage, dtype=np.float64))
        object.__setattr__(self, "success", np.asarray(self.success, dtype=np.float64))
        if self.usage.shape != self.success.shape or self.usage.ndim != 1:
            raise InvalidArgumentError(
                f"a curve needs one success rate per usage, received shapes {self.usage.shape} and "
                f"{self.success.shape}."
            )
        if not self.always[0] > self.never[0]:
            raise InvalidArgumentError(
                f"always asking must use more help than never asking, received usages {self.always[0]:g} and "
                f"{self.never[0]:g}."
            )

    @property
    def gap(self) -> float:
        """What help can add: success of always minus success of never."""
        return self.always[1] - self.never[1]

    @property
    def hull(self) -> tuple[Floats, Floats]:
        """Upper hull of the points and both anchors, extended flat to the usage of always."""
        usage, success = hull(
            np.concatenate([[self.never[0]], self.usage, [self.always[0]]]),
            np.concatenate([[self.never[1]], self.success, [self.always[1]]]),
        )
        if usage[-1] < self.always[0]:
            usage, success = np.append(usage, self.always[0]), np.append(success, success[-1])
        return usage, success

    def coin(self, usage: float) -> float:
        """Success of one coin per episode between never and always, at this usage."""
        share = (usage - self.never[0]) / (self.always[0] - self.never[0])
        return self.never[1] + float(np.clip(share, 0.0, 1.0)) * self.gap

    def at(self, usage: float) -> float:
        """Success of the hull at this usage."""
        return float(np.interp(usage, *self.hull))

    def lift(self, usage: float) -> float:
        """Success of the hull above the coin line at this usage."""
        return self.at(usage) - self.coin(usage)

    def recovered(self, usage: float) -> float:
        """Share of the gap between never and always that the hull has at this usage."""
        return (self.at(usage) - self.never[1]) / self.gap if self.gap else float("nan")

    @property
    def area(self) -> float:
        """Area under the points as measured, joined by straight lines, over the usage axis.

        Scaled so that the coin line has 0.5, a helper that is never better than not asking 0, and one with all of the
        gap from the start 1. A helper worse than the coin has less than 0.5. No point is left out for being low: under
        the hull, a helper equal to the coin would come out above 0.5 by the noise alone.
        """
        points = [self.never[0], *self.usage, self.always[0]], [self.never[1], *self.success, self.always[1]]
        usage, success = (np.array(axis)[None] for axis in points)
        return float(area_between(usage, success)[0])

    def usage_for(self, share: float) -> float:
        """The least usage at which the hull has ``share`` of the gap; infinity if it never has.

        With measured points this is too small by chance; :func:`selfreg_gym.evaluation.curve_estimates.describe_all`
        reports a smoothed curve's, with an interval.
        """
        if not 0 <= share <= 1:
            raise InvalidArgumentError(f"a share of the gap lies in [0, 1], received {share!r}.")
        usage, success = self.hull
        wanted = self.never[1] + share * self.gap
        if success[-1] < wanted:
            return float("inf")
        rising = np.flatnonzero(np.concatenate([[True], np.diff(success) > 0]))
        return float(np.interp(wanted, success[rising], usage[rising]))

    @property
    def largest_gap(self) -> float:
        """The widest gap between neighbouring points, the anchors among them, as a share of the usage axis."""
        width = self.always[0] - self.never[0]
        points = np.sort(np.clip([self.never[0], *self.usage, self.always[0]], self.never[0], self.always[0]))
        return float(np.diff(points).max() / width)

    def missing_usages(self, *, largest_gap: float = 0.05) -> list[float]:
        """Usages to evaluate next, so that no gap between points exceeds ``largest_gap`` of the usage axis.

        Each gap that is too wide is divided evenly. Empty when the curve is filled.
        """
        width = self.always[0] - self.never[0]
        points = np.unique(np.clip([self.never[0], *self.usage, self.always[0]], self.never[0], self.always[0]))
        wanted: list[float] = []
        for a, b in pairwise(points):
            pieces = int(np.ceil((b - a) / (largest_gap * width) - 1e-9))
            wanted += [float(a + (b - a) * i / pieces) for i in range(1, pieces)]
        return wanted


def curve_of(points: Sequence[tuple[float, float]], never: tuple[float, float], always: tuple[float, float]) -> Curve:
    """A :class:`Curve` from a list of (usage, success)."""
    usage, success = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return Curve(usage, success, never, always)
