"""Estimates of a helper's curve without selection bias: area, best lift and usage needed, each with an interval.

A maximum over noisy points is biased upwards, because it selects points with positive errors; so is everything that is
read off an upper hull. Instead:

* the **area** is that under the points as measured;
* the **best lift** over the coin line is estimated by splitting: one half of the tasks (of fixed tasks: of each task's
  episodes) selects the point, the other half measures its lift, the halves change roles, and four random splits are
  averaged. It is the expected lift of a point selected on data, not that of the best point;
* the **usage for a share of the gap** is where the isotonic regression of success on usage first attains it: the
  non-decreasing curve nearest to the points in squared error (Barlow et al. 1972, "Statistical inference under order
  restrictions"). It averages neighbouring points and selects none.

The intervals come from the same paired resamples as all others; ``benchmarks/interval_coverage.py`` measures their
coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import (
    Design,
    Estimate,
    Floats,
    percentile_interval,
    resampled_means,
    student_factor,
)
from selfreg_gym.evaluation.curves import area_between
from selfreg_gym.evaluation.paired import Column, column_values, estimates, means
from selfreg_gym.evaluation.records import CurveRecord, plain
from selfreg_gym.evaluation.split_results import Point, SplitResults
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.utils.random_streams import SPLIT_HALVES, stream

__all__ = ["area", "best_lift", "describe_all", "first_usage", "isotonic", "usage_for"]

SPLITS = 4
"""Random splits over which an estimate of the best lift is averaged."""

UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


def columns_of(never: Point, points: Sequence[Point], always: Point) -> list[Column]:
    """The m usages of never, the points and always, then their m successes: the ``columns`` of the functions below."""
    return [(keys, measure) for measure in ("usage", "success") for keys in (never, *points, always)]


def area(table: EpisodeTable, columns: Sequence[Column]) -> Estimate:
    """Area under the measured points, :func:`selfreg_gym.evaluation.curves.area_between`; 0.5 for the coin line."""
    half = len(columns) // 2
    return estimates(table, columns, lambda found: area_between(found[:, :half], found[:, half:])[:, None])[0]


def best_lift(table: EpisodeTable, columns: Sequence[Column]) -> Estimate:
    """Success above the coin line of the point selected on one half of the data, measured on the other half."""
    half = len(columns) // 2
    if half < 4:  # a single point: no selection
        return estimates(table, columns, lambda found: _lifts(found, half))[0]
    values = column_values(table, columns)
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        return UNKNOWN
    values, design = values[known], table.design().take(np.asarray(known))
    weights = np.concatenate([np.ones((1, len(values))), table.weights()[:, known]])
    rng = stream(SPLIT_HALVES, table.bootstrap_seed)
    lifts = []
    for _ in range(SPLITS):
        first = _halves(design, rng)
        if first.all() or not first.any():
            return UNKNOWN
        a, b = (_lifts(resampled_means(weights[:, part], values[part]), half) for part in (first, ~first))
        for selecting, measured in ((a, b), (b, a)):
            best = np.argmax(np.nan_to_num(selecting, nan=-np.inf), axis=1)  # (1 + B,)
            lifts.append(measured[np.arange(len(weights)), best])
    draws = np.mean(lifts, axis=0)
    # Each resample selects its own point, so that the interval includes the selection. Resamples are noisier than the
    # data, which shifts all of them; the shift of their median is removed.
    wider = float(np.sqrt(student_factor(design.freedom)))
    known_draws = draws[1:][~np.isnan(draws[1:])]
    median = float(np.median(known_draws)) if known_draws.size else np.nan
    low, high = (wider * (end - median) for end in percentile_interval(draws[1:]))
    return Estimate(float(draws[0]), float(draws[0]) + low, float(draws[0]) + high)


def _lifts(found: Floats, half: int) -> Floats:
    """``(B, half - 2)`` success of each point minus that of the coin at its usage."""
    u, s = found[:, :half], found[:, half:]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip((u[:, 1:-1] - u[:, :1]) / (u[:, -1:] - u[:, :1]), 0.0, 1.0)
    return s[:, 1:-1] - s[:, :1] - share * (s[:, -1:] - s[:, :1])


def _halves(design: Design, rng: np.random.Generator) -> np.ndarray:
    """``(n,)`` bool: a random half of the units of each stratum, an odd unit to either half at random."""
    stratum = design.unit_strata
    order = np.lexsort((rng.random(len(stratum)), stratum))
    starts = np.r_[True, np.diff(stratum[order]) != 0]
    position = np.arange(len(order)) - np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    odd = rng.integers(2, size=int(stratum.max()) + 1)[stratum[order]]
    first = np.zeros(len(stratum), dtype=bool)
    first[order] = (position + odd) % 2 == 0
    return first[design.units]


def isotonic(values: Floats) -> Floats:
    """Isotonic regressions of B sequences ``values (B, m)`` at once; SciPy's routine takes a single one.

    By the max-min formula, ``fitted_k = max over i <= k of min over j >= k of mean(values_i .. values_j)``.
    """
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    i, j = np.ogrid[: values.shape[1], : values.shape[1]]
    means = np.where(i <= j, (sums[:, None, 1:] - sums[:, :-1, None]) / np.maximum(j + 1 - i, 1), np.inf)  # (B, i, j)
    least = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    return np.maximum.accumulate(least, axis=1)[:, j[0], j[0]]


def usage_for(table: EpisodeTable, columns: Sequence[Column], share: float) -> Estimate:
    """The least usage at which the isotonic curve has ``share`` of the gap; infinite if it does not."""
    half = len(columns) // 2
    found = means(table, columns)
    if not np.isfinite(found[0]).all():
        return UNKNOWN
    draws = _crossing(found[:, :half], found[:, half:], share)
    ends = np.quantile(draws[1:], [0.025, 0.975], method="inverted_cdf")  # interpolates no infinite value
    return Estimate(float(draws[0]), *map(float, ends))


def _crossing(usage: Floats, success: Floats, share: float) -> Floats:
    """``(B,)`` usages at which curves ``(B, m)`` first have the share; infinite where they do not, or help harms."""
    never, always = success[:, 0], success[:, -1]
    found = first_usage(usage, success, never + share * (always - never))
    return np.where(always > never, found, np.inf)


def first_usage(usage: Floats, success: Floats, wanted: Floats) -> Floats:
    """``(B,)`` usages at which isotonic curves ``(B, m)`` first reach a success ``(B,)``; infinite if they do not."""
    order = np.argsort(usage, axis=1, kind="stable")
    x = np.take_along_axis(usage, order, axis=1)
    y = isotonic(np.take_along_axis(success, order, axis=1))
    enough = y >= wanted[:, None] - 1e-12
    right = np.argmax(enough, axis=1)
    left = np.maximum(right - 1, 0)
    each = np.arange(len(x))
    x0, x1, y0, y1 = x[each, left], x[each, right], y[each, left], y[each, right]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.where(y1 > y0, x0 + (x1 - x0) * (wanted - y0) / (y1 - y0), x1)
    return np.where(enough.any(axis=1), at, np.inf)


def describe_all(results: SplitResults) -> list[CurveRecord]:
    """The estimates of every helper's curve; empty without both anchors, or if always asking does not use more."""
    records = []
    for name in results.between():
        try:
            curve = results.curve(name)
        except InvalidArgumentError:  # always asking does not use more than never asking
            continue
        never, always = results.anchors
        table, columns = results.table, columns_of(never, results.points(name), always)
        record: dict[str, Any] = {"split": table.split, "helper": name, "points": len(curve.usage)}
        for what, estimate in (
            ("area", area(table, columns)),
            ("usage_for_half", usage_for(table, columns, 0.5)),
            ("usage_for_80_percent", usage_for(table, columns, 0.8)),
            ("best_lift", best_lift(table, columns)),
        ):
            record |= {what: plain(estimate.value), f"{what}_ci": plain(estimate)["ci"]}
        record |= {"largest_gap": curve.largest_gap, "missing_usages": curve.missing_usages()}
        records.append(cast(CurveRecord, record))
    return records
