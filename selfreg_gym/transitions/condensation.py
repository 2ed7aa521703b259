"""Order of solution of a model: strongly connected components, sinks first.

The values of a state depend only on its successors. The graph of the strongly connected components has no cycle (Tarjan
1972), so one pass in which every component comes after its successors solves the model. Components are sorted by
*layer*, the length of the longest path to an end. Components of one layer do not depend on each other, so a layer is
one vectorised step. Within a layer, states are sorted by their numbers of successors, so that the processor predicts
the ends of the inner loops; otherwise they keep their original order, which keeps reads close together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Condensation", "condense", "shapes"]


@dataclass(frozen=True, eq=False)
class Condensation:
    """Nodes in the order of solution.

    Attributes:
        order: ``(n,)`` int32, the node at each position; successors outside the component come earlier.
        component_start: ``(c + 1,)`` int64, where each component begins in ``order``.
        cyclic: ``(c,)`` bool, whether a component has several nodes or a node that leads to itself.
        layer_start: ``(l + 1,)`` int64, the first component of each layer; within a layer, acyclic components come
            first.
    """

    order: np.ndarray
    component_start: np.ndarray
    cyclic: np.ndarray
    layer_start: np.ndarray

    @property
    def is_acyclic(self) -> bool:
        """Whether no component is cyclic."""
        return not bool(self.cyclic.any())


def condense(
    n: int, edges: Sequence[tuple[np.ndarray, np.ndarray]], *, shape: np.ndarray | None = None
) -> Condensation:
    """Condense the union of several graphs on ``n`` nodes.

    Args:
        n: number of nodes.
        edges: the CSR arrays ``(indptr, indices)`` of each graph (one per action).
        shape: ``(n,)`` integers, see :func:`shapes`; states of equal shape are adjacent within a layer.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    heads = np.concatenate([indices for _, indices in edges]) if edges else np.zeros(0, np.int32)
    nodes = np.arange(n, dtype=np.int32)
    by_shape = shape if shape is not None else np.zeros(n, np.int64)
    if not len(heads):
        order = np.argsort(by_shape, kind="stable").astype(np.int32)
        return Condensation(order, np.arange(n + 1, dtype=np.int64), np.zeros(n, bool), np.array([0, n]))
    tails = np.concatenate([np.repeat(nodes, np.diff(indptr)) for indptr, _ in edges])
    is_edge = heads != tails
    loops = np.zeros(n, bool)
    loops[tails[~is_edge]] = True
    if not is_edge.all():
        heads, tails = heads[is_edge], tails[is_edge]
    layer = _layers(n, heads, tails)
    if layer is not None:
        order = np.lexsort((by_shape, loops, layer)).astype(np.int32)
        return Condensation(order, np.arange(n + 1, dtype=np.int64), loops[order], _starts(layer[order]))

    graph = sparse.csr_array((np.ones(len(heads), np.int8), (tails, heads)), shape=(n, n))
    count, label = connected_components(graph, directed=True, connection="strong")
    del graph
    size = np.bincount(label, minlength=count)
    cyclic = size > 1
    cyclic[label[loops]] = True
    first = np.full(count, n)
    np.minimum.at(first, label, nodes)
    between = label[heads] != label[tails]
    layer = _layers(count, label[heads[between]], label[tails[between]])
    assert layer is not None, "a condensation has no cycle"
    components = np.lexsort((first, by_shape[first], cyclic, layer))
    position = np.empty(count, np.int64)
    position[components] = np.arange(count)
    order = np.lexsort((nodes, position[label])).astype(np.int32)
    starts = np.concatenate(([0], np.cumsum(size[components]))).astype(np.int64)
    return Condensation(order, starts, cyclic[components], _starts(layer[components]))


def shapes(lengths: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``(n,)`` int64 that encode the number of successors of each action of a state, up to 31 each."""
    shape = np.zeros(len(lengths[0]), np.int64)
    for length in lengths[:12]:
        shape = shape * 32 + np.minimum(length, 31)
    return shape


def _layers(n: int, heads: np.ndarray, tails: np.ndarray) -> np.ndarray | None:
    """Return the longest path to a sink for every node (Kahn 1962, a layer at a time), or None if there is a cycle."""
    from scipy import sparse

    into = sparse.csc_array(sparse.csr_array((np.ones(len(heads), np.int8), (tails, heads)), shape=(n, n)))
    # `into` lists the predecessors of each node without duplicates, so out-degrees are counted from it.
    waiting = np.bincount(into.indices, minlength=n)
    layer = np.full(n, -1, np.int32)
    current = np.flatnonzero(waiting == 0)
    depth = done = 0
    while len(current):
        layer[current] = depth
        done += len(current)
        before = _gather(into.indptr, into.indices, current)
        np.subtract.at(waiting, before, 1)
        current = np.unique(before[waiting[before] == 0])
        depth += 1
    return layer if done == n else None


def _gather(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the concatenated CSR entries of ``rows``."""
    lengths = indptr[rows + 1] - indptr[rows]
    total = int(lengths.sum())
    if not total:
        return np.zeros(0, indices.dtype)
    offsets = np.repeat(indptr[rows] - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return indices[offsets + np.arange(total)]


def _starts(sorted_labels: np.ndarray) -> np.ndarray:
    """Return the first index of each run of equal values, and the length at the end."""
    changes = np.flatnonzero(np.diff(sorted_labels)) + 1
    return np.concatenate(([0], changes, [len(sorted_labels)])).astype(np.int64)
