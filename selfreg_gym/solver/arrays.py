"""The passes in NumPy and SciPy, used without Numba and for components that are too large for a dense solve.

Arguments and modes are those of :mod:`selfreg_gym.solver.kernels`. The independent states of a layer are solved in one
vectorised step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from selfreg_gym.solver.modes import FIXED, FROZEN

if TYPE_CHECKING:
    from selfreg_gym.solver.prepared import Prepared

__all__ = ["backup_run", "lookahead", "solve_block", "sweep_run"]


def lookahead(prepared: Prepared, first: int, last: int, offset: int, values: np.ndarray) -> np.ndarray:
    """Return ``((last - first) * A, columns)``: the sums of p * values over the successors, for consecutive states."""
    low, high = first * prepared.actions, last * prepared.actions
    begin, end = int(prepared.indptr[low]), int(prepared.indptr[high])
    rows = np.repeat(np.arange(high - low), np.diff(prepared.indptr[low : high + 1]))
    at = prepared.indices[begin:end].astype(np.int64)
    weight = prepared.data[begin:end]
    if prepared.drop is not None:
        at += offset - prepared.drop[begin:end].astype(np.int64) * prepared.nodes
        inside = at >= 0
        at, weight, rows = at[inside], weight[inside], rows[inside]
    columns = [np.bincount(rows, weight * values[at, c], minlength=high - low) for c in range(values.shape[1])]
    return np.stack(columns, axis=1)


def backup_run(
    prepared: Prepared, first: int, last: int, offset: int, discount: float, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return S and M, ``(last - first, A)`` each, of every action; NaN where an action is not available."""
    low, high = first * prepared.actions, last * prepared.actions
    sums = lookahead(prepared, first, last, offset, values)
    missing = np.isinf(prepared.cost[low:high])
    success = prepared.success if offset else prepared.last_success
    s = np.where(missing, np.nan, success[low:high] + discount * sums[:, 0])
    m = np.where(missing, np.nan, prepared.cost[low:high] + discount * sums[:, 1])
    shape = (last - first, prepared.actions)
    return s.reshape(shape), m.reshape(shape)


def sweep_run(
    prepared: Prepared, first: int, last: int, offset: int, price: float, discount: float, eps: float, high: bool,
    mode: int, values: np.ndarray, policy: np.ndarray,
) -> None:  # fmt: skip
    """Set values and policy of consecutive states that do not depend on each other."""
    s, m = backup_run(prepared, first, last, offset, discount, values)
    states = np.arange(last - first)
    here = slice(offset + first, offset + last)
    if mode == FIXED:
        best = policy[here].astype(np.int64)
    else:
        best = np.zeros(last - first, np.int64)
        for a in range(1, prepared.actions):
            s_best, m_best = s[states, best], m[states, best]
            with np.errstate(invalid="ignore"):
                gain = (s[:, a] - price * m[:, a]) - (s_best - price * m_best)
                more = (m[:, a] - m_best) * (1.0 if high else -1.0)
                best[(gain > eps) | ((gain >= -eps) & (more > eps))] = a
    if mode != FROZEN:
        values[here, 0] = s[states, best]
    values[here, 1] = m[states, best]
    policy[here] = best


def solve_block(
    prepared: Prepared, first: int, last: int, offset: int, price: float, discount: float, eps: float, high: bool,
    mode: int, values: np.ndarray, policy: np.ndarray,
) -> int:  # fmt: skip
    """Policy iteration on one cyclic component with a sparse direct solve; same result as ``sweep_blocks``."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    size, actions, nodes = last - first, prepared.actions, prepared.nodes
    begin, end = int(prepared.indptr[first * actions]), int(prepared.indptr[last * actions])
    row = np.repeat(np.arange(size * actions), np.diff(prepared.indptr[first * actions : last * actions + 1]))
    head = prepared.indices[begin:end].astype(np.int64) - first
    weight = discount * prepared.data[begin:end]
    drop = np.zeros(len(head), np.int64) if prepared.drop is None else prepared.drop[begin:end].astype(np.int64)
    inside = (drop == 0) & (head >= 0) & (head < size)
    block = sparse.csr_array((weight[inside], (row[inside], head[inside])), shape=(size * actions, size))
    at = offset + first + head - drop * nodes
    outside = ~inside & (at >= 0)
    low, top = first * actions, last * actions
    success = prepared.success if offset else prepared.last_success
    fixed = np.stack([success[low:top], prepared.cost[low:top]], axis=1)
    for c in range(2):
        fixed[:, c] += np.bincount(row[outside], weight[outside] * values[at[outside], c], minlength=size * actions)
    ends = prepared.leaving[low:top] | (np.bincount(row[~inside], minlength=size * actions) > 0) | (discount < 1)
    here = slice(offset + first, offset + last)
    if mode != FIXED:
        policy[here] = 0
    states = np.arange(size)
    for _ in range(1000):
        chosen = states * actions + policy[here].astype(np.int64)
        reach = _reaches(block[chosen], ends[chosen])
        endless = np.flatnonzero(~reach & (prepared.cost[low:top][chosen] > 0))
        if len(endless):
            return int(offset + first + endless[0])
        keep = sparse.diags_array(reach.astype(float))
        matrix = sparse.csc_array(sparse.eye_array(size) - keep @ block[chosen])
        solution = splu(matrix).solve(np.where(reach[:, None], fixed[chosen], 0.0))
        if mode != FROZEN:
            values[here, 0] = solution[:, 0]
        values[here, 1] = solution[:, 1]
        if mode == FIXED:
            return -1
        ahead = fixed + block @ values[here]
        s, m = ahead[:, 0].reshape(size, actions), ahead[:, 1].reshape(size, actions)
        best = policy[here].astype(np.int64)
        for a in range(actions):
            s_best, m_best = s[states, best], m[states, best]
            with np.errstate(invalid="ignore"):
                scale = eps * (1 + price * (m[:, a] + m_best))
                gain = (s[:, a] - price * m[:, a]) - (s_best - price * m_best)
                more = (m[:, a] - m_best) * (1.0 if high and price > 0 else -1.0)
                better = (gain > scale) | ((gain >= -scale) & (more > eps * (1 + 1e3 * (m[:, a] + m_best))))
                best[better & np.isfinite(m[:, a])] = a
        if np.array_equal(best, policy[here]):
            return -1
        policy[here] = best
    return -1


def _reaches(graph, ends: np.ndarray) -> np.ndarray:
    """Return ``(n,)`` bool: whether each state reaches one with ``ends (n,)`` along the entries of a sparse matrix."""
    into = graph.T.tocsr()
    reached = ends.copy()
    current = np.flatnonzero(reached)
    while len(current):
        before = np.unique(into[current].indices)
        current = before[~reached[before]]
        reached[current] = True
    return reached
