"""Isotonic regression over prices: success and usage of the optimal policy do not rise with the price.

``V_r(s) = max S - r M`` is convex in the price ``r`` with slope ``-M``, so M does not rise with ``r``; nor does S, or a
policy with more success and less usage would exist. The projection is the one of the pooled adjacent violators (Ayer et
al. 1955), for many rows at once by its minimax formula (Robertson, Wright and Dykstra 1988, *Order Restricted
Statistical Inference*, ch. 1):

    y_i = min over j <= i of max over k >= i of mean(x_j .. x_k).
"""

from __future__ import annotations

import numpy as np

__all__ = ["non_increasing"]

CHUNK = 4096  # rows; bounds the memory of the means


def non_increasing(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The nearest sequences (least squares) that do not rise along the last axis.

    Args:
        values: ``(..., P)``.
        weights: ``(P,)`` positive weights of the squares; equal by default.

    Returns:
        An array of the same shape and type; rows without a rise are unchanged.
    """
    flat = values.reshape(-1, values.shape[-1])
    rising = np.flatnonzero((np.diff(flat, axis=1) > 0).any(axis=1))
    result = flat.copy()
    weight = np.ones(flat.shape[1]) if weights is None else np.asarray(weights, np.float64)
    for begin in range(0, len(rising), CHUNK):
        rows = rising[begin : begin + CHUNK]
        result[rows] = _pooled(flat[rows], weight)
    return result.reshape(values.shape)


def _pooled(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    n, count = values.shape
    total = np.r_[0.0, np.cumsum(weight)]
    sums = np.zeros((count + 1, n))
    np.cumsum(values.T * weight[:, None], axis=0, out=sums[1:])
    result = np.full((count, n), np.inf)
    for j in range(count):
        # means of j .. k, and for each i >= j the largest with k >= i
        means = (sums[j + 1 :] - sums[j]) / (total[j + 1 :] - total[j])[:, None]
        upper = np.maximum.accumulate(means[::-1], axis=0)[::-1]
        np.minimum(result[j:], upper, out=result[j:])
    return result.T.astype(values.dtype)
