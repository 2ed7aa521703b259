"""A transition model in the order of solution: successors first, the rows of a state's actions adjacent.

The order is that of :mod:`selfreg_gym.transitions.condensation`: strongly connected components, those without
successors first. A backward pass over this layout reads each row once, in ascending memory order.

The stopping tolerance ``EPS`` is absolute, so costs are stored in a unit in which they are about 1
(:func:`cost_unit`, a power of two, so nothing is rounded). Help costs, usage and budgets of the public
functions are in the model's own cost units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from selfreg_gym.solver.arguments import positive_costs
from selfreg_gym.transitions import TransitionModel

__all__ = ["Prepared", "cost_unit", "prepare"]

CHUNK = 2**16
"""Number of states that are reordered at a time."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model in the order of solution; see :mod:`selfreg_gym.solver.kernels` for the layout.

    Attributes:
        order: ``(N,)`` int32, the node at each position.
        indptr, indices, data, drop: the rows, ``N * A`` of them; ``indices`` are positions.
        success, cost: ``(N * A,)``; a missing action has infinite cost. ``last_success`` holds on the first level.
        charged: ``(N * A,)`` the intervention that the cost of each row counts for, 0 for none.
        leaving: ``(N * A,)`` bool, whether a row leads to an end.
        unit: the model's cost units in a cost of 1.
    """

    nodes: int
    levels: int
    actions: int
    order: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    drop: np.ndarray | None
    success: np.ndarray
    last_success: np.ndarray
    cost: np.ndarray
    charged: np.ndarray
    leaving: np.ndarray
    component_start: np.ndarray
    cyclic: np.ndarray
    layer_start: np.ndarray
    is_acyclic: bool
    unit: float = 1.0

    def layers(self) -> Iterator[tuple[int, int, range]]:
        """Yield, for each layer, the first and last position of its single states, and its cyclic components."""
        for first, last in pairwise(self.layer_start.tolist()):
            loops = first + int(np.argmax(self.cyclic[first:last])) if self.cyclic[first:last].any() else last
            yield int(self.component_start[first]), int(self.component_start[loops]), range(loops, last)

    def at_level(self, level: int) -> tuple[Any, ...]:
        """The arguments of a compiled pass over one level, up to ``success``."""
        success = self.success if level else self.last_success
        return self.nodes, self.actions, self.indptr, self.indices, self.data, self.drop, success


def cost_unit(model: TransitionModel) -> float:
    """Return the unit of the costs in a pass: 1, or a power of two for costs far from 1."""
    if "unit" not in model.cache:
        costs = positive_costs(model)
        middle = (float(np.log2(costs.min())) + float(np.log2(costs.max()))) / 2 if len(costs) else 0.0
        model.cache["unit"] = 2.0 ** round(middle) if abs(middle) > 10 else 1.0
    return model.cache["unit"]


def prepare(model: TransitionModel) -> Prepared:
    """Return the model in the order of solution, computed once per model."""
    if "prepared" in model.cache:
        return model.cache["prepared"]
    n, actions, order = model.nodes, model.actions, model.condensation
    rank = np.empty(n, np.uint32)
    rank[order.order] = np.arange(n, dtype=np.uint32)
    lengths = np.stack([np.diff(row.indptr)[order.order] for row in model.rows], axis=1).ravel()
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    indptr = indptr.astype(np.uint32 if indptr[-1] < 2**32 else np.uint64)
    indices = np.empty(indptr[-1], np.uint32)
    data = np.empty(indptr[-1])
    levelled = model.rows[0].drop is not None
    drop = np.empty(indptr[-1], np.int32) if levelled else None
    for first in range(0, n, CHUNK):  # in chunks, because the index arithmetic needs several 64-bit arrays
        nodes = order.order[first : first + CHUNK]
        rows_at = np.arange(first, first + len(nodes)) * actions
        for a, row in enumerate(model.rows):
            length = lengths[rows_at + a]
            within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
            to = np.repeat(indptr[rows_at + a].astype(np.int64), length) + within
            of = np.repeat(row.indptr[nodes].astype(np.int64), length) + within
            indices[to] = rank[row.indices[of]]
            data[to] = row.data[of]
            if drop is not None and row.drop is not None:
                drop[to] = row.drop[of]
    success = np.ascontiguousarray(model.success.T[order.order]).ravel()
    last_success = success
    if model.last_success is not model.success:
        last_success = np.ascontiguousarray(model.last_success.T[order.order]).ravel()
    unit = cost_unit(model)
    cost = np.where(model.available, model.cost / unit, np.inf).T[order.order].ravel()
    total = np.add.reduceat(np.append(data, 0.0), indptr[:-1].astype(np.int64)) * (lengths > 0)
    leaving = (success > 0) | (1 - total - success > 1e-12)
    charged = np.ascontiguousarray(model.charged.T[order.order]).ravel()
    model.cache["prepared"] = Prepared(
        n, model.levels, actions, order.order, indptr, indices, data, drop, success, last_success, cost, charged,
        leaving, order.component_start, order.cyclic, order.layer_start, order.is_acyclic, unit,
    )  # fmt: skip
    return model.cache["prepared"]
