"""One help cost: compared with the enumeration of all policies, and difficult cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import InvalidArgumentError, ModelError, UnknownNameError
from selfreg_gym.solver import evaluate_policy, solve
from selfreg_gym.transitions import TransitionModel

BACKENDS = ("numba", "numpy")
PRICES = st.sampled_from([0.0, 1e-6, 0.03, 0.2, 0.9, 5.0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 7), actions=st.integers(2, 3), cyclic=st.booleans(), price=PRICES)
def test_equals_the_best_of_all_policies(objective, random_model, enumerate_points, seed, n, actions, cyclic, price):
    n = n if actions == 2 else min(n, 5)
    model = random_model(np.random.default_rng(seed), n, actions, cyclic=cyclic)
    points = enumerate_points(model)
    best = np.max(points[:, 0] - price * points[:, 1])
    for backend in BACKENDS:
        low, high = (solve(model, help_cost=price, backend=backend, tie=tie) for tie in ("low", "high"))
        assert objective(model, low, price) == pytest.approx(best, abs=1e-11)
        assert objective(model, high, price) == pytest.approx(best, abs=1e-11)
        assert low.expected_usage <= high.expected_usage + 1e-9


def test_equals_the_best_of_all_policies_at_twelve_states_to_rounding(objective, random_model, enumerate_points):
    for cyclic in (False, True):
        model = random_model(np.random.default_rng(12), 12, cyclic=cyclic)
        points = enumerate_points(model)
        for price in (0.0, 0.1, 0.4):
            solution = solve(model, help_cost=price)
            assert abs(objective(model, solution, price) - np.max(points[:, 0] - price * points[:, 1])) < 1e-14


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 40), cyclic=st.booleans(), price=PRICES)
def test_results_do_not_depend_on_the_numbering_of_states(random_model, seed, n, cyclic, price):
    rng = np.random.default_rng(seed)
    model = random_model(rng, n, cyclic=cyclic, density=3 / n)
    order = rng.permutation(n)
    other = TransitionModel(
        [matrix[order][:, order] for matrix in model.P],
        model.success[:, order],
        model.start[order],
        model.cost[:, order],
    )
    ours, theirs = solve(model, help_cost=price), solve(other, help_cost=price)
    np.testing.assert_allclose(ours.value[order], theirs.value, atol=1e-11)


# -- hard cases ------------------------------------------------------------------------------------------------------


def test_asking_now_can_be_cheaper_than_asking_later():
    """State 0 leads to state 1, where two calls are optimal; one call in state 0 saves both (dM < 0)."""
    P_no = np.zeros((3, 3))
    P_no[0, 1] = 1.0
    P_help = np.zeros((3, 3))
    P_help[1, 2] = 1.0
    success = [[0, 0, 0], [0.95, 0, 1]]
    model = TransitionModel([P_no, P_help], success, [1, 0, 0])
    solution = solve(model, help_cost=0.1)
    assert solution.policy.tolist() == [1, 1, 1]
    assert solution.usage_by_action[1, 0] < solution.usage_by_action[0, 0]
    paper = solve(model, help_cost=0.1, method="paper")
    assert paper.expected_success - 0.1 * paper.expected_usage < solution.expected_success - 0.1 - 0.01


def test_a_closed_cycle_is_left_by_help():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    model = TransitionModel([swap, np.zeros((2, 2))], [[0, 0], [0.5, 0.9]], [1, 0])
    for backend in BACKENDS:
        solution = solve(model, help_cost=0.3, backend=backend)
        assert solution.expected_success == pytest.approx(0.9)
        assert solution.expected_usage == pytest.approx(1)
        assert solve(model, help_cost=2.0, backend=backend).expected_success == 0.0


def test_a_state_without_an_end_has_no_success_and_no_cost():
    P = [np.diag([1.0, 0.0]), np.diag([1.0, 0.0])]
    model = TransitionModel(P, [[0, 0.2], [0, 0.8]], [0.5, 0.5], endless="fail")
    for backend in BACKENDS:
        solution = solve(model, help_cost=0.0, backend=backend)
        assert solution.success.tolist() == [0.0, 0.8]
        assert solution.usage.tolist() == [0.0, 1.0]
        with pytest.raises(ModelError, match="never stops asking for help"):
            evaluate_policy(model, [1, 0], backend=backend)


def test_a_loop_with_an_exit_of_one_in_ten_thousand():
    leave = 1e-4
    P = [[[1 - leave]], [[0.0]]]
    model = TransitionModel(P, [[leave], [0.9]], [1])
    for backend in BACKENDS:
        assert solve(model, help_cost=1e-3, backend=backend).expected_success == pytest.approx(1, abs=1e-9)
        assert solve(model, help_cost=1e-3, backend=backend).expected_usage == 0
    model = TransitionModel([[[0.0]], [[1 - leave]]], [[0.5], [leave]], [1])
    solution = solve(model, help_cost=1e-5)
    assert solution.expected_usage == pytest.approx(1e4, rel=1e-9)
    assert solve(model, help_cost=1e-4).expected_usage == 0


def test_costs_that_differ_by_a_million():
    P = [np.zeros((2, 2))] * 3
    model = TransitionModel(P, [[0.1, 0.1], [0.4, 0.4], [0.9, 0.9]], [0.5, 0.5], cost=[0, 1e-3, 1e3])
    assert solve(model, help_cost=1e-4).policy.tolist() == [2, 2]
    assert solve(model, help_cost=1e-2).policy.tolist() == [1, 1]
    assert solve(model, help_cost=1e4).policy.tolist() == [0, 0]


def test_duplicated_states_do_not_change_the_values(random_model):
    model = random_model(np.random.default_rng(8), 6)
    zero = np.zeros((6, 6))
    P = [np.block([[m.toarray() / 2, m.toarray() / 2], [m.toarray() / 2, m.toarray() / 2]]) for m in model.P]
    twice = TransitionModel(P, np.tile(model.success, 2), np.r_[model.start, zero[0]], np.tile(model.cost, 2))
    for price in (0.0, 0.1, 0.5):
        value = solve(model, help_cost=price).value
        np.testing.assert_allclose(solve(twice, help_cost=price).value, np.r_[value, value], atol=1e-12)


def test_help_that_is_not_available_is_never_taken(random_model):
    base = random_model(np.random.default_rng(4), 10)
    available = np.ones((2, 10), bool)
    available[1, ::2] = False
    model = TransitionModel(base.P, base.success, base.start, base.cost, available=available)
    for backend in BACKENDS:
        solution = solve(model, help_cost=0.0, tie="high", backend=backend)
        assert not solution.policy[::2].any()
        assert np.isnan(solution.success_by_action[1, ::2]).all()
        assert not solution.advantage[::2].any()
        assert np.isfinite(solution.advantage).all()


# -- a fixed p, discount, arguments -----------------------------------------------------------------------------------


def test_the_exact_value_is_at_least_that_of_a_fixed_p(objective, random_model):
    model = random_model(np.random.default_rng(11), 60, density=0.05)
    never = evaluate_policy(model, np.zeros(60, int))
    exact = solve(model, help_cost=0.05)
    fixed = solve(model, help_cost=0.05, value="prm", prm=never.success)
    assert fixed.method == "prm"
    assert objective(model, fixed, 0.05) <= objective(model, exact, 0.05) + 1e-12
    own = evaluate_policy(model, fixed.policy)
    assert fixed.expected_success == pytest.approx(own.expected_success)
    right = solve(model, help_cost=0.05, value="prm", prm=exact.success)
    np.testing.assert_allclose(right.value, exact.value, atol=1e-12)


def test_a_discount_shortens_the_horizon(random_model):
    model = random_model(np.random.default_rng(12), 20, cyclic=True)
    scaled = TransitionModel([0.9 * matrix for matrix in model.P], model.success, model.start, model.cost)
    for backend in BACKENDS:
        ours = solve(model, help_cost=0.1, discount=0.9, backend=backend)
        np.testing.assert_allclose(ours.value, solve(scaled, help_cost=0.1).value, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"help_cost": -1}, InvalidArgumentError, "finite number >= 0"),
        ({"help_cost": float("nan")}, InvalidArgumentError, "finite number >= 0"),
        ({"help_cost": [0.1, 0.2]}, InvalidArgumentError, "one price per intervention"),
        ({"help_cost": 0, "value": "exakt"}, UnknownNameError, "Did you mean 'exact'"),
        ({"help_cost": 0, "method": "papers"}, UnknownNameError, "Did you mean 'paper'"),
        ({"help_cost": 0, "value": "prm"}, InvalidArgumentError, "prm=\\(n,\\)"),
        ({"help_cost": 0, "value": "prm", "prm": [2.0] * 5}, InvalidArgumentError, "success probability of each state"),
        ({"help_cost": 0, "discount": 0}, InvalidArgumentError, "discount"),
        ({"help_cost": 0, "backend": "numbo"}, UnknownNameError, "Did you mean 'numba'"),
    ],
)
def test_invalid_arguments_raise(random_model, arguments, error, message):
    with pytest.raises(error, match=message):
        solve(random_model(np.random.default_rng(0), 5), **arguments)


def test_an_invalid_policy_to_evaluate_raises(random_model):
    model = random_model(np.random.default_rng(0), 5)
    with pytest.raises(InvalidArgumentError, match="one action per state"):
        evaluate_policy(model, [0, 1])
    with pytest.raises(InvalidArgumentError, match="state 2 has action 7"):
        evaluate_policy(model, [0, 0, 7, 0, 0])
