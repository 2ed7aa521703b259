"""Isotonic regression over prices: success and usage of the optimal policy do not rise with the price.

``V_r(s) = max S - r M`` is convex in the price ``r`` with slope ``-M``, so M does not rise with ``r``; nor does S, or a
policy with more success and less usage would exist. The projection is that of the pool-adjacent-violators algorithm
(Ayer et al. 1955), computed for many rows at once by the minimax formula (Robertson, Wright and Dykstra 1988, *Order
Restricted Statistical Inference*, ch. 1):

    y_i = min over j <= i of max over k >= i of mean(x_j .. x_k).
"""

from __future__ import annotations

import numpy as np

__all__ = ["non_increasing"]

CHUNK = 4096  # rows; bounds the memory of the means


def non_increasing(values: np.ndarray) -> np.ndarray:
    """The nearest sequences (least squares) that do not rise along the last axis.

    Args:
        values: ``(..., P)``.

    Returns:
        An array of the same shape and type; rows without a rise are unchanged.
    """
    flat = values.reshape(-1, values.shape[-1])
    rising = np.flatnonzero((np.diff(flat, axis=1) > 0).any(axis=1))
    result = flat.copy()
    for begin in range(0, len(rising), CHUNK):
        rows = rising[begin : begin + CHUNK]
        result[rows] = _pooled(flat[rows])
    return result.reshape(values.shape)


def _pooled(values: np.ndarray) -> np.ndarray:
    """The minimax formula for ``(n, P)`` values."""
    n, count = values.shape
    sums = np.zeros((count + 1, n))
    np.cumsum(values.T.astype(np.float64), axis=0, out=sums[1:])
    result = np.full((count, n), np.inf)
    for j in range(count):
        # means of j .. k, and for each i >= j the largest with k >= i
        means = (sums[j + 1 :] - sums[j]) / np.arange(1.0, count - j + 1)[:, None]
        upper = np.maximum.accumulate(means[::-1], axis=0)[::-1]
        np.minimum(result[j:], upper, out=result[j:])
    return result.T.astype(values.dtype)
