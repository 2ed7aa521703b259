"""The time-expanded matrices of a levelled model, for other solvers and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym.transitions.rows import Rows, tails_of

__all__ = ["expanded_matrices"]


def expanded_matrices(rows: Sequence[Rows], nodes: int, levels: int) -> tuple[Any, ...]:
    """One sparse ``(n, n)`` matrix per action, n = nodes times levels; a state (node, h) is ``(h - 1) * nodes + node``.

    Args:
        rows: the rows of each action; ``drop`` is None in a flat model.
        nodes: N.
        levels: the largest number of steps left, 1 for a flat model.
    """
    from scipy import sparse

    if levels == 1 and all(row.drop is None for row in rows):
        return tuple(sparse.csr_array((row.data, row.indices, row.indptr), shape=(nodes, nodes)) for row in rows)
    out = []
    for row in rows:
        tails, drop = tails_of(row), row.drop if row.drop is not None else np.zeros(len(row.data), np.int64)
        parts = []
        for level in range(levels):
            inside = level - drop >= 0
            heads = row.indices[inside] + (level - drop[inside]) * nodes
            parts.append((row.data[inside], level * nodes + tails[inside], heads))
        data, tail, head = (np.concatenate(column) for column in zip(*parts, strict=True))
        out.append(sparse.csr_array((data, (tail, head)), shape=(nodes * levels, nodes * levels)))
    return tuple(out)
