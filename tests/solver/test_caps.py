"""Hard caps, compared with the problem over (state, calls left) and with all of its policies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import solve, solve_budget, solve_caps, solve_frontier
from selfreg_gym.transitions import TransitionModel

BACKENDS = ("numba", "numpy")


def with_calls_left(model: TransitionModel, cap: int) -> TransitionModel:
    """The problem over (state, calls left), as a flat model."""
    n, states = model.n, model.n * (cap + 1)
    P = [np.zeros((states, states)) for _ in range(model.actions)]
    success, available = np.tile(model.success, cap + 1), np.tile(model.available, cap + 1)
    for left, a in itertools.product(range(cap + 1), range(model.actions)):
        here = slice(left * n, left * n + n)
        to = left if a == 0 else left - 1
        if to < 0:
            available[a, here] = False
        else:
            P[a][here, to * n : to * n + n] = model.P[a].toarray()
    start = np.r_[np.zeros(cap * n), model.start]
    return TransitionModel(P, success, start, np.tile(model.cost, cap + 1), available=available, endless="fail")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 12), cyclic=st.booleans(), price=st.sampled_from([0.0, 0.02, 0.3]))
def test_caps_equal_the_problem_over_state_and_calls_left(random_model, seed, n, cyclic, price):
    rng = np.random.default_rng(seed)
    base = random_model(rng, n, 3, cyclic=cyclic)
    available = np.ones((3, n), bool)
    available[1:] = rng.random((2, n)) < 0.8
    model = TransitionModel(base.P, base.success, base.start, base.cost, available=available)
    for backend in BACKENDS:
        capped = solve_caps(model, hard_cap=3, help_cost=price, backend=backend)
        assert not capped.policy[0].any()
        for cap in range(4):
            exact = solve(with_calls_left(model, cap), help_cost=price)
            value = capped.expected_success[cap] - price * capped.expected_usage[cap]
            assert value == pytest.approx(exact.expected_success - price * exact.expected_usage, abs=1e-11)
            assert capped.expected_usage[cap] == pytest.approx(exact.expected_usage, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 3), cyclic=st.booleans())
def test_caps_equal_the_best_of_all_policies_within_the_cap(random_model, enumerate_points, seed, n, cyclic):
    """All 2^(n c) policies over (state, calls left), by linear algebra."""
    model = random_model(np.random.default_rng(seed), n, 2, cyclic=cyclic)
    capped = solve_caps(model, hard_cap=3)
    for cap in range(4):
        best = enumerate_points(with_calls_left(model, cap))[:, 0].max()
        assert capped.expected_success[cap] == pytest.approx(best, abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 60), cyclic=st.booleans())
def test_success_under_a_cap_is_at_most_that_of_an_equal_budget(random_model, seed, n, cyclic):
    base = random_model(np.random.default_rng(seed), n, cyclic=cyclic, density=3 / n)
    model = TransitionModel(base.P, base.success, base.start)  # a call costs one unit
    frontier, capped = solve_frontier(model, gap=0), solve_caps(model, hard_cap=6)
    assert (np.diff(capped.expected_success) >= -1e-12).all()
    for cap in range(7):
        assert capped.expected_usage[cap] <= cap + 1e-12
        assert capped.expected_success[cap] <= frontier.success_at(cap) + 1e-11


def test_a_cap_above_the_longest_episode_has_no_effect(random_model):
    model = random_model(np.random.default_rng(3), 12, density=0.3)
    capped, free = solve_caps(model, hard_cap=12), solve(model, help_cost=0)
    np.testing.assert_allclose(capped.success[-1], free.success, atol=1e-12)
    np.testing.assert_allclose(capped.usage[-1], free.usage, atol=1e-9)


@pytest.mark.parametrize("waits", [False, True])
def test_caps_of_models_over_steps_left(random_levels, waits):
    model = random_levels(np.random.default_rng(4), 12, 5, waits=waits)
    for backend in BACKENDS:
        ours, flat = (solve_caps(m, hard_cap=2, backend=backend) for m in (model, model.flat()))
        np.testing.assert_allclose(ours.success, flat.success, atol=1e-12)
        np.testing.assert_allclose(ours.usage, flat.usage, atol=1e-9)


def test_a_component_above_the_dense_limit(random_model):
    model = random_model(np.random.default_rng(5), 400, cyclic=True, density=0.02)
    assert np.diff(model.condensation.component_start).max() > 200
    ours, theirs = (solve_caps(model, hard_cap=3, backend=backend) for backend in BACKENDS)
    np.testing.assert_allclose(ours.success, theirs.success, atol=1e-11)
    exact = solve(with_calls_left(model, 2), help_cost=0)
    assert ours.expected_success[2] == pytest.approx(exact.expected_success, abs=1e-11)


def test_a_cycle_with_help_as_its_only_exit_needs_a_call():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    model = TransitionModel([swap, np.zeros((2, 2))], [[0, 0], [0.5, 0.9]], [1, 0])
    for backend in BACKENDS:
        capped = solve_caps(model, hard_cap=1, backend=backend)
        assert capped.expected_success.tolist() == pytest.approx([0.0, 0.9])
        assert capped.policy[1].tolist() == [0, 1]


def test_solve_and_solve_budget_return_capped_solutions(random_model):
    model = random_model(np.random.default_rng(6), 30, density=0.1)
    capped = solve_caps(model, hard_cap=4)
    np.testing.assert_array_equal(solve_budget(model, hard_cap=4).success, capped.success)
    priced = solve(model, help_cost=0.05, hard_cap=4)
    np.testing.assert_array_equal(priced.usage, solve_caps(model, hard_cap=4, help_cost=0.05).usage)
    assert priced.expected_usage[4] < capped.expected_usage[4]
    assert [row["hard_cap"] for row in capped.rows()] == [0, 1, 2, 3, 4]
    assert capped.rows()[2]["success"] == capped.expected_success[2]
    assert capped.action(3, 99) == capped.policy[4, 3]
    assert capped.action(-1, 2) == 0
    assert "hard_cap=4" in repr(capped)


@pytest.mark.parametrize("hard_cap", [-1, 1.5, float("nan"), [1, 2]])
def test_an_invalid_cap_raises(random_model, hard_cap):
    with pytest.raises(InvalidArgumentError, match="an integer"):
        solve_caps(random_model(np.random.default_rng(0), 4), hard_cap=hard_cap)


def test_invalid_arguments_raise(random_model):
    model = random_model(np.random.default_rng(0), 4, 3)
    for arguments in ({}, {"budget": 1.0, "hard_cap": 1}):
        with pytest.raises(InvalidArgumentError, match="one of the two"):
            solve_budget(model, **arguments)
    with pytest.raises(InvalidArgumentError, match="hard_cap needs value='exact'"):
        solve_budget(model, hard_cap=1, method="paper")
    with pytest.raises(InvalidArgumentError, match="hard_cap needs value='exact'"):
        solve(model, help_cost=0.1, hard_cap=1, tie="high")
    with pytest.raises(InvalidArgumentError, match="one price for all"):
        solve(model, help_cost=[0.1, 0.2], hard_cap=1)
