"""Rows of a transition model in CSR form, and their validation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import ModelError, shown

__all__ = [
    "Rows",
    "check_drops",
    "check_ends",
    "check_rows",
    "checked_array",
    "checked_calling",
    "checked_cost",
    "checked_keys",
    "checked_start",
    "matrices_to_rows",
    "rescaled",
    "row_sums",
    "tails_of",
    "tolerance",
]

ROUNDING = 1e-9
"""Rounding tolerance of the sum of a row in double precision."""

SINGLE = 1e-6
"""The same in single precision, for short rows; it grows with the number of entries."""


class Rows(NamedTuple):
    """The rows of an action in CSR form: ``indptr`` (N + 1,), and per transition ``indices``, ``data`` and ``drop``.

    ``drop`` is None in a flat model; else a transition leads from (s, h) to (s', h - drop), and to a failure where
    ``h - drop`` is below the first level.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    drop: np.ndarray | None = None


def tolerance(*arrays: Any, entries: int = 1) -> float:
    """Return the rounding tolerance of sums of these arrays, by their coarsest dtype and the number of ``entries``.

    Raises:
        ModelError: half precision, or an array that is not numeric.
    """
    coarsest = ROUNDING
    for array in arrays:
        kind = np.asarray(array).dtype if not hasattr(array, "dtype") else np.dtype(array.dtype)
        if kind.kind == "f" and kind.itemsize < 4:
            raise ModelError(
                f"probabilities and costs need at least single precision, received {kind.name}, which has three "
                "digits: compute them in float64, or convert them before normalising the rows."
            )
        if kind.kind not in "fiub":
            raise ModelError(f"probabilities and costs must be real numbers, received an array of {kind.name}.")
        if kind.kind == "f" and kind.itemsize == 4:
            coarsest = max(coarsest, SINGLE, entries * float(np.finfo(np.float32).eps))
    return coarsest


def rescaled(rows: Sequence[Rows], success: np.ndarray, coarse: Sequence[float]) -> tuple[tuple[Rows, ...], np.ndarray]:
    """Return rows and success with sums of exactly 1 where they were 1 to rounding in single precision.

    Args:
        rows: A of them, float64.
        success: ``(A, N)``.
        coarse: tolerance of the original dtype of each action; double precision is returned unchanged.
    """
    if max(coarse) <= ROUNDING:
        return tuple(rows), success
    success, fixed = success.copy(), []
    for a, row in enumerate(rows):
        total = row_sums(row) + success[a]
        near = (np.abs(total - 1) <= coarse[a]) & (total > 0) & (coarse[a] > ROUNDING)
        scale = np.where(near, 1 / np.where(near, total, 1.0), 1.0)
        success[a] *= scale
        fixed.append(row._replace(data=row.data * np.repeat(scale, np.diff(row.indptr))))
    return tuple(fixed), success


def check_rows(
    rows: Sequence[Rows], success: np.ndarray, last_success: np.ndarray, name: Callable[[int], str],
    rounding: float = ROUNDING,
) -> None:  # fmt: skip
    """Raise ModelError unless each row of P with its success has probabilities that sum to at most 1."""
    nodes = success.shape[1]
    for a, row in enumerate(rows):
        bad = np.flatnonzero((row.indices < 0) | (row.indices >= nodes))
        if len(bad):
            at = name(int(np.searchsorted(row.indptr, bad[0], side="right")) - 1)
            raise ModelError(
                f"a row must lead to one of {nodes} states: state {at}, action {a}, goes to {int(row.indices[bad[0]])}."
            )
        bad = np.flatnonzero(~(np.isfinite(row.data) & (row.data >= 0)))
        if len(bad):
            at = name(int(np.searchsorted(row.indptr, bad[0], side="right")) - 1)
            raise ModelError(
                f"probabilities must be numbers >= 0: state {at}, action {a}, goes to state "
                f"{name(int(row.indices[bad[0]]))} with probability {float(row.data[bad[0]])!r}."
            )
        total = row_sums(row) + success[a]
        if row.drop is not None and last_success is not success:
            stays = row._replace(data=np.where(row.drop == 0, row.data, 0.0))
            total = np.maximum(total, row_sums(stays) + last_success[a])
        worst = int(np.argmax(total))
        if total[worst] > 1 + rounding:
            raise ModelError(
                f"a row of P and its success must sum to at most 1 (the rest is failure): state {name(worst)}, "
                f"action {a}, sums to {float(total[worst])!r}."
            )


def check_ends(rows: Sequence[Rows], success: np.ndarray, available: np.ndarray, name: Callable[[int], str]) -> None:
    """Raise ModelError unless an end can be reached from every state by available actions."""
    from scipy import sparse
    from scipy.sparse.csgraph import breadth_first_order

    nodes = success.shape[1]
    ends = np.zeros(nodes, bool)
    heads, tails = [], []
    for a, row in enumerate(rows):
        from_state = tails_of(row)
        leaves = (1 - row_sums(row) > ROUNDING) | (success[a] > 0)
        if row.drop is not None:  # a drop leads towards the end
            leaves |= np.bincount(from_state, weights=(row.drop > 0) & (row.data > 0), minlength=nodes) > 0
        ends |= leaves & available[a]
        usable = available[a][from_state] & (row.data > 0)
        heads.append(row.indices[usable])
        tails.append(from_state[usable])
    # Search backwards from an additional node, the end.
    backwards_from = np.concatenate([*heads, np.full(int(ends.sum()), nodes)])
    backwards_to = np.concatenate([*tails, np.flatnonzero(ends)])
    ones = np.ones(len(backwards_to), np.float32)
    graph = sparse.csr_array((ones, (backwards_from, backwards_to)), shape=(nodes + 1, nodes + 1))
    reached = np.zeros(nodes + 1, bool)
    reached[breadth_first_order(graph, nodes, return_predecessors=False)] = True
    if not reached.all():
        state = name(int(np.flatnonzero(~reached)[0]))
        raise ModelError(
            f"every state must be able to reach an end: from state {state} no action leads to one "
            f"({int((~reached).sum())} such states). Give it an exit, or pass endless='fail'."
        )


def matrices_to_rows(P: Sequence[Any]) -> tuple[tuple[Rows, ...], int, list[float]]:
    """Return the rows of square matrices, their size n, and the tolerance of each matrix's dtype.

    CSR matrices in float64 are not copied.
    """
    from scipy import sparse

    if len(P) < 1:
        raise ModelError("P must have one (n, n) matrix per action, nohelp first; received none.")
    rows, coarse = [], []
    try:
        shape = np.shape(P[0])
    except ValueError:
        shape = ()
    if len(shape) != 2:
        raise ModelError(f"P must have one (n, n) matrix per action, received {type(P[0]).__name__}, shape {shape}.")
    for a, matrix in enumerate(P):
        try:
            dimensions = np.ndim(matrix)
        except ValueError:  # a ragged list
            dimensions = 0
        if dimensions != 2 or np.shape(matrix) != shape or shape[0] != shape[1]:
            has = f"shape {np.shape(matrix)}" if dimensions else "rows of different lengths"
            raise ModelError(f"P must have one (n, n) matrix per action: action {a} has {has}, action 0 has {shape}.")
        coarse.append(tolerance(matrix, entries=shape[0]))
        csr = sparse.csr_array(matrix) if not sparse.issparse(matrix) or matrix.format != "csr" else matrix
        data = np.asarray(csr.data, np.float64)
        if not data.all():
            csr = csr.copy()
            csr.eliminate_zeros()
            data = np.asarray(csr.data, np.float64)
        indices = csr.indices.astype(np.int32, copy=False)
        rows.append(Rows(np.asarray(csr.indptr), indices, data))
    if shape[0] < 1:
        raise ModelError("a model must have at least one state, received P of shape (0, 0).")
    return tuple(rows), int(shape[0]), coarse


def checked_array(what: str, value: Any, shape: tuple[int, ...], name: Any, highest: float = 1.0) -> np.ndarray:
    """Return a float64 copy of ``value``; raise ModelError unless its entries are between 0 and ``highest``."""
    try:
        given = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ModelError(f"{what} must have shape {shape}, received lists of different lengths.") from error
    if given.shape != shape:
        raise ModelError(f"{what} must have shape {shape}, received {given.shape}.")
    allowed = tolerance(given)
    array = np.array(given, np.float64)
    if allowed > ROUNDING and np.isfinite(highest):
        array = np.where((array > highest) & (array <= highest + allowed), highest, array)
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0) & (array <= highest + ROUNDING)))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        where = f"state {name(first[-1])}" + (f", action {first[0]}" if len(first) > 1 else "")
        limit = " <= 1" if np.isfinite(highest) else ""
        raise ModelError(f"{what} must have finite numbers >= 0{limit}: {where} has {float(array[first])!r}.")
    return array


