"""Intervals and paired differences over episodes: the stratified bootstrap, as weights.

A resample of n episodes is a weight per episode, so B resamples are one matrix ``W (B, n)`` and every statistic is a
function of ``W @ x``. The same matrix serves every helper, because every helper plays the same episodes: a difference
taken row by row of ``W @ x_a`` and ``W @ x_b`` is the *paired* difference, and any function of several such means
(a share of a gap, a point read off a curve) gets its interval the same way.

Two populations, told apart by ``clusters``:

* tasks are fixed (the tasks that were collected on): each task is a stratum, its episodes are resampled;
* tasks are a sample of many (new tasks): each kind is a stratum, whole tasks are resampled with all their episodes.

Within a stratum of m units, m - 1 are drawn and weighted by m / (m - 1). Drawing m of m would shrink the variance by
(m - 1) / m, which is a half for two seeds per task (Rao and Wu 1988, "Resampling inference with complex survey data",
JASA 83). Strata of a single unit carry no information about their spread and are pooled (Cochran 1977, section 5A.12).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["Estimate", "bootstrap_weights", "estimate_mean", "estimate_rate", "percentile_interval", "wilson_interval"]

Floats = NDArray[np.float64]

FEW = 5
"""With fewer successes, or failures, than this the bootstrap of a rate is too narrow, and Wilson's interval is used."""


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


def estimate_mean(values: Floats, weights: Floats, *, level: float = 0.95) -> Estimate:
    """Mean of ``values (n,)`` (NaN left out) with its percentile bootstrap interval under ``weights (B, n)``."""
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    return Estimate(float(values[known].mean()), *percentile_interval(resampled_means(weights, values), level=level))


def estimate_rate(outcomes: Floats, weights: Floats, *, level: float = 0.95) -> Estimate:
    """The share of successes among ``outcomes (n,)`` in [0, 1] (NaN left out), with its interval.

    The bootstrap of a rate at 0 or 1 has no width; with fewer than five successes or failures Wilson's interval takes
    its place.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    known = outcomes[np.isfinite(outcomes)]
    successes = float(known.sum())
    if known.size and min(successes, known.size - successes) < FEW:
        return Estimate(float(known.mean()), *wilson_interval(successes, known.size, level=level))
    return estimate_mean(outcomes, weights, level=level)


def wilson_interval(successes: float, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927, JASA 22), for tiny samples and rates near 0 or 1.

    Raises:
        InvalidArgumentError: no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InvalidArgumentError(
            f"a rate needs at least one trial and 0 <= successes <= trials, received {successes} of {trials}."
        )
    from statistics import NormalDist  # the standard library's, not this module

    z = NormalDist().inv_cdf((1 + level) / 2)
    rate = successes / trials
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
