"""The model: what is refused and how it is said, finding states, files, levels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import sparse

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.solver import solve
from selfreg_gym.transitions import Rows, TransitionModel


def chain(**changes) -> TransitionModel:
    """hall -> kitchen -> end; help at either ends in success with 0.9."""
    move = np.array([[0.0, 0.5], [0.0, 0.0]])
    arguments = {
        "P": [move, np.zeros((2, 2))],
        "success": [[0.0, 0.3], [0.9, 0.9]],
        "start": [1.0, 0.0],
        "keys": ["hall", "kitchen"],
    }
    return TransitionModel(**{**arguments, **changes})


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
        ({"success": [0, 0.3]}, r"success has shape \(2, 2\), received \(2,\)"),
        ({"success": [[0, np.nan], [0, 0]]}, r"state 1 \('kitchen'\), action 0 has nan"),
        ({"start": [0.5, 0.4]}, "sums to 0.9"),
        ({"start": [1.5, -0.5]}, r"start .* state 0 \('hall'\)"),
        ({"start": [1.0]}, r"start has shape \(2,\)"),
        ({"cost": [0, -1]}, r"cost .* state 0 \('hall'\), action 1 has -1"),
        ({"cost": [0.5, 1]}, "nohelp costs nothing"),
        ({"keys": ["hall", "hall"]}, "'hall' names state 0 and state 1"),
        ({"keys": ["hall"]}, "2 states, received 1 keys"),
        ({"available": [[True, False], [True, True]]}, "nohelp .* is available everywhere"),
        ({"P": [np.eye(2), np.eye(2)], "success": np.zeros((2, 2))}, r"from state 0 \('hall'\) no action ever leads"),
    ],
)
def test_what_is_no_model_is_refused_by_name(changes, message):
    with pytest.raises(ModelError, match=message):
        chain(**changes)


def test_a_cycle_that_only_unavailable_help_leaves_is_endless():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    success = [[0, 0], [1, 1]]
    TransitionModel([swap, np.zeros((2, 2))], success, [1, 0])
    with pytest.raises(ModelError, match="from state 0 no action"):
        TransitionModel([swap, np.zeros((2, 2))], success, [1, 0], available=[[True, True], [False, False]])


def test_rounding_over_one_is_no_error_and_a_model_is_immutable():
    third = [[0, 1 / 3, 1 / 3 + 1e-12], [0, 0, 0], [0, 0, 0]]
    model = TransitionModel([third, np.zeros((3, 3))], [[1 / 3, 0, 0], [0, 0, 0]], [1, 0, 0])
    with pytest.raises(ValueError, match="read-only"):
        model.success[0, 0] = 1


def test_sparse_and_dense_are_the_same_and_zeros_are_no_edges():
    dense = chain()
    stored = sparse.csr_array(([0.5, 0.0], ([0, 1], [1, 1])), shape=(2, 2))
    assert stored.nnz == 2
    from_sparse = chain(P=[stored, sparse.csr_array((2, 2))])
    assert from_sparse.fingerprint == dense.fingerprint
    assert from_sparse.condensation.is_acyclic


def test_states_are_found_by_key():
    model = chain()
    assert model.locate("kitchen") == 1
    assert model.locate("attic", "no such feature") == -1
    assert model.locate_many(["hall", "attic"]).tolist() == [0, -1]
    with pytest.raises(ModelError, match="given, not fitted"):
        model.coverage()


def levelled(rng: np.random.Generator, nodes: int, levels: int) -> TransitionModel:
    """Random nodes whose steps move the clock by 0, 1 or 2; staying is possible, so levels have cycles."""
    rows = []
    success, last = rng.random((2, nodes)) * 0.2, rng.random((2, nodes)) * 0.5
    for _ in range(2):
        head = rng.integers(nodes, size=(nodes, 4)).astype(np.int32)
        weight = rng.dirichlet(np.ones(5), size=nodes)[:, :4] * 0.6
        drop = rng.choice([0, 1, 1, 2], size=(nodes, 4)).astype(np.int32)
        rows.append(Rows(np.arange(0, 4 * nodes + 1, 4), head.ravel(), weight.ravel(), drop.ravel()))
    start = rng.dirichlet(np.ones(nodes * levels))
    return TransitionModel.levelled(rows, levels, success * 0.5, start, last_success=last * 0.5)


def test_levels_give_the_values_of_the_expanded_model():
    model = levelled(np.random.default_rng(0), 12, 7)
    flat = model.flat()
    assert flat.n == model.n == 84
    assert "12 nodes x 7" in repr(model)
    for backend in ("numba", "numpy"):
        for price in (0.0, 0.05, 0.3):
            ours, theirs = solve(model, help_cost=price, backend=backend), solve(flat, help_cost=price)
            np.testing.assert_allclose(ours.value, theirs.value, atol=1e-12)
            np.testing.assert_allclose(ours.success_by_action, theirs.success_by_action, atol=1e-12)


def test_levels_refuse_a_clock_that_runs_backwards():
    row = Rows(np.array([0, 1]), np.array([0], np.int32), np.array([0.5]), np.array([-1], np.int32))
    with pytest.raises(ModelError, match="node 0, action 1 has a negative drop"):
        TransitionModel.levelled([row._replace(drop=np.array([1])), row], 3, np.zeros((2, 1)), [0, 0, 1])


def test_levels_refuse_a_row_that_leads_nowhere():
    row = Rows(np.array([0, 1]), np.array([1], np.int32), np.array([0.5]), np.array([1], np.int32))
    with pytest.raises(ModelError, match="one of 1 states: state 0, action 0, goes to 1"):
        TransitionModel.levelled([row, row], 3, np.zeros((2, 1)), [0, 0, 1])


def test_steps_left_go_to_the_nearest_level():
    model = levelled(np.random.default_rng(1), 3, 4)
    model.keys = ("a", "b", "c")
    assert model.locate("b", None, 1) == 1
    assert model.locate("b", None, 4) == model.locate("b", None, 99) == model.locate("b") == 3 * 3 + 1
    assert model.locate("b", None, 0) == 1
    assert model.describe(10) == "1 ('b') with 4 steps left"


def test_a_pickled_model_is_the_same_and_carries_nothing_that_can_be_made_again():
    model = levelled(np.random.default_rng(3), 200, 5)
    bare = len(pickle.dumps(model))
    solution = solve(model, help_cost=0.1)
    assert model.fingerprint
    assert len(pickle.dumps(model)) == bare
    again = pickle.loads(pickle.dumps(solution)).model
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(solve(again, help_cost=0.1).value, solution.value)


def test_files_keep_every_number_and_say_what_is_wrong_with_them(tmp_path):
    path = tmp_path / "transitions.npz"
    for model in (chain(), levelled(np.random.default_rng(2), 5, 3), chain(keys=None, cost=[[0, 0], [1, 2.5]])):
        model.save(path)
        again = TransitionModel.load(path)
        assert again.fingerprint == model.fingerprint
        assert again.keys == model.keys
        assert np.array_equal(solve(again, help_cost=0.1).value, solve(model, help_cost=0.1).value)
    with pytest.raises(CheckpointError, match="no file"):
        TransitionModel.load(tmp_path / "other.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        TransitionModel.load(path)
    path.write_bytes(b"no archive at all")
    with pytest.raises(CheckpointError, match="is not a transition model"):
        TransitionModel.load(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(CheckpointError, match="expected format"):
        TransitionModel.load(path)
    np.savez(path, format=np.array("selfreg_gym transitions 1"), success=np.zeros((2, 2)))
    with pytest.raises(CheckpointError, match="damaged"):
        TransitionModel.load(path)
    np.savez(path, format=np.array([None, "x"], dtype=object))
    with pytest.raises(CheckpointError, match="damaged"):
        TransitionModel.load(path)
    with pytest.raises(ModelError, match="text or integer keys"):
        chain(keys=[(0, 1), (1, 1)]).save(path)