def checked_calling(calling: Any, available: np.ndarray) -> np.ndarray:
    """Return ``(N,)`` int64: the intervention whose call goes on at each node; 0 everywhere if ``calling`` is None.

    Raises:
        ModelError: not N actions, or another action than 0 is available where a call goes on.
    """
    actions, nodes = available.shape
    found = np.zeros(nodes, np.int64) if calling is None else np.array(calling)
    if found.shape != (nodes,) or found.dtype.kind not in "iu" or not ((found >= 0) & (found < actions)).all():
        raise ModelError(f"calling must have {nodes} integers from 0 to {actions - 1}, received {shown(calling)}.")
    if available[1:, found > 0].any():
        raise ModelError("where a call goes on, help must not be available: set available to False there.")
    return found.astype(np.int64)


def checked_cost(cost: Any, calling: np.ndarray, actions: int, name: Callable[[int], str]) -> np.ndarray:
    """Return the cost as ``(A, N)`` float64; by default 0 for nohelp and 1 for help.

    Args:
        cost: ``(A,)``, ``(A, N)`` or None.
        calling: ``(N,)``, as :func:`checked_calling` returns it.
        actions: A.
        name: gives the name of a node, for messages.

    Raises:
        ModelError: another shape, invalid numbers, or a cost of nohelp where no call goes on.
    """
    if cost is None:
        cost = np.r_[0.0, np.ones(actions - 1)]
    tolerance(cost)
    cost = np.asarray(cost, np.float64)
    if cost.ndim == 1 and len(cost) == actions:
        cost = np.repeat(cost[:, None], len(calling), axis=1)
    cost = checked_array("cost", cost, (actions, len(calling)), name, highest=np.inf)
    free = cost[0] * (calling == 0)
    if free.any():
        state = name(int(np.flatnonzero(free)[0]))
        raise ModelError(f"the cost of nohelp must be 0: in state {state} it is {free.max():g}.")
    return cost


