"""The compiled pass under hard caps, for all numbers of calls left at once (:mod:`selfreg_gym.solver.caps`).

For caps 0 to c, ``values`` is ``(n, 2 c + 2)``: S and M with no call left, with one call left, and so on, so that the
values of a successor are adjacent in memory. ``policy`` is ``(n, c + 1)``. The other arguments are those of
:mod:`selfreg_gym.solver.kernels`.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.solver.compiling import compiled
from selfreg_gym.solver.kernels import sweep_blocks
from selfreg_gym.solver.modes import FREE

__all__ = ["sweep_caps"]


@compiled
def _backup_row(row, skip, offset, nodes, indptr, indices, data, drop, success, cost, discount, values, ahead):
    """Fill ``ahead (2 c + 2,)`` from column ``skip`` on with S and M of one row, which takes ``skip / 2`` calls."""
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
    eps, nohelp, nohelp_success, nohelp_cost, values, policy,
):  # fmt: skip
    """Solve the components from ``first`` to ``last`` (exclusive), small enough for a dense solve, for all calls left.

    Help takes a call, so all cycles consist of nohelp steps. A cyclic component is solved for 0, 1, ... calls left in
    turn: ``nohelp`` (indptr, indices, data, drop, leaving) has the rows without help, and help ends the episode with
    the values ``nohelp_success`` and ``nohelp_cost``.
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
                        nohelp_cost[row] = np.inf
                        if left > 0 and cost[row] != np.inf:
                            _backup_row(row, 2 * left, offset, nodes, indptr, indices, data, drop, success, cost,
                                        discount, values[:, 2 * left - 2 :], ahead[: 2 * left + 2])  # fmt: skip
                            nohelp_success[row] = ahead[2 * left]
                            nohelp_cost[row] = ahead[2 * left + 1]
                sweep_blocks(
                    c, c + 1, starts, cyclic, offset, nodes, actions, nohelp[0], nohelp[1], nohelp[2], nohelp[3],
                    nohelp_success, nohelp_cost, price, discount, eps, False, FREE, nohelp[4], values[:, 2 * left :],
                    policy[:, left],
                )  # fmt: skip
            continue
        row = low * actions
        at = offset + low
        _backup_row(row, 0, offset, nodes, indptr, indices, data, drop, success, cost, discount, values, values[at])
        for left in range(caps):
            policy[at, left] = 0
        for a in range(1, actions):
            if cost[row + a] == np.inf:
                continue
            _backup_row(row + a, 2, offset, nodes, indptr, indices, data, drop, success, cost, discount, values, ahead)
            for left in range(1, caps):
                s, m = ahead[2 * left], ahead[2 * left + 1]
                best_s, best_m = values[at, 2 * left], values[at, 2 * left + 1]
                gain = (s - price * m) - (best_s - price * best_m)
                if gain > eps or (gain >= -eps and best_m - m > eps):
                    values[at, 2 * left] = s
                    values[at, 2 * left + 1] = m
                    policy[at, left] = a
