"""Subsampling of weighted rows such that weighted means stay unbiased."""

from __future__ import annotations

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["resample", "subsample"]


def subsample(weights: np.ndarray, size: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Select at most ``size`` rows with probability proportional to weight, and reweight them.

    Systematic sampling (Madow 1949): row i is selected with probability ``pi_i = min(1, c * w_i)``, with c such that
    the ``pi_i`` sum to ``size``, and has weight ``w_i / pi_i`` afterwards. Weighted totals over the sample are then
    unbiased. Rows of weight 0 are never selected.

    Args:
        weights: ``(N,)`` non-negative, not all 0.
        size: number of rows; None, or more than there are, selects all rows of positive weight.
        rng: the random generator.

    Returns:
        Sorted row indices ``(n,)`` and their weights ``(n,)``, scaled to a mean of 1.

    Raises:
        InvalidArgumentError: ``weights`` or ``size`` is out of range.
    """
    weights = _checked(weights, size)
    chosen = np.flatnonzero(weights)
    if size is None or size >= len(chosen):
        kept = weights[chosen]
        return chosen, kept / kept.mean()
    order = rng.permutation(chosen)  # shuffled, since neighbouring rows are steps of one episode
    probability = _inclusion_probabilities(weights[order], size)
    edges = np.concatenate([[0.0], np.cumsum(probability)]) + rng.random()
    hit = np.floor(edges[1:]) > np.floor(edges[:-1])
    rows, left = order[hit], (weights[order] / probability)[hit]
    by_index = np.argsort(rows)
    return rows[by_index], (left / left.mean())[by_index]


def resample(weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``size`` rows of equal weight: row i occurs ``size * w_i / sum w`` times, rounded up or down at random.

    Systematic resampling (Kitagawa 1996), for stochastic gradients that a few rows of large weight would dominate.

    Args:
        weights: ``(N,)`` non-negative, not all 0.
        size: number of draws, at least 1.
        rng: the random generator.

    Returns:
        Row indices ``(size,)`` in ascending order, with repetitions.

    Raises:
        InvalidArgumentError: ``weights`` or ``size`` is out of range.
    """
    weights = _checked(weights, size)
    order = rng.permutation(np.flatnonzero(weights))
    edges = np.cumsum(weights[order])
    drawn = np.searchsorted(edges / edges[-1], (np.arange(size) + rng.random()) / size, side="right")
    return np.sort(order[np.minimum(drawn, len(order) - 1)])


def _checked(weights: np.ndarray, size: int | None) -> np.ndarray:
    """Validate the arguments and return the weights as float64."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InvalidArgumentError(
            f"weights must be a vector of non-negative numbers, not all 0, received shape {weights.shape}."
        )
    if size is not None and size < 1:
        raise InvalidArgumentError(f"a sample must hold at least 1 row, received size={size!r}.")
    return weights


def _inclusion_probabilities(weights: np.ndarray, size: int) -> np.ndarray:
    """Return probabilities ``min(1, c * w)`` that sum to ``size``."""
    certain = np.zeros(len(weights), dtype=bool)
    while True:
        free = size - certain.sum()
        probability = np.where(certain, 1.0, weights * (free / weights[~certain].sum()))
        above = ~certain & (probability >= 1.0)
        if not above.any():
            return probability
        certain |= above
