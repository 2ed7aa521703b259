"""The model: lookup of states, levels, pickling, immutability."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from selfreg_gym.errors import ModelError
from selfreg_gym.solver import solve


def test_locate_finds_states_by_key(chain):
    model = chain()
    assert model.locate("kitchen") == 1
    assert model.locate("attic", "no such feature") == -1
    assert model.locate_many(["hall", "attic"]).tolist() == [0, -1]
    with pytest.raises(ModelError, match="built from arrays, not fitted"):
        model.coverage()


def test_a_levelled_model_has_the_values_of_the_expanded_model(levelled):
    model = levelled(np.random.default_rng(0), 12, 7)
    flat = model.flat()
    assert flat.n == model.n == 84
    assert "12 nodes x 7" in repr(model)
    for backend in ("numba", "numpy"):
        for price in (0.0, 0.05, 0.3):
            ours, theirs = solve(model, help_cost=price, backend=backend), solve(flat, help_cost=price)
            np.testing.assert_allclose(ours.value, theirs.value, atol=1e-12)
            np.testing.assert_allclose(ours.success_by_action, theirs.success_by_action, atol=1e-12)


def test_steps_left_outside_the_levels_are_clipped(levelled):
    model = levelled(np.random.default_rng(1), 3, 4, keys=("a", "b", "c"))
    assert model.locate("b", None, 1) == 1
    assert model.locate("b", None, 4) == model.locate("b", None, 99) == model.locate("b") == 3 * 3 + 1
    assert model.locate("b", None, 0) == 1
    assert model.describe(10) == "1 ('b') with 4 steps left"


def test_a_pickled_model_is_equal_and_has_no_derived_attributes(levelled):
    model = levelled(np.random.default_rng(3), 200, 5)
    bare = len(pickle.dumps(model))
    solution = solve(model, help_cost=0.1)
    assert model.fingerprint
    assert len(pickle.dumps(model)) == bare
    again = pickle.loads(pickle.dumps(solution)).model
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(solve(again, help_cost=0.1).value, solution.value)


def test_a_model_cannot_be_changed(chain) -> None:
    model = chain()
    with pytest.raises(AttributeError, match="immutable"):
        model.cost = model.cost  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        model.success[0, 0] = 0.5