def checked_start(start: Any, n: int, name: Callable[[int], str]) -> np.ndarray:
    """Return ``(n,)`` float64 probabilities of the first state, whose sum is 1.

    Raises:
        ModelError: another shape, invalid numbers, or another sum.
    """
    found = checked_array("start", start, (n,), name)
    total = float(found.sum())
    if abs(total - 1) > max(1e-6, tolerance(start, entries=n)):
        raise ModelError(f"start must be a distribution over states, received a sum of {total:g}.")
    return found / total if abs(total - 1) > 1e-12 else found


def check_drops(rows: Sequence[Rows]) -> None:
    """Raise ModelError unless every transition of a levelled model has a drop that is at least 0."""
    for a, row in enumerate(rows):
        if row.drop is None or len(row.drop) != len(row.data):
            raise ModelError(f"every transition of a levelled model must have a drop: action {a} has none.")
        if len(row.drop) and int(row.drop.min()) < 0:
            node = int(np.searchsorted(row.indptr, int(np.argmin(row.drop)), side="right")) - 1
            raise ModelError(f"steps left must not increase: node {node}, action {a} has a negative drop.")


def checked_keys(keys: Sequence[Hashable] | None, n: int) -> tuple[Hashable, ...] | None:
    """Return the keys; raise ModelError unless they are ``n`` different ones."""
    if keys is None:
        return None
    keys = tuple(keys)
    if len(keys) != n:
        raise ModelError(f"keys must have one key per state: {n} states, received {len(keys)} keys.")
    if len(set(keys)) < n:
        seen: dict[Hashable, int] = {}
        for i, key in enumerate(keys):
            if key in seen:
                raise ModelError(f"keys must be different: {key!r} is the key of state {seen[key]} and of state {i}.")
            seen[key] = i
    return keys


def tails_of(row: Rows) -> np.ndarray:
    """Return the source node of each transition."""
    return np.repeat(np.arange(len(row.indptr) - 1), np.diff(row.indptr))


def row_sums(row: Rows) -> np.ndarray:
    """Return the ``(N,)`` sums of the rows."""
    return np.bincount(tails_of(row), weights=row.data, minlength=len(row.indptr) - 1)
