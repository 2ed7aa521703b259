"""95 % confidence intervals of means and rates over episodes: the stratified bootstrap, expressed as weights.

**Resampling.** A resample of n episodes is a vector of n weights, so B resamples are a matrix ``W (B, n)``. The mean of
a measure ``x (n,)`` in each resample is ``W @ x / W.sum(axis=1)``. All helpers play the same episodes and share ``W``.
Differences within each resample are therefore *paired* differences, and any function of several means (a share of the
gap, a point of a curve) has an interval of the same kind.

There are two populations:

* fixed tasks: all episodes of the same tasks. The strata are the tasks, the units are the episodes;
* sampled tasks: all tasks of the same kinds. The strata are the kinds, the units are the tasks with all their episodes.

Units are resampled within their stratum. From a stratum of m units, m - 1 are drawn with replacement, each with weight
m / (m - 1). With m draws the variance would be too small by the factor (m - 1) / m, one half for two episodes per task
(Rao and Wu 1988, "Resampling inference with complex survey data", JASA 83). A stratum of one unit gives no estimate of
its variance, so these strata are pooled (Cochran 1977, "Sampling techniques", section 5A.12).

**Rates** have Wilson's score interval (Wilson 1927, JASA 22) with ``n / d`` trials. The design effect ``d`` is the
ratio of the bootstrap variance of the rate p to ``p (1 - p) / n``, that of n independent episodes (Kish 1965, "Survey
sampling"):

* sampled tasks: ``d = (e d_boot + 2 d_max) / (e + 2)``, the estimate shrunk towards the worst case. In the worst case
  all episodes of a task have the same outcome, and ``d_max = n / m`` is the mean number of episodes per task. It has
  the weight of 2 effective units, the estimate that of the ``e`` observed ones. So 168 tasks without a failure give
  [0.978, 1] for any number of episodes;
* fixed tasks: ``d`` is at most 1, because stratification does not increase the variance, and 3 events, ``3 / n^2``, are
  added to the variance.

**Other statistics** have the percentile interval of the bootstrap. It is too narrow if few units differ from the
others, and has width 0 if none does. For m units it is widened by ``sqrt(max(t^2 / z^2, 1 + 3 / e - 9 / m))``. The
first term is the squared ratio of the quantiles of Student's t and the normal distribution. With few effective units,
the second one is about the squared ratio of the widths of Wilson's interval and the normal interval. The variance of a
rate over sampled tasks is also multiplied by ``t^2 / z^2``.

The number of **effective units** is ``e = (sum psi^2)^2 / sum psi^4``, where psi are the contributions of the units to
the statistic (its influence function). It is m / 3 for normal contributions, and the number of failures for a rate with
few failures. ``benchmarks/interval_coverage.py`` measures the coverage of all intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError

__all__ = [
    "Design",
    "Estimate",
    "bootstrap_weights",
    "effective_units",
    "estimate_mean",
    "estimate_rate",
    "percentile_interval",
    "student_factor",
    "widening",
    "wilson_interval",
]

Floats = NDArray[np.float64]

PRIOR_UNITS = 2.0
"""Weight of the worst design effect of a rate, in effective units."""

LEVEL = 0.95
"""The level of all intervals."""

Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""The quantile of the normal distribution, 1.96."""

EXTRA_EVENTS = 3.0
"""Events added to the variance of a statistic, so that a few events do not give a narrow interval."""

ROUNDING = 1e-12
"""Contributions below this are rounding errors."""


