"""Intervals and paired differences over episodes: the stratified bootstrap, as weights.

A resample of n episodes is a weight per episode, so B resamples are one matrix ``W (B, n)`` and every statistic is a
function of ``W @ x``. The same matrix serves every helper, because every helper plays the same episodes: a difference
taken row by row of ``W @ x_a`` and ``W @ x_b`` is the *paired* difference, and any function of several such means
(a share of a gap, a point read off a curve) gets its interval the same way.

There are two populations:

* the tasks are fixed (those that were collected on): each task is a stratum, and its episodes are resampled;
* the tasks are a sample (new tasks): each kind is a stratum, and whole tasks are resampled with all their episodes.

What is drawn as a whole (an episode, or a task) is called a unit. Within a stratum of m units, m - 1 are drawn and
weighted by m / (m - 1). Drawing m of m would shrink the variance by (m - 1) / m, which is a half for two seeds per task
(Rao and Wu 1988, "Resampling inference with complex survey data", JASA 83). Strata of a single unit carry no
information about their spread and are pooled (Cochran 1977, section 5A.12).

**Few contributing units.** A bootstrap interval is too narrow where few units differ from the rest: it has no width at
all when every episode ends alike. Two corrections:

* A rate has Wilson's interval with an effective number of trials, ``n / d``. The design effect ``d`` is the variance of
  the rate over that of n independent episodes (Kish 1965). With e contributing units it is
  ``(e d + 2 d_max) / (e + 2)``: the estimate, pulled towards the worst case ``d_max``. For sampled tasks that is the
  mean number of episodes per task (all episodes of a task end alike), so that 168 tasks without a failure support
  [0.978, 1] however often each was played. For fixed tasks no design is worse than independent episodes, and 3 events
  are added to the variance.
* Any other statistic has its bootstrap interval, widened by ``sqrt(max(t^2 / z^2, 1 + 3 / e - 9 / m))`` for m units: by
  Student's t, or where few units contribute by about what Wilson's interval has beyond the normal one. ``e`` is
  ``(sum psi^2)^2 / sum psi^4`` of the units' contributions psi: m / 3 for normal ones, the number of failures for a
  rate with few. ``benchmarks/interval_coverage.py`` measures the coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
"""Contributing units for which the worst design effect of a rate counts beside the estimated one."""

MORE_EVENTS = 3.0
"""Events added to the variance of a rate or of any other statistic, so that few events do not look like certainty."""

NO_VARIATION = 1e-12
"""Contributions below this are rounding: no unit differs from the others."""


@dataclass(frozen=True)
class Design:
    """The units that a bootstrap resamples, and the strata within which it does.

    Attributes:
        units: ``(n,)`` the unit (an episode or a task) of each episode, as a code from 0.
        strata: ``(n,)`` the stratum of each episode, as a code from 0.
        fixed_tasks: the strata are the tasks of interest, their episodes the units; otherwise tasks are a sample.
    """

    units: NDArray[np.int64]
    strata: NDArray[np.int64]
    fixed_tasks: bool = True

    @classmethod
    def of(cls, strata: Any, clusters: Any = None) -> Design:
        """The design that :func:`bootstrap_weights` draws from with the same arguments; single units are pooled."""
        labels = _codes(strata)
        units = np.arange(len(labels)) if clusters is None else _codes(clusters)
        of_unit = np.zeros(int(units.max(initial=-1)) + 1, dtype=np.int64)
        of_unit[units] = labels
        single = np.bincount(of_unit)[labels] == 1
        return cls(units, _codes(np.where(single, labels.max(initial=0) + 1, labels)), clusters is None)

    def take(self, rows: NDArray[np.bool_]) -> Design:
        """The design of some of the episodes; ``rows`` is ``(n,)`` bool."""
        if rows.all():
            return self
        return Design.of(self.strata[rows], None if self.fixed_tasks else self.units[rows])

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """``(units,)`` number of units in each unit's stratum."""
        of_unit = np.zeros(int(self.units.max()) + 1, dtype=np.int64)
        of_unit[self.units] = self.strata
        return np.bincount(of_unit)[of_unit]

    @property
    def freedom(self) -> int:
        """Degrees of freedom of a variance over the units: their number less that of the strata, at least 1."""
        return max(len(self.members) - int(self.strata.max()) - 1, 1)

    def contributions(self, values: Floats) -> Floats:
        """The contribution of each unit to the mean of ``values (n, m)``, centred in its stratum: ``(units, m)``.

        Their squares sum to the variance of the mean.
        """
        per_stratum = np.bincount(self.strata)
        columns = []
        for column in values.T:
            centred = column - (np.bincount(self.strata, column) / per_stratum)[self.strata]
            columns.append(np.bincount(self.units, centred) / len(column))
        scale = np.divide(self.members, self.members - 1.0, out=np.ones(len(self.members)), where=self.members > 1)
        return np.stack(columns, axis=1) * np.sqrt(scale)[:, None]


