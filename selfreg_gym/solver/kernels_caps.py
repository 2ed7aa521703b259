"""The compiled pass under hard limits, for every number of calls left at once (:mod:`selfreg_gym.solver.caps`).

``values`` is ``(n, 2 c + 2)``: S and M with no call left, then with one, and so on, so that all values of a successor
are read together.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.solver.compiling import compiled
from selfreg_gym.solver.kernels import sweep_blocks
from selfreg_gym.solver.modes import FREE

__all__ = ["sweep_caps"]


@compiled
def _ahead(row, skip, offset, nodes, indptr, indices, data, drop, success, cost, discount, values, ahead):
    """Fill ``ahead`` from column ``skip`` on with S and M of one row; its step uses up ``skip / 2`` calls."""
    columns = np.uint64(len(ahead) - skip)
    ahead = ahead[skip:]
    for x in range(columns):
        ahead[x] = 0.0
    for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
        to = np.uint64(indices[k])
        if drop is not None:
            at = offset + np.int64(indices[k]) - np.int64(drop[k]) * nodes
            if at < 0:
                continue
            to = np.uint64(at)
        p = data[k]
        for x in range(columns):
            ahead[x] += p * values[to, x]
    for x in range(np.uint64(0), columns, np.uint64(2)):
        ahead[x] = success[row] + discount * ahead[x]
        ahead[x + np.uint64(1)] = cost[row] + discount * ahead[x + np.uint64(1)]


@compiled
def sweep_caps(
    first, last, starts, cyclic, offset, nodes, actions, indptr, indices, data, drop, success, cost, price, discount,
    eps, alone, alone_success, alone_cost, values, policy,
):  # fmt: skip
    """Solve the components ``first`` to ``last``, none larger than fits a dense solve, with every number of calls left.

    Within a component only states with equally many calls left lead to each other, because help leaves one less. So a
    cyclic component is solved for one number after another: nohelp's rows ``alone`` (indptr, indices, data, drop,
    leaving) are its cycles, and help is an end, whose values are put into ``alone_success`` and ``alone_cost``.
    """
    caps = values.shape[1] // 2
    ahead = np.empty(2 * caps)
    for c in range(first, last):
        low, high = starts[c], starts[c + 1]
        if cyclic[c]:
            for left in range(caps):
                for i in range(low, high):
                    for a in range(1, actions):
                        row = i * actions + a
                        alone_cost[row] = np.inf
                        if left > 0 and cost[row] != np.inf:
                            _ahead(row, 2 * left, offset, nodes, indptr, indices, data, drop, success, cost, discount,
                                   values[:, 2 * left - 2 :], ahead[: 2 * left + 2])  # fmt: skip
                            alone_success[row] = ahead[2 * left]
                            alone_cost[row] = ahead[2 * left + 1]
                sweep_blocks(
                    c, c + 1, starts, cyclic, offset, nodes, actions, alone[0], alone[1], alone[2], alone[3],
                    alone_success, alone_cost, price, discount, eps, False, FREE, alone[4], values[:, 2 * left :],
                    policy[:, left],
                )  # fmt: skip
            continue
        row = low * actions
        at = offset + low
        _ahead(row, 0, offset, nodes, indptr, indices, data, drop, success, cost, discount, values, values[at])
        for left in range(caps):
            policy[at, left] = 0
        for a in range(1, actions):
            if cost[row + a] == np.inf:
                continue
            _ahead(row + a, 2, offset, nodes, indptr, indices, data, drop, success, cost, discount, values, ahead)
            for left in range(1, caps):
                s, m = ahead[2 * left], ahead[2 * left + 1]
                best_s, best_m = values[at, 2 * left], values[at, 2 * left + 1]
                gain = (s - price * m) - (best_s - price * best_m)
                if gain > eps or (gain >= -eps and best_m - m > eps):
                    values[at, 2 * left] = s
                    values[at, 2 * left + 1] = m
                    policy[at, left] = a
