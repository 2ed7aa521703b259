"""A helper as a curve: success against usage, between never asking and always asking.

Whoever flips one coin per episode between two policies gets any point on the straight line between them. Two things
follow: the line from never to always ("the coin") is what a helper must beat, and the upper hull of a helper's points
is what it can deliver at usages between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.statistics import Floats

if TYPE_CHECKING:
    from selfreg_gym.evaluation.result import Evaluation

__all__ = ["Curve", "curve_of", "describe_all", "hull", "read_off"]


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
        """Area under the hull over the usage axis, scaled so that never is 0, the coin line 0.5 and always at once 1.

        Both anchors belong to the hull, so no helper falls below 0.5: whoever is worse than the coin should flip it.
        """
        usage, success = self.hull
        inside = usage <= self.always[0]
        x = np.append(usage[inside], self.always[0])
        y = np.append(success[inside], self.at(self.always[0]))
        width = self.always[0] - self.never[0]
        return float(np.trapezoid(y - self.never[1], x) / (width * self.gap)) if self.gap else float("nan")

    def usage_for(self, share: float) -> float:
        """The least usage at which the hull has ``share`` of the gap; infinity if it never has."""
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


def describe_all(evaluation: Evaluation) -> list[dict[str, Any]]:
    """What every helper's curve comes to, on each split that has the anchors (see evaluation.json).

    Returns:
        Dicts ``{"split", "helper", "points", "area", "usage_for_half", "usage_for_80_percent"`` (None: never reached),
        ``"best_lift"`` (success above the coin line, at the best usage), ``"largest_gap"`` (share of the usage axis),
        ``"missing_usages"`` (where to evaluate next so that no gap exceeds 5 % of the axis) ``}``.
    """
    found = []
    for split in evaluation.tables:
        helpers = evaluation.helpers(split)
        if not {"never", "always"} <= set(helpers):
            continue
        for name in helpers:
            if name in ("never", "always"):
                continue
            try:
                curve = evaluation.curve(name, split=split)
            except InvalidArgumentError:  # always asks no more than never: there is no axis
                continue
            half, most = curve.usage_for(0.5), curve.usage_for(0.8)
            found.append({
                "split": split,
                "helper": name,
                "points": len(curve.usage),
                "area": curve.area if np.isfinite(curve.area) else None,
                "usage_for_half": half if np.isfinite(half) else None,
                "usage_for_80_percent": most if np.isfinite(most) else None,
                "best_lift": max(curve.lift(float(u)) for u in curve.hull[0]),
                "largest_gap": curve.largest_gap,
                "missing_usages": curve.missing_usages(),
            })  # fmt: skip
    return found