class Estimate(NamedTuple):
    """A number with its interval, all in the same unit."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Floats) -> Estimate:
        """From ``(1 + B,)``: the value, then that of B resamples."""
        return cls(float(draws[0]), *percentile_interval(draws[1:]))

    @property
    def ci(self) -> list[float]:
        """``[low, high]``, as rows carry it."""
        return [self.low, self.high]

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_weights(
    strata: Sequence[Any] | NDArray[Any],
    *,
    clusters: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Floats:
    """Draw ``resamples`` stratified resamples of n episodes, as weights.

    Args:
        strata: ``(n,)`` labels; episodes are exchanged only within a label.
        clusters: ``(n,)`` labels of what is drawn as a whole (tasks), each within one stratum; None draws episodes.
        resamples: B, how many.
        rng: the source of randomness.

    Returns:
        ``(B, n)`` weights; their mean over the rows is 1 for every episode. With clusters of one size each row sums
        to n; otherwise divide by the sum (:func:`estimate_mean` does).

    Raises:
        InvalidArgumentError: no episodes, lengths that differ, or a cluster that lies in two strata.
    """
    labels = _codes(strata)
    n = len(labels)
    if n == 0 or resamples < 1:
        raise InvalidArgumentError(
            f"a bootstrap needs episodes and at least one resample, received {n} and {resamples}."
        )
    unit_of = np.arange(n) if clusters is None else _codes(clusters)
    if len(unit_of) != n:
        raise InvalidArgumentError(f"strata and clusters need one label per episode, received {n} and {len(unit_of)}.")
    units = int(unit_of.max()) + 1
    stratum_of = np.empty(units, dtype=np.int64)
    stratum_of[unit_of] = labels
    if np.any(stratum_of[unit_of] != labels):
        raise InvalidArgumentError("a cluster must lie within one stratum: some task was given two kinds.")
    sizes = np.bincount(stratum_of)
    single = sizes[stratum_of] == 1
    stratum_of[single] = len(sizes)  # pooled: one seed says nothing about the spread over seeds
    weights = np.empty((resamples, units))
    for stratum in np.unique(stratum_of):
        members = np.flatnonzero(stratum_of == stratum)
        m = len(members)
        if m == 1:
            weights[:, members] = 1.0
            continue
        draws = rng.multinomial(m - 1, np.full(m, 1.0 / m), size=resamples)
        weights[:, members] = draws * (m / (m - 1))
    return weights if clusters is None else weights[:, unit_of]


def percentile_interval(draws: Floats, *, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of ``draws (B,)``; NaN draws (an undefined resample) are left out."""
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_means(weights: Floats, values: Floats) -> Floats:
    """Means of ``values (n,)`` or ``(n, m)`` under ``weights (B, n)``: ``(B,)`` or ``(B, m)``. NaN values are left out.

    A resample that drew none of the values gives NaN.
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        if known.all():
            totals = weights.sum(axis=1)
            return (weights @ values) / (totals if values.ndim == 1 else totals[:, None])
        totals = weights @ known.astype(np.float64)
        return (weights @ np.where(known, values, 0.0)) / totals


def effective_units(contributions: Floats) -> float:
    """How many units contribute to a statistic: ``(sum psi^2)^2 / sum psi^4`` of ``contributions (units,)``."""
    squares = np.square(np.asarray(contributions, dtype=np.float64))
    fourth = float(np.square(squares).sum())
    return float(squares.sum()) ** 2 / fourth if squares.max(initial=0.0) > NO_VARIATION**2 and fourth > 0 else 0.0


def widening(contributions: Floats, freedom: int, *, level: float = 0.95) -> float:
    """By how much a bootstrap interval is widened, given the ``contributions (units,)`` to the statistic; at least 1.

    ``freedom`` is the number of degrees of freedom of its variance. 1 where no unit contributes anything.
    """
    effective = effective_units(contributions)
    if not effective:
        return 1.0
    few = 1 + MORE_EVENTS / effective - 3 * MORE_EVENTS / len(contributions)
    return float(np.sqrt(max(student_factor(freedom, level), few)))


def student_factor(freedom: int, level: float = 0.95) -> float:
    """The square of Student's quantile over the normal one: by how much a variance is enlarged for few units."""
    from scipy.special import stdtrit

    return float((stdtrit(freedom, (1 + level) / 2) / _normal(level)) ** 2)


