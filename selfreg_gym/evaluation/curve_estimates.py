"""Figures of a helper's curve without selection bias: area, best lift and usage needed, each with an interval.

A maximum over noisy points is biased upwards (the points that were lucky are kept), and so is everything read off an
upper hull. Here instead:

* the **area** is that under the points as measured;
* the **best lift** over the coin line is estimated by splitting: one half of the tasks (of fixed tasks: of each task's
  episodes) chooses the point, the other half measures its lift, the halves change roles, and four splits are
  averaged. It is the lift of a point chosen on data, not of the best of all;
* the **usage for a share of the gap** is where the isotonic regression of success on usage (the non-decreasing curve
  nearest to the points, Barlow et al. 1972) first has it. It averages neighbouring points, and does not choose one.

Intervals come from the same paired resamples as all others (their coverage: ``benchmarks/interval_coverage.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate, Floats, percentile_interval, resampled_means, student_factor
from selfreg_gym.evaluation.curves import area_between
from selfreg_gym.evaluation.measures import EpisodeTable
from selfreg_gym.evaluation.paired import Column, estimates, means
from selfreg_gym.utils.random_streams import SPLIT_HALVES, stream

if TYPE_CHECKING:
    from selfreg_gym.evaluation.result import Evaluation

__all__ = ["area", "best_lift", "describe_all", "isotonic", "usage_for"]

SPLITS = 4
"""Random halvings that an estimate of the best lift is averaged over."""


def columns_of(never: Sequence[str], points: Sequence[Sequence[str]], always: Sequence[str]) -> list[Column]:
    """Usage of never, the points and always, then success of the same."""
    return [(keys, measure) for measure in ("usage", "success") for keys in (never, *points, always)]


def area(table: EpisodeTable, columns: Sequence[Column]) -> Estimate:
    """Area under the measured points, 0.5 for the coin, with its interval; ``columns`` of :func:`columns_of`."""
    half = len(columns) // 2
    return estimates(table, columns, lambda found: area_between(found[:, :half], found[:, half:])[:, None])[0]


def best_lift(table: EpisodeTable, columns: Sequence[Column]) -> Estimate:
    """Success above the coin line of the point chosen by one half of the data, measured on the other half."""
    half = len(columns) // 2
    if half < 4:  # a single point: there is nothing to choose
        return estimates(table, columns, lambda found: _lifts(found, half))[0]
    values = np.stack([table.column(keys, measure) for keys, measure in columns], axis=1)
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    values, design = values[known], table.design().take(np.asarray(known))
    weights = np.concatenate([np.ones((1, len(values))), table.weights()[:, known]])
    rng = stream(SPLIT_HALVES, table.bootstrap_seed)
    drawn = []
    for _ in range(SPLITS):
        first = _halves(design.units, design.strata, rng)
        if first.all() or not first.any():
            return Estimate(float("nan"), float("nan"), float("nan"))
        one, two = (_lifts(resampled_means(weights[:, half_of], values[half_of]), half) for half_of in (first, ~first))
        drawn += [there[np.arange(len(there)), _best(here)] for here, there in ((one, two), (two, one))]
    draws = np.mean(drawn, axis=0)
    # Each resample chooses its own point, so that the interval includes the choice. Resamples are noisier than the
    # data, which shifts all of them; the shift is removed.
    wider = float(np.sqrt(student_factor(design.freedom)))
    low, high = (wider * (end - float(np.nanmedian(draws[1:]))) for end in percentile_interval(draws[1:]))
    return Estimate(float(draws[0]), float(draws[0]) + low, float(draws[0]) + high)


def _best(lifts: Floats) -> np.ndarray:
    """``(B,)`` index of the largest lift of each row."""
    return np.argmax(np.nan_to_num(lifts, nan=-np.inf), axis=1)


def _lifts(found: Floats, half: int) -> Floats:
    """``(B, m - 2)`` success of each point above the coin line at its usage."""
    u, s = found[:, :half], found[:, half:]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip((u[:, 1:-1] - u[:, :1]) / (u[:, -1:] - u[:, :1]), 0.0, 1.0)
    return s[:, 1:-1] - s[:, :1] - share * (s[:, -1:] - s[:, :1])


def _halves(units: np.ndarray, strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``(n,)`` bool: a random half of the units of each stratum; an odd unit goes to either half at random."""
    stratum = np.zeros(int(units.max()) + 1, dtype=np.int64)
    stratum[units] = strata
    order = np.lexsort((rng.random(len(stratum)), stratum))
    starts = np.r_[True, np.diff(stratum[order]) != 0]
    position = np.arange(len(order)) - np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    odd = rng.integers(2, size=int(stratum.max()) + 1)[stratum[order]]
    first = np.zeros(len(stratum), dtype=bool)
    first[order] = (position + odd) % 2 == 0
    return first[units]