@dataclass(frozen=True)
class Design:
    """The units that the bootstrap resamples, and their strata.

    Attributes:
        units: ``(n,)`` the unit (an episode or a task) of each episode, numbered from 0.
        strata: ``(n,)`` the stratum of each episode, numbered from 0.
        fixed_tasks: the units are episodes and the strata tasks; False: the units are tasks.
    """

    units: NDArray[np.int64]
    strata: NDArray[np.int64]
    fixed_tasks: bool = True

    @classmethod
    def of(cls, strata: Any, clusters: Any = None) -> Design:
        """The design for labels ``strata`` and ``clusters``, both ``(n,)``; strata of one unit are pooled.

        Without clusters each episode is a unit.
        """
        labels = _codes(strata)
        units = np.arange(len(labels)) if clusters is None else _codes(clusters)
        single = np.bincount(_per_unit(units, labels))[labels] == 1
        return cls(units, _codes(np.where(single, labels.max(initial=0) + 1, labels)), clusters is None)

    def take(self, chosen: NDArray[np.bool_]) -> Design:
        """The design of a part of the episodes; ``chosen`` is ``(n,)`` bool."""
        if chosen.all():
            return self
        return Design.of(self.strata[chosen], None if self.fixed_tasks else self.units[chosen])

    @cached_property
    def unit_strata(self) -> NDArray[np.int64]:
        """``(units,)`` the stratum of each unit."""
        return _per_unit(self.units, self.strata)

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """``(units,)`` the number of units in each unit's stratum."""
        return np.bincount(self.unit_strata)[self.unit_strata]

    @property
    def freedom(self) -> int:
        """Degrees of freedom of a variance over the units: units minus strata, at least 1."""
        return max(len(self.members) - int(self.strata.max()) - 1, 1)

    def contributions(self, values: Floats) -> Floats:
        """The contribution of each unit to the means of ``values (n, m)``: ``(units, m)``.

        Contributions are centred in each stratum; the sum of their squares is the variance of the mean.
        """
        per_stratum = np.bincount(self.strata)
        columns = []
        for column in values.T:
            centred = column - (np.bincount(self.strata, column) / per_stratum)[self.strata]
            columns.append(np.bincount(self.units, centred) / len(column))
        scale = np.divide(self.members, self.members - 1.0, out=np.ones(len(self.members)), where=self.members > 1)
        return np.stack(columns, axis=1) * np.sqrt(scale)[:, None]


