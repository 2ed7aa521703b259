"""Types of numbers: single precision is accepted up to rounding, half precision and other types raise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from selfreg_gym.errors import ModelError
from selfreg_gym.solver import solve_frontier
from selfreg_gym.transitions import Rows, TransitionModel


def rounded(n=50, seed=0):
    """Rows normalised in single precision: many exceed 1 by a few 1e-8."""
    P = np.triu(np.random.default_rng(seed).random((2, n, n)), 1).astype(np.float32)
    P[:, :-1] /= P[:, :-1].sum(-1, keepdims=True)
    success = np.zeros((2, n), np.float32)
    success[:, -1] = 0.2, 0.9
    return P, success, np.full(n, 1 / n, np.float32)


def totals(model):
    return np.stack([matrix.sum(axis=1) for matrix in model.P]) + model.success


@pytest.mark.parametrize("sparse_input", [False, True])
def test_single_precision_is_rescaled_to_double(sparse_input):
    P, success, start = rounded()
    model = TransitionModel([sparse.csr_array(p) for p in P] if sparse_input else list(P), success, start)
    assert all(row.data.dtype == np.float64 for row in model.rows)
    assert np.abs(totals(model)[:, :-1] - 1).max() < 1e-14  # neither over 1 nor an exit by rounding
    assert model.start.sum() == pytest.approx(1, abs=1e-14)
    exact = P.astype(np.float64)
    exact[:, :-1] /= exact[:, :-1].sum(-1, keepdims=True)
    wanted = solve_frontier(TransitionModel(list(exact), success.astype(np.float64), np.full(50, 1 / 50)), gap=0)
    found = solve_frontier(model, gap=0)
    assert found.success_at(0.3) == pytest.approx(wanted.success_at(0.3), abs=1e-6)


def test_a_closed_cycle_in_single_precision_remains_closed():
    P = np.array([[[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]]], np.float32)
    with pytest.raises(ModelError, match="reach an end"):
        TransitionModel(list(P), np.zeros((1, 3)), np.full(3, 1 / 3))


def test_rows_of_a_levelled_model_in_single_precision():
    rows = Rows(
        np.array([0, 2, 4]), np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.3, 0.7], np.float32), np.ones(4, int)
    )
    model = TransitionModel.levelled([rows, rows], 3, np.zeros((2, 2)), np.full(6, 1 / 6, np.float32))
    assert model.rows[0].data.dtype == np.float64
    assert np.bincount([0, 0, 1, 1], model.rows[0].data).tolist() == pytest.approx([1.0, 1.0], abs=1e-15)


def test_sums_beyond_rounding_raise_in_any_precision():
    for dtype in (np.float32, np.float64):
        P, success, start = (array.astype(dtype) for array in rounded())
        P[0, 3] *= 1.001
        with pytest.raises(ModelError, match=r"state 3, action 0, sums to"):
            TransitionModel(list(P), success, start)
    exact, success, start = (array.astype(np.float64) for array in rounded())
    with pytest.raises(ModelError, match="sums to"):  # double precision has no such rounding
        TransitionModel(list(exact * 1.0000001), success, start)
    with pytest.raises(ModelError, match="distribution"):
        TransitionModel([np.zeros((2, 2), np.float32)], np.ones((1, 2)), np.array([0.5, 0.51], np.float32))


@pytest.mark.parametrize("dtype", [np.float16, "S3", object, complex])
@pytest.mark.parametrize("what", ["P", "success", "start", "cost"])
def test_half_precision_and_text_raise(dtype, what):
    model = {
        "P": [np.zeros((2, 2))] * 2,
        "success": np.ones((2, 2)),
        "start": np.full(2, 0.5),
        "cost": np.array([0, 1]),
    }
    model[what] = [p.astype(dtype) for p in model["P"]] if what == "P" else model[what].astype(dtype)
    with pytest.raises(ModelError, match=r"precision|real numbers"):
        TransitionModel(**model)


@pytest.mark.parametrize(
    "P", [[[[1.0], [0.0, 1.0]]], ["ab"], [3.0], [None], [[[0.5, 0.5]]], [[["a", "b"], ["c", "d"]]]]
)
def test_other_objects_than_matrices_raise(P):
    with pytest.raises(ModelError):
        TransitionModel(P, np.ones((1, 2)), np.full(2, 0.5))


def test_ragged_shapes_raise():
    P = [np.zeros((2, 2))]
    for changes in ({"success": [[1.0], [1.0, 2.0]]}, {"start": [[0.5], 0.5]}, {"cost": "free"}, {"available": "all"}):
        with pytest.raises(ModelError):
            TransitionModel(P, **({"success": np.ones((1, 2)), "start": np.full(2, 0.5)} | changes))
