"""The compiled passes, imported only if Numba is installed.

The arguments of all kernels, for N nodes in the order of solution, A actions and n = N * levels states:

* ``offset``: the first state of the level; state = offset + node, row = node * A + action;
* ``indptr (N * A + 1,)``, ``indices``, ``data``: the transition probabilities in CSR form; an index is a node;
* ``drop``: the number of levels by which each transition descends; below level 0 the episode is over. None in a model
  with one level, for which Numba compiles a separate kernel;
* ``success``, ``cost`` ``(N * A,)``: of a step; a missing action has infinite cost;
* ``price``, ``discount``, ``eps``, ``high``, ``mode``: the options of a pass (:mod:`selfreg_gym.solver.engine`);
* ``values (n, 2)``: S and M of each state, in one cache line; ``policy (n,)``: its action.

Indices are unsigned, because Numba tests signed ones for negative values at each read.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.solver.compiling import compiled
from selfreg_gym.solver.modes import FIXED, FROZEN

__all__ = ["backup", "evaluate", "sweep", "sweep_blocks"]


@compiled
def _lookahead(row, offset, nodes, indptr, indices, data, drop, values):
    """Return the sums of p * S and p * M over the successors of one row."""
    row = np.uint64(row)
    s = 0.0
    m = 0.0
    for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + np.uint64(1)])):
        if drop is None:
            j = np.uint64(indices[k])
        else:
            to = offset + np.int64(indices[k]) - np.int64(drop[k]) * nodes
            if to < 0:
                continue
            j = np.uint64(to)
        p = data[k]
        s += p * values[j, 0]
        m += p * values[j, 1]
    return s, m


@compiled
def sweep(
    first, last, offset, nodes, actions, indptr, indices, data, drop, success, cost, price, discount, eps, high, mode,
    values, policy,
):  # fmt: skip
    """Set values and policy of the nodes from ``first`` to ``last`` (exclusive) of one level.

    The innermost loop, which takes nearly all of the time, is inlined and has one running index over the entries.
    """
    more_is_better = 1.0 if high else -1.0
    for i in range(np.uint64(first), np.uint64(last)):
        at = np.uint64(offset) + i
        row = i * np.uint64(actions)
        k = np.uint64(indptr[row])
        best_s = 0.0
        best_m = 0.0
        best = np.int8(0)
        for a in range(actions):
            end = np.uint64(indptr[row + np.uint64(1)])
            s = 0.0
            m = 0.0
            while k < end:
                p = data[k]
                if drop is None:
                    j = np.uint64(indices[k])
                    s += p * values[j, 0]
                    m += p * values[j, 1]
                else:
                    to = offset + np.int64(indices[k]) - np.int64(drop[k]) * nodes
                    if to >= 0:
                        j = np.uint64(to)
                        s += p * values[j, 0]
                        m += p * values[j, 1]
                k += np.uint64(1)
            c = cost[row]
            if c != np.inf:
                s = success[row] + discount * s
                m = c + discount * m
                if a == 0:
                    best_s, best_m = s, m
                else:
                    gain = (s - price * m) - (best_s - price * best_m)
                    if gain > eps or (gain >= -eps and (m - best_m) * more_is_better > eps):
                        best_s, best_m, best = s, m, np.int8(a)
            row += np.uint64(1)
        if mode != FROZEN:
            values[at, 0] = best_s
        values[at, 1] = best_m
        policy[at] = best


@compiled
def evaluate(
    first, last, offset, nodes, actions, indptr, indices, data, drop, success, cost, discount, values, policy
):  # fmt: skip
    """Set the values of the nodes from ``first`` to ``last`` (exclusive) of one level, under ``policy``."""
    for i in range(first, last):
        row = i * actions + np.int64(policy[offset + i])
        s, m = _lookahead(row, offset, nodes, indptr, indices, data, drop, values)
        values[offset + i, 0] = success[row] + discount * s
        values[offset + i, 1] = cost[row] + discount * m


@compiled
def backup(
    nodes, levels, actions, indptr, indices, data, drop, success, last_success, cost, discount, values, s_by_action,
    m_by_action,
):  # fmt: skip
    """Fill ``s_by_action`` and ``m_by_action`` ``(n, A)`` with the one-step lookahead; NaN for a missing action."""
    for level in range(levels):
        offset = level * nodes
        ends_well = success if level > 0 else last_success
        for i in range(nodes):
            for a in range(actions):
                row = i * actions + a
                if cost[row] == np.inf:
                    s_by_action[offset + i, a] = np.nan
                    m_by_action[offset + i, a] = np.nan
                    continue
                s, m = _lookahead(row, offset, nodes, indptr, indices, data, drop, values)
                s_by_action[offset + i, a] = ends_well[row] + discount * s
                m_by_action[offset + i, a] = cost[row] + discount * m


@compiled
def sweep_blocks(
    first, last, starts, cyclic, offset, nodes, actions, indptr, indices, data, drop, success, cost, price, discount,
    eps, high, mode, leaving, values, policy,
):  # fmt: skip
    """Solve the components from ``first`` to ``last`` (exclusive), which are small enough for a dense solve.

    A single state takes one step of the backward pass, a cyclic component policy iteration (Howard 1960) with exact
    evaluation. ``starts`` has the first node of each component, ``cyclic`` whether it has a cycle, and ``leaving
    (N * A,)`` whether a row can end the episode, which rounding errors must not decide. Returns a state in which a
    fixed policy has infinite usage, or -1.
    """
    for c in range(first, last):
        low = starts[c]
        size = starts[c + 1] - low
        if not cyclic[c]:
            if mode == FIXED:
                evaluate(low, low + size, offset, nodes, actions, indptr, indices, data, drop, success, cost, discount,
                         values, policy)  # fmt: skip
            else:
                sweep(low, low + size, offset, nodes, actions, indptr, indices, data, drop, success, cost, price,
                      discount, eps, high, mode, values, policy)  # fmt: skip
            continue
        if mode != FIXED:
            for i in range(low, low + size):
                policy[offset + i] = 0
        matrix = np.empty((size, size))
        right = np.empty((size, 2))
        ends = np.empty(size, np.bool_)
        for _ in range(1000):
            for i in range(size):
                ends[i] = discount < 1.0
            for x in range(size):
                row = (low + x) * actions + np.int64(policy[offset + low + x])
                s = success[row]
                m = cost[row]
                for y in range(size):
                    matrix[x, y] = 0.0
                matrix[x, x] = 1.0
                if leaving[row]:
                    ends[x] = True
                for k in range(indptr[row], indptr[row + 1]):
                    step = np.int64(drop[k]) if drop is not None else 0
                    y = np.int64(indices[k]) - low
                    if step == 0 and 0 <= y < size:
                        matrix[x, y] -= discount * data[k]
                        continue
                    ends[x] = True
                    at = offset + np.int64(indices[k]) - step * nodes
                    if at >= 0:
                        s += discount * data[k] * values[at, 0]
                        m += discount * data[k] * values[at, 1]
                right[x, 0] = s
                right[x, 1] = m
            changed = True
            while changed:
                changed = False
                for x in range(size):
                    if not ends[x]:
                        for y in range(size):
                            if ends[y] and y != x and matrix[x, y] < 0.0:
                                ends[x] = True
                                changed = True
                                break
            for x in range(size):
                if not ends[x]:  # no end can be reached: no success, and no cost without help
                    row = (low + x) * actions + np.int64(policy[offset + low + x])
                    if cost[row] > 0.0:
                        return offset + low + x
                    for y in range(size):
                        matrix[x, y] = 0.0
                    matrix[x, x] = 1.0
                    right[x, 0] = 0.0
                    right[x, 1] = 0.0
            _eliminate(matrix, right)
            for x in range(size):
                if mode != FROZEN:
                    values[offset + low + x, 0] = right[x, 0]
                values[offset + low + x, 1] = right[x, 1]
            if mode == FIXED:
                break
            improved = False
            for i in range(low, low + size):
                at = offset + i
                best = np.int64(policy[at])
                s, m = _lookahead(i * actions + best, offset, nodes, indptr, indices, data, drop, values)
                best_s = success[i * actions + best] + discount * s
                best_m = cost[i * actions + best] + discount * m
                start = best
                for a in range(actions):
                    row = i * actions + a
                    if a == start or cost[row] == np.inf:
                        continue
                    s, m = _lookahead(row, offset, nodes, indptr, indices, data, drop, values)
                    s = success[row] + discount * s
                    m = cost[row] + discount * m
                    scale = eps * (1.0 + price * (m + best_m))
                    gain = (s - price * m) - (best_s - price * best_m)
                    more = (m - best_m) * (1.0 if high and price > 0.0 else -1.0)
                    if gain > scale or (gain >= -scale and more > eps * (1.0 + 1e3 * (m + best_m))):
                        best_s, best_m, best = s, m, np.int64(a)
                if best != start:
                    policy[at] = best
                    improved = True
            if not improved:
                break
    return -1


@compiled
def _eliminate(matrix, right):
    """Solve ``matrix @ x = right`` in place (Gaussian elimination with partial pivoting); x replaces ``right``."""
    size = len(matrix)
    for c in range(size):
        pivot = c
        for i in range(c + 1, size):
            if abs(matrix[i, c]) > abs(matrix[pivot, c]):
                pivot = i
        if pivot != c:
            for j in range(c, size):
                matrix[c, j], matrix[pivot, j] = matrix[pivot, j], matrix[c, j]
            for j in range(2):
                right[c, j], right[pivot, j] = right[pivot, j], right[c, j]
        for i in range(c + 1, size):
            factor = matrix[i, c] / matrix[c, c]
            if factor != 0.0:
                for j in range(c + 1, size):
                    matrix[i, j] -= factor * matrix[c, j]
                for j in range(2):
                    right[i, j] -= factor * right[c, j]
    for c in range(size - 1, -1, -1):
        for j in range(2):
            total = right[c, j]
            for i in range(c + 1, size):
                total -= matrix[c, i] * right[i, j]
            right[c, j] = total / matrix[c, c]