class Estimate(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def ci(self) -> list[float]:
        """``[low, high]``, the form of intervals in result rows."""
        return [self.low, self.high]

    def within(self, least: float, greatest: float) -> Estimate:
        """The same estimate with its interval cut to ``[least, greatest]``."""
        return Estimate(self.value, max(self.low, least), min(self.high, greatest))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_weights(
    strata: Sequence[Any] | NDArray[Any],
    *,
    clusters: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Floats:
    """Draw B stratified resamples of n episodes as weights.

    Args:
        strata: ``(n,)`` labels; units are resampled within a label.
        clusters: ``(n,)`` labels of the units (tasks), each within one stratum; None: each episode is a unit.
        resamples: B.
        rng: the random generator.

    Returns:
        ``(B, n)`` weights, whose mean over the resamples is 1 in expectation. The weights of a resample sum to n if all
        units have the same number of episodes; :func:`resampled_means` divides by their sum.

    Raises:
        InvalidArgumentError: no episodes or resamples, lengths that differ, or a cluster in two strata.
    """
    labels = _codes(strata)
    n = len(labels)
    if n == 0 or resamples < 1:
        raise InvalidArgumentError(
            f"a bootstrap needs episodes and at least one resample, received {n} episodes and {resamples} resamples."
        )
    units = np.arange(n) if clusters is None else _codes(clusters)
    if len(units) != n:
        raise InvalidArgumentError(f"strata and clusters need one label per episode, received {n} and {len(units)}.")
    if np.any(_per_unit(units, labels)[units] != labels):
        raise InvalidArgumentError("a cluster must be within one stratum, and a task has two kinds.")
    design = Design.of(labels, clusters)
    weights = np.empty((resamples, len(design.members)))
    for stratum in range(int(design.strata.max()) + 1):
        members = np.flatnonzero(design.unit_strata == stratum)
        m = len(members)
        if m == 1:
            weights[:, members] = 1.0
            continue
        draws = rng.multinomial(m - 1, np.full(m, 1.0 / m), size=resamples)
        weights[:, members] = draws * (m / (m - 1))
    return weights if clusters is None else weights[:, units]


def percentile_interval(draws: Floats) -> tuple[float, float]:
    """The central interval of ``draws (B,)``; NaN (an undefined resample) is ignored."""
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resampled_means(weights: Floats, values: Floats) -> Floats:
    """Means of ``values (n,)`` or ``(n, m)`` under ``weights (B, n)``: ``(B,)`` or ``(B, m)``.

    NaN values are ignored; a resample in which no other value has a weight gives NaN.
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        if known.all():
            totals = weights.sum(axis=1)
            return (weights @ values) / (totals if values.ndim == 1 else totals[:, None])
        totals = weights @ known.astype(np.float64)
        return (weights @ np.where(known, values, 0.0)) / totals


def effective_units(contributions: Floats) -> float:
    """The effective number of units, ``(sum psi^2)^2 / sum psi^4``, of ``contributions`` psi ``(units,)``."""
    squares = np.square(np.asarray(contributions, dtype=np.float64))
    fourth = float(np.square(squares).sum())
    return float(squares.sum()) ** 2 / fourth if squares.max(initial=0.0) > ROUNDING**2 and fourth > 0 else 0.0


def widening(contributions: Floats, freedom: int) -> float:
    """The factor, at least 1, by which a bootstrap interval is widened: ``sqrt(max(t^2 / z^2, 1 + 3 / e - 9 / m))``.

    Args:
        contributions: ``(m,)`` of the units to the statistic; if all are 0, the factor is 1.
        freedom: degrees of freedom of the variance.
    """
    effective = effective_units(contributions)
    if not effective:
        return 1.0
    few = 1 + EXTRA_EVENTS / effective - 3 * EXTRA_EVENTS / len(contributions)
    return float(np.sqrt(max(student_factor(freedom), few)))


def student_factor(freedom: int) -> float:
    """``t^2 / z^2``: the squared ratio of the quantile of Student's t to the normal one."""
    from scipy.special import stdtrit

    return float((stdtrit(freedom, (1 + LEVEL) / 2) / Z) ** 2)


def estimate_mean(values: Floats, weights: Floats, *, design: Design | None = None) -> Estimate:
    """The mean of ``values`` with its bootstrap interval, widened for few units.

    Args:
        values: ``(n,)``; NaN is ignored. If none is negative, the interval does not go below 0.
        weights: ``(B, n)`` from :func:`bootstrap_weights`.
        design: of the weights; by default independent episodes.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    design = (Design.of(np.zeros(len(values))) if design is None else design).take(known)
    value = float(values[known].mean())
    low, high = percentile_interval(resampled_means(weights, values))
    wider = widening(design.contributions(values[known][:, None])[:, 0], design.freedom)
    low, high = value + wider * (low - value), value + wider * (high - value)
    return Estimate(value, max(low, 0.0) if values[known].min() >= 0 else low, high)


def estimate_rate(outcomes: Floats, weights: Floats, *, design: Design | None = None) -> Estimate:
    """The mean of ``outcomes (n,)`` in [0, 1] with Wilson's interval for the design's effective number of trials.

    The arguments are those of :func:`estimate_mean`, the formulas those at the head of this module.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    known = np.isfinite(outcomes)
    n = int(known.sum())
    if not n:
        return estimate_mean(outcomes, weights)
    design = (Design.of(np.zeros(len(outcomes))) if design is None else design).take(known)
    rate = float(outcomes[known].mean())
    binomial = rate * (1 - rate)
    draws = resampled_means(weights, outcomes)
    variance = float(np.nanvar(draws)) if np.isfinite(draws).any() else 0.0
    if design.fixed_tasks:
        trials = max(float(n), binomial / (variance + EXTRA_EVENTS / n**2))
    else:
        freedom = design.freedom
        worst, effect = n / len(design.members), 0.0
        effective = effective_units(design.contributions(outcomes[known][:, None])[:, 0])
        if binomial > 0:
            effect = variance * n / binomial * student_factor(freedom)
        effect = (effective * effect + PRIOR_UNITS * worst) / (effective + PRIOR_UNITS)
        trials = n / min(effect, worst * max(student_factor(freedom), 1.0))
    return Estimate(rate, *wilson_interval(rate, trials))


def wilson_interval(rate: float, trials: float) -> tuple[float, float]:
    """Wilson's score interval of a rate in [0, 1] over a number of trials (Wilson 1927, JASA 22)."""
    scale = 1 + Z * Z / trials
    centre = (rate + Z * Z / (2 * trials)) / scale
    half = Z / scale * np.sqrt(rate * (1 - rate) / trials + Z * Z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _per_unit(units: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(units,)`` the label of each unit, from the ``labels (n,)`` of its episodes."""
    found = np.zeros(int(units.max(initial=-1)) + 1, dtype=np.int64)
    found[units] = labels
    return found


def _codes(labels: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """The labels as numbers from 0, in sorted order."""
    values = np.asarray(labels)
    if values.dtype == object:
        values = values.astype(str)
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