def _normal(level: float) -> float:
    from statistics import NormalDist  # the standard library's, not this module

    return NormalDist().inv_cdf((1 + level) / 2)


def estimate_mean(values: Floats, weights: Floats, *, design: Design | None = None, level: float = 0.95) -> Estimate:
    """Mean of ``values (n,)`` with its bootstrap interval.

    Args:
        values: ``(n,)``; NaN values are left out.
        weights: ``(B, n)`` of :func:`bootstrap_weights`.
        design: of the weights (default: independent episodes); the interval is widened for few units, and is not
            below 0 unless a value is.
        level: of the interval.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    design = (Design.of(np.zeros(len(values))) if design is None else design).take(known)
    value = float(values[known].mean())
    low, high = percentile_interval(resampled_means(weights, values), level=level)
    wider = widening(design.contributions(values[known][:, None])[:, 0], design.freedom, level=level)
    low, high = value + wider * (low - value), value + wider * (high - value)
    return Estimate(value, max(low, 0.0) if values[known].min() >= 0 else low, high)


def estimate_rate(outcomes: Floats, weights: Floats, *, design: Design | None = None, level: float = 0.95) -> Estimate:
    """The share of successes among ``outcomes (n,)`` in [0, 1] (NaN left out), with its interval.

    The interval is Wilson's with the effective number of trials of the ``design`` (default: independent
    episodes). See the head of this module.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    known = np.isfinite(outcomes)
    n = int(known.sum())
    if not n:
        return estimate_mean(outcomes, weights, level=level)
    design = (Design.of(np.zeros(len(outcomes))) if design is None else design).take(known)
    some = outcomes[known]
    rate = float(some.mean())
    binomial = rate * (1 - rate)
    draws = resampled_means(weights, outcomes)
    variance = float(np.nanvar(draws)) if np.isfinite(draws).any() else 0.0
    if design.fixed_tasks:
        trials = max(float(n), binomial / (variance + MORE_EVENTS / n**2))
    else:
        freedom = design.freedom
        worst, effect = n / len(design.members), 0.0
        effective = effective_units(design.contributions(some[:, None])[:, 0])
        if binomial > 0:
            effect = variance * n / binomial * student_factor(freedom, level)
        effect = (effective * effect + PRIOR_UNITS * worst) / (effective + PRIOR_UNITS)
        trials = n / min(effect, worst * max(student_factor(freedom, level), 1.0))
    return Estimate(rate, *_wilson(rate, trials, level))


def wilson_interval(successes: float, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927, JASA 22), for tiny samples and rates near 0 or 1.

    Raises:
        InvalidArgumentError: no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InvalidArgumentError(
            f"a rate needs at least one trial and 0 <= successes <= trials, received {successes} of {trials}."
        )
    return _wilson(successes / trials, trials, level)


def _wilson(rate: float, trials: float, level: float) -> tuple[float, float]:
    z = _normal(level)
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _codes(labels: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """Number the distinct labels from 0."""
    values = np.asarray(labels)
    if values.dtype == object:
        values = values.astype(str)
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
