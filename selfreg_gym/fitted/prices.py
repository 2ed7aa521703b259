"""The grid of prices: a first grid for any problem, then one with equal steps of success and usage."""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.isotonic import non_increasing

__all__ = ["first_prices", "interpolation", "relocated_prices"]

NEVER = 0.01
"""A policy whose usage is below this share of the largest usage counts as never asking."""


def first_prices(count: int, smallest_cost: float) -> np.ndarray:
    """``(count,)`` rising prices from 0 to 1 / ``smallest_cost``, denser at low prices.

    At the highest price the cheapest call costs 1, the difference between success and failure, so help never pays.
    """
    return np.linspace(0.0, 1.0, count) ** 2 / smallest_cost


def relocated_prices(prices: np.ndarray, success: np.ndarray, usage: np.ndarray, *, even: float = 0.2) -> np.ndarray:
    """Prices with equal steps of usage and success, half of each.

    Args:
        prices: ``(P,)`` rising prices.
        success, usage: ``(P,)`` of the greedy policy at each price; these are estimates, so they may rise in places.
        even: share of the grid that is spaced equally in the square root of the price instead, so that no stretch of
            prices is left without points.

    Returns:
        ``(P,)`` rising prices. The first is 0, and the last the lowest at which almost no help is asked.
    """
    count = len(prices)
    curves = [non_increasing(np.asarray(curve, np.float64)) for curve in (success, usage)]
    highest, least = float(curves[1][0]), float(curves[1][-1])
    if highest <= 0:
        return prices
    # The last price: where usage falls below a small share of the largest, and one step of the old grid more.
    below = np.flatnonzero(curves[1] <= max(NEVER * highest, least))
    top = float(prices[min(int(below[0]) + 1, count - 1)])
    fine = np.linspace(0.0, np.sqrt(top), 2001) ** 2
    position = even * np.linspace(0.0, 1.0, len(fine))
    for curve in curves:
        at = np.interp(fine, prices, curve)
        position += (1 - even) / 2 * (at[0] - at) / max(at[0] - at[-1], 1e-12)
    found = np.interp(np.linspace(0.0, position[-1], count), position, fine)
    found[0], found[-1] = 0.0, top
    return found


def interpolation(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """``(len(new), len(old))`` weights of linear interpolation between prices; constant beyond the ends."""
    right = np.clip(np.searchsorted(old, new, side="right"), 1, len(old) - 1)
    left = right - 1
    share = np.clip((new - old[left]) / np.maximum(old[right] - old[left], 1e-12), 0.0, 1.0)
    weights = np.zeros((len(new), len(old)))
    rows = np.arange(len(new))
    weights[rows, left] += 1 - share
    weights[rows, right] += share
    return weights
