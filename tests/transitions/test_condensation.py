"""The order of solution: successors first, independent states within layers, states of equal shape adjacent."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from selfreg_gym.transitions.condensation import condense, shapes


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 30), density=st.floats(0, 0.3), only_loops=st.booleans())
def test_successors_come_first(seed, n, density, only_loops):
    rng = np.random.default_rng(seed)
    edges = rng.random((2, n, n)) < density
    graphs = [sparse.csr_array(np.triu(matrix) if only_loops else matrix) for matrix in edges]
    lengths = [np.diff(graph.indptr) for graph in graphs]
    found = condense(n, [(graph.indptr, graph.indices) for graph in graphs], shape=shapes(lengths))
    assert sorted(found.order) == list(range(n))
    component = np.repeat(np.arange(len(found.cyclic)), np.diff(found.component_start))
    layer = np.repeat(np.arange(len(found.layer_start) - 1), np.diff(found.layer_start))
    of = np.empty(n, int)
    of[found.order] = component
    reach = np.linalg.matrix_power(np.eye(n) + sum(graph.toarray() for graph in graphs), n) > 0
    both = reach & reach.T
    assert np.array_equal(both, of[:, None] == of[None, :])  # a component is what leads to each other
    for tail, head in zip(*np.nonzero(sum(graph.toarray() for graph in graphs)), strict=True):
        if of[tail] == of[head]:
            assert found.cyclic[of[tail]]
        else:
            assert layer[of[head]] < layer[of[tail]]
    for first, last in zip(found.layer_start[:-1], found.layer_start[1:], strict=True):
        assert (np.diff(found.cyclic[first:last].astype(int)) >= 0).all()
        single = [found.order[found.component_start[c]] for c in range(first, last) if not found.cyclic[c]]
        alike = shapes(lengths)[single]
        assert (np.diff(alike) >= 0).all()


def test_shapes_encode_lengths_and_equal_states_keep_their_order():
    lengths = [np.array([2, 1, 2, 1, 40]), np.array([0, 3, 0, 1, 99])]
    assert shapes(lengths).tolist() == [64, 35, 64, 33, 31 * 32 + 31]
    nothing = condense(5, [(np.zeros(6, int), np.zeros(0, int))], shape=shapes(lengths))
    assert nothing.order.tolist() == [3, 1, 0, 2, 4]
