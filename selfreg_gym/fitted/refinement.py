"""The policies between the prices of the grid: more of them are evaluated where usage or success jumps.

Between two prices the policy follows interpolated gains, and its usage is not a linear function of the price: near a
price of 0 help is free, and a policy that asks twice becomes one that asks in every step. Intervals across which the
estimates change by a large step are therefore halved, again and again, until the steps are small.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["LARGEST_STEP", "interpolated", "refined"]

LARGEST_STEP = 0.03
"""Intervals are halved if success changes by more than this, or usage by more than this share of the largest usage."""
HALVINGS = 5
"""The shortest intervals are 2 ** -HALVINGS of one of the grid."""


def refined(
    prices: np.ndarray, evaluate: Callable[[float], np.ndarray], *, halvings: int = HALVINGS
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate the policies at the prices of a grid, and between them where the estimates jump.

    Args:
        prices: ``(P,)`` rising.
        evaluate: returns the terms ``(E, 2)`` of the policy at a price, whose means are its success and usage.
        halvings: how often an interval can be halved.

    Returns:
        ``(Q,)`` rising prices, among them all of ``prices``, and the terms ``(Q, E, 2)``.
    """
    points = [(float(price), evaluate(float(price))) for price in prices]
    for _ in range(halvings):
        means = np.array([terms.mean(axis=0) for _, terms in points])
        limits = LARGEST_STEP * np.array([1.0, max(float(means[:, 1].max()), 1e-9)])
        large = np.any(np.abs(np.diff(means, axis=0)) > limits, axis=1).tolist()
        halved = []
        for i, point in enumerate(points):
            halved.append(point)
            if i < len(large) and large[i] and (middle := (point[0] + points[i + 1][0]) / 2) > point[0]:
                halved.append((middle, evaluate(middle)))
        if len(halved) == len(points):
            break
        points = halved
    return np.array([price for price, _ in points]), np.stack([terms for _, terms in points])


def interpolated(prices: np.ndarray, price: float) -> tuple[int, int, float]:
    """``(i, j, share)``: a price between the grid's is ``(1 - share)`` times the i-th plus ``share`` times the j-th.

    A price beyond an end counts as the end.
    """
    j = int(np.clip(np.searchsorted(prices, price, side="right"), 1, len(prices) - 1))
    i = j - 1
    width = max(float(prices[j] - prices[i]), 1e-12)
    return i, j, float(np.clip((price - prices[i]) / width, 0.0, 1.0))
