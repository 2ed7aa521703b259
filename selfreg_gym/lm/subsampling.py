"""Drawing a subset of weighted rows, so that what is drawn still stands for all of them."""

from __future__ import annotations

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["resample", "subsample"]


def subsample(weights: np.ndarray, size: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw at most ``size`` rows with probability proportional to weight, and give each what weight it still needs.

    Systematic sampling (Madow 1949): row i is drawn with probability ``pi_i = min(1, c * w_i)`` and weighs
    ``w_i / pi_i`` afterwards, so every weighted mean over the sample is unbiased. Rows of weight 0 are never drawn.

    Args:
        weights: ``(N,)`` non-negative, not all 0.
        size: the number of rows wanted; None, or more than there are, keeps all rows of positive weight.

    Returns:
        Sorted row indices ``(n,)`` and their weights ``(n,)``, scaled to a mean of 1.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InvalidArgumentError(
            f"weights must be a vector of non-negative numbers, not all 0, received shape {weights.shape}."
        )
    if size is not None and size < 1:
        raise InvalidArgumentError(f"a sample must hold at least 1 row, received size={size!r}.")
    chosen = np.flatnonzero(weights)
    if size is None or size >= len(chosen):
        kept = weights[chosen]
        return chosen, kept / kept.mean()
    order = rng.permutation(chosen)  # neighbours (steps of one episode) must not be drawn in lockstep
    probability = _inclusion(weights[order], size)
    edges = np.concatenate([[0.0], np.cumsum(probability)]) + rng.random()
    hit = np.floor(edges[1:]) > np.floor(edges[:-1])
    rows, left = order[hit], (weights[order] / probability)[hit]
    by_index = np.argsort(rows)
    return rows[by_index], (left / left.mean())[by_index]


def resample(weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``size`` rows that count alike: row i comes ``size * w_i / sum w`` times, rounded up or down at random.

    For stochastic gradients, which a few heavy rows would rule. Systematic resampling (Kitagawa 1996).

    Args:
        weights: ``(N,)`` non-negative, not all 0.
        size: the number of draws, at least 1.

    Returns:
        Row indices ``(size,)`` in ascending order, with repetitions.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InvalidArgumentError(
            f"weights must be a vector of non-negative numbers, not all 0, received shape {weights.shape}."
        )
    if size < 1:
        raise InvalidArgumentError(f"a sample must hold at least 1 row, received size={size!r}.")
    order = rng.permutation(np.flatnonzero(weights))
    edges = np.cumsum(weights[order])
    drawn = np.searchsorted(edges / edges[-1], (np.arange(size) + rng.random()) / size, side="right")
    return np.sort(order[np.minimum(drawn, len(order) - 1)])


def _inclusion(weights: np.ndarray, size: int) -> np.ndarray:
    """Probabilities ``min(1, c * w)`` that sum to ``size``."""
    certain = np.zeros(len(weights), dtype=bool)
    while True:
        free = size - certain.sum()
        probability = np.where(certain, 1.0, weights * (free / weights[~certain].sum()))
        above = ~certain & (probability >= 1.0)
        if not above.any():
            return probability
        certain |= above
