"""Validation of rows; messages name the state and the action."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from selfreg_gym.errors import ModelError
from selfreg_gym.transitions import Rows, TransitionModel


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"P": []}, "nohelp first; received none"),
        ({"P": [np.zeros((2, 3)), np.zeros((2, 3))]}, r"action 0 has shape \(2, 3\)"),
        ({"P": [np.zeros((2, 2)), np.zeros((3, 3))]}, r"action 1 has shape \(3, 3\), action 0 has \(2, 2\)"),
        ({"P": [np.eye(2) * 1.1, np.zeros((2, 2))]}, r"state 1 \('kitchen'\), action 0, sums to 1.4"),
        ({"P": [np.array([[0, -0.1], [0, 0]]), np.zeros((2, 2))]}, r"state 0 \('hall'\), action 0, goes to .*-0.1"),
        ({"P": [np.zeros((2, 2)), np.array([[0, 0], [np.nan, 0]])]}, r"state 1 \('kitchen'\), action 1, .*nan"),
        ({"success": [[0, 0.3], [0.9, 1.2]]}, r"success .* state 1 \('kitchen'\), action 1 has 1.2"),
        ({"success": [0, 0.3]}, r"success must have shape \(2, 2\), received \(2,\)"),
        ({"success": [[0, np.nan], [0, 0]]}, r"state 1 \('kitchen'\), action 0 has nan"),
        ({"start": [0.5, 0.4]}, "received a sum of 0.9"),
        ({"start": [1.5, -0.5]}, r"start .* state 0 \('hall'\)"),
        ({"start": [1.0]}, r"start must have shape \(2,\)"),
        ({"cost": [0, -1]}, r"cost .* state 0 \('hall'\), action 1 has -1"),
        ({"cost": [0.5, 1]}, "cost of nohelp must be 0"),
        ({"keys": ["hall", "hall"]}, "'hall' is the key of state 0 and of state 1"),
        ({"keys": ["hall"]}, "2 states, received 1 keys"),
        ({"available": [[True, False], [True, True]]}, "nohelp .* available everywhere"),
        ({"P": [np.eye(2), np.eye(2)], "success": np.zeros((2, 2))}, r"from state 0 \('hall'\) no action leads"),
    ],
)
def test_invalid_models_raise(changes, message, chain):
    with pytest.raises(ModelError, match=message):
        chain(**changes)


def test_a_cycle_with_unavailable_help_as_its_only_exit_raises():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    success = [[0, 0], [1, 1]]
    TransitionModel([swap, np.zeros((2, 2))], success, [1, 0])
    with pytest.raises(ModelError, match="from state 0 no action"):
        TransitionModel([swap, np.zeros((2, 2))], success, [1, 0], available=[[True, True], [False, False]])


def test_sums_above_one_by_rounding_are_valid_and_arrays_are_read_only():
    third = [[0, 1 / 3, 1 / 3 + 1e-12], [0, 0, 0], [0, 0, 0]]
    model = TransitionModel([third, np.zeros((3, 3))], [[1 / 3, 0, 0], [0, 0, 0]], [1, 0, 0])
    with pytest.raises(ValueError, match="read-only"):
        model.success[0, 0] = 1


def test_sparse_and_dense_models_are_equal_and_zeros_are_not_edges(chain):
    dense = chain()
    stored = sparse.csr_array(([0.5, 0.0], ([0, 1], [1, 1])), shape=(2, 2))
    assert stored.nnz == 2
    from_sparse = chain(P=[stored, sparse.csr_array((2, 2))])
    assert from_sparse.fingerprint == dense.fingerprint
    assert from_sparse.condensation.is_acyclic


def test_a_negative_drop_raises():
    row = Rows(np.array([0, 1]), np.array([0], np.int32), np.array([0.5]), np.array([-1], np.int32))
    with pytest.raises(ModelError, match="node 0, action 1 has a negative drop"):
        TransitionModel.levelled([row._replace(drop=np.array([1])), row], 3, np.zeros((2, 1)), [0, 0, 1])


def test_a_row_to_an_unknown_state_raises():
    row = Rows(np.array([0, 1]), np.array([1], np.int32), np.array([0.5]), np.array([1], np.int32))
    with pytest.raises(ModelError, match="one of 1 states: state 0, action 0, goes to 1"):
        TransitionModel.levelled([row, row], 3, np.zeros((2, 1)), [0, 0, 1])
