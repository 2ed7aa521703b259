"""A helper's curve: success against usage, from never asking ``(u_0, s_0)`` to always asking ``(u_1, s_1)``.

A coin per episode between two policies reaches every point of the straight line between them. The line from never to
always, ``s_0 + (u - u_0) / (u_1 - u_0) (s_1 - s_0)``, is the **coin line**, which a helper must beat. The difference
``s_1 - s_0`` is the **gap**. The upper hull of a helper's points is its attainable success between them, if the points
are known exactly. The hull of *measured* points is biased upwards, because it selects points with positive errors: use
it for plots only. Estimates with intervals are in :mod:`selfreg_gym.evaluation.curve_estimates`.
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

    Dominated points (another has no more usage and no less success) are dropped first. Of points with equal usage the
    one with the higher success is kept, in any order of the points.
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
            kept.pop()  # b is on or below the line from a to i
        kept.append(int(i))
    return usage[kept], success[kept]


def read_off(usage: Floats, values: Floats, at: Floats | float) -> Floats:
    """Interpolate B curves at B usages: linear between neighbouring points, constant outside.

    A coin per episode between two neighbouring points attains the interpolated value.

    Args:
        usage: ``(B, m)`` usage of the points, in any order.
        values: ``(B, m)`` the interpolated measure (success, toggles, ...).
        at: ``(B,)`` or a number.

    Returns:
        ``(B,)`` values.
    """
    at = np.broadcast_to(np.asarray(at, dtype=np.float64), usage.shape[:1])
    order = np.argsort(usage, axis=1, kind="stable")
    x, y = np.take_along_axis(usage, order, axis=1), np.take_along_axis(values, order, axis=1)
    right = np.clip((x < at[:, None]).sum(axis=1), 1, x.shape[1] - 1) if x.shape[1] > 1 else np.zeros(len(x), int)
    left = np.maximum(right - 1, 0)
    each = np.arange(len(x))
    x0, x1, y0, y1 = x[each, left], x[each, right], y[each, left], y[each, right]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x1 > x0, (at - x0) / (x1 - x0), 1.0)
        return y0 + np.clip(share, 0.0, 1.0) * (y1 - y0)


def area_between(usage: Floats, success: Floats) -> Floats:
    """The area under B piecewise linear curves, ``integral of (s(u) - s_0) / (s_1 - s_0) du / (u_1 - u_0)``.

    Args:
        usage, success: ``(B, m)``: never, the helper's points in any order, always.

    Returns:
        ``(B,)`` areas, 0.5 for the coin line. NaN where never and always have equal usage or equal success.
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
    """A helper's points between the two anchors.

    Attributes:
        usage, success: ``(m,)`` the helper's points, in any order; usage in cost units per episode.
        never: (usage, success) of never asking.
        always: (usage, success) of always asking.

    Raises:
        InvalidArgumentError: shapes differ, or always asking does not use more than never asking.
    """

    usage: Floats
    success: Floats
    never: tuple[float, float]
    always: tuple[float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "usage", np.asarray(self.usage, dtype=np.float64))
        object.__setattr__(self, "success", np.asarray(self.success, dtype=np.float64))
        if self.usage.shape != self.success.shape or self.usage.ndim != 1:
            received = f"shapes {self.usage.shape} and {self.success.shape}"
            raise InvalidArgumentError(f"a curve needs one success rate per usage, received {received}.")
        if not self.always[0] > self.never[0]:
            received = f"usages {self.always[0]:g} and {self.never[0]:g}"
            raise InvalidArgumentError(f"always asking must use more help than never asking, received {received}.")

    @property
    def gap(self) -> float:
        """Success of always asking minus success of never asking."""
        return self.always[1] - self.never[1]

    @property
    def hull(self) -> tuple[Floats, Floats]:
        """Usage and success ``(h,)`` of the upper hull of all points, extended to the usage of always."""
        first, last = ([[value] for value in anchor] for anchor in (self.never, self.always))
        usage, success = hull(*np.concatenate([first, [self.usage, self.success], last], axis=1))
        if usage[-1] < self.always[0]:
            usage, success = np.append(usage, self.always[0]), np.append(success, success[-1])
        return usage, success

    def at(self, usage: float) -> float:
        """Success of the hull at this usage."""
        return float(np.interp(usage, *self.hull))

    def recovered(self, usage: float) -> float:
        """Share of the gap that the hull recovers at this usage; NaN without a gap."""
        return (self.at(usage) - self.never[1]) / self.gap if self.gap else float("nan")

    @property
    def largest_gap(self) -> float:
        """The largest distance between neighbouring points, anchors included, as a share of the usage axis."""
        return float(np.diff(self._usages).max() / (self.always[0] - self.never[0]))

    def missing_usages(self, *, largest_gap: float = 0.05) -> list[float]:
        """Usages to evaluate so that neighbouring points are at most ``largest_gap`` of the usage axis apart.

        Each larger distance is divided evenly.
        """
        width = self.always[0] - self.never[0]
        wanted: list[float] = []
        for a, b in pairwise(self._usages):
            pieces = int(np.ceil((b - a) / (largest_gap * width) - 1e-9))
            wanted += [float(a + (b - a) * i / pieces) for i in range(1, pieces)]
        return wanted

    @property
    def _usages(self) -> Floats:
        """The different usages of all points, on the axis from never to always, in order."""
        return np.unique(np.clip([self.never[0], *self.usage, self.always[0]], self.never[0], self.always[0]))


def curve_of(points: Sequence[tuple[float, float]], never: tuple[float, float], always: tuple[float, float]) -> Curve:
    """The :class:`Curve` of a list of (usage, success)."""
    usage, success = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return Curve(usage, success, never, always)