def isotonic(values: Floats) -> Floats:
    """The non-decreasing rows nearest to ``values (B, m)`` in squared error, by the max-min formula."""
    count = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    fitted = np.empty_like(values)
    least = np.full((count, *values.shape), np.inf)  # least[i, :, k]: the lowest mean of i..j over j >= k
    for i in range(count):
        low = np.full(len(values), np.inf)
        for j in range(count - 1, i - 1, -1):
            low = np.minimum(low, (sums[:, j + 1] - sums[:, i]) / (j + 1 - i))
            least[i, :, j] = low
    for k in range(count):
        fitted[:, k] = least[: k + 1, :, k].max(axis=0)
    return fitted


def usage_for(table: EpisodeTable, columns: Sequence[Column], share: float) -> Estimate:
    """Usage at which the isotonic curve first has ``share`` of the gap; infinite values: it never does."""
    half = len(columns) // 2
    found = means(table, columns)
    if not np.isfinite(found[0]).all():
        return Estimate(float("nan"), float("nan"), float("nan"))
    draws = _crossing(found[:, :half], found[:, half:], share)
    ends = np.quantile(draws[1:], [0.025, 0.975], method="inverted_cdf")  # no mean with an infinite value
    return Estimate(float(draws[0]), *map(float, ends))


def _crossing(usage: Floats, success: Floats, share: float) -> Floats:
    """``(B,)`` first usage at which B isotonic curves reach the share; infinite where they do not, or help harms."""
    never, always = success[:, 0], success[:, -1]
    wanted = never + share * (always - never)
    order = np.argsort(usage, axis=1, kind="stable")
    x = np.take_along_axis(usage, order, axis=1)
    y = isotonic(np.take_along_axis(success, order, axis=1))
    enough = y >= wanted[:, None] - 1e-12
    right = np.argmax(enough, axis=1)
    left = np.maximum(right - 1, 0)
    rows = np.arange(len(x))
    x0, x1, y0, y1 = x[rows, left], x[rows, right], y[rows, left], y[rows, right]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.where(y1 > y0, x0 + (x1 - x0) * (wanted - y0) / (y1 - y0), x1)
    return np.where(enough.any(axis=1) & (always > never), at, np.inf)


def describe_all(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The figures of every helper's curve, on each split that has the anchors (see evaluation.json).

    Returns:
        Dicts ``{"split", "helper", "points", "area", "usage_for_half", "usage_for_80_percent"`` (None: never reached),
        ``"best_lift"``, each of these four with an interval ``"..._ci"`` (an end that is None has no bound),
        ``"largest_gap"`` (between neighbouring points, as a share of the usage axis), ``"missing_usages"`` (where to
        evaluate next so that no gap exceeds 5 % of the axis) ``}``.
    """
    found = []
    for split, table in evaluation.tables.items():
        helpers = evaluation.helpers(split)
        if not {"never", "always"} <= set(helpers):
            continue
        never, always = (evaluation.keys(anchor, split=split) for anchor in ("never", "always"))
        for name in helpers:
            if name in ("never", "always"):
                continue
            try:
                curve = evaluation.curve(name, split=split)
            except InvalidArgumentError:  # always asks no more than never: there is no axis
                continue
            columns = columns_of(never, evaluation.points(name, split=split), always)
            described: dict[str, Any] = {"split": split, "helper": name, "points": len(curve.usage)}
            for what, estimate in (
                ("area", area(table, columns)),
                ("usage_for_half", usage_for(table, columns, 0.5)),
                ("usage_for_80_percent", usage_for(table, columns, 0.8)),
                ("best_lift", best_lift(table, columns)),
            ):
                described[what] = _plain(estimate.value)
                described[f"{what}_ci"] = [_plain(end) for end in estimate.ci]
            found.append(described | {"largest_gap": curve.largest_gap, "missing_usages": curve.missing_usages()})
    return found


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
