"""Values of stored decisions at a grid of prices, and the values of actions averaged over neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.averagers.model import AveragerModel
from selfreg_gym.averagers.search import Neighbours
from selfreg_gym.solver import Frontier, solve

__all__ = ["ValueTables", "action_values", "chosen_prices"]


@dataclass(frozen=True, eq=False)
class ValueTables:
    """Values after each stored decision, under the optimal policy of each price.

    Attributes:
        success: ``(P, n)`` float32: S of the next decision; at the last decision of an episode, the episode's success.
        usage: ``(P, n)`` float32: M of the next decision, in cost units; 0 at the last decision.
        cost: ``(n,)`` float32, cost units of the logged action.
    """

    success: NDArray[np.float32]
    usage: NDArray[np.float32]
    cost: NDArray[np.float32]

    @classmethod
    def solve(
        cls, model: AveragerModel, prices: NDArray[np.float64], *, folds: Iterable[int] | None = None
    ) -> ValueTables:
        """Solve the model of some folds (all by default) at each price; other decisions have NaN."""
        given, rows = model.decisions, model.rows(None if folds is None else list(folds))
        transitions = model.transitions(None if folds is None else list(folds))
        goes_on = np.flatnonzero(~given.last[rows])  # the next decision is the next row
        after, used = (np.full((len(prices), len(given)), np.nan, np.float32) for _ in range(2))
        for i, price in enumerate(prices.tolist()):
            solution = solve(transitions, help_cost=price)
            success, usage = given.success[rows].astype(float), np.zeros(len(rows))
            success[goes_on] = solution.success[-len(rows) :][goes_on + 1]  # with the most steps left
            usage[goes_on] = solution.usage[-len(rows) :][goes_on + 1]
            after[i, rows], used[i, rows] = success, usage
        return cls(after, used, given.cost.astype(np.float32))


def action_values(near: Neighbours, tables: ValueTables) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The values of actions: averages over the neighbours.

    Args:
        near: the neighbours of n decisions.
        tables: values of the stored decisions at P prices.

    Returns:
        S and M of each action, ``(n, P, A)`` each. Help without neighbours has the S of nohelp and a larger M, so
        that it is never chosen.
    """
    n, actions, _ = near.index.shape
    S, M = (np.empty((n, len(tables.success), actions), np.float32) for _ in range(2))
    for first in range(0, n, 4096):
        block = slice(first, first + 4096)
        index, weight = np.maximum(near.index[block], 0), near.weight[block].astype(np.float32)
        weight_on = weight * (1 - near.fails[block]).astype(np.float32)[..., None]
        cost = (weight * tables.cost[index]).sum(axis=2)
        for p, (success, usage) in enumerate(zip(tables.success, tables.usage, strict=True)):
            S[block, p] = _weighted(weight_on, success[index])
            M[block, p] = cost + _weighted(weight_on, usage[index])
    missing = near.index[:, :, 0] < 0
    missing[:, 0] = False
    if missing.any():
        dearest = max(float(tables.cost.max(initial=0.0)), 1.0)
        S = np.where(missing[:, None], S[..., :1], S)
        M = np.where(missing[:, None], M[..., :1] + dearest, M)
    return S, M


def _weighted(weight: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((weight * np.where(weight > 0, values, 0.0)).sum(axis=2), np.float32)


def chosen_prices(frontier: Frontier, count: int) -> NDArray[np.float64]:
    """Return at most ``count`` rising prices of a frontier, at which the usages cover its range.

    Small usages are denser: the k-th target usage is proportional to k^1.5.
    """
    wanted = float(frontier.usage[-1]) * (np.arange(1, count + 1) / count) ** 1.5
    corner = np.unique(np.abs(frontier.usage[None, :] - wanted[:, None]).argmin(axis=1))
    return np.unique(frontier.help_cost[corner])
