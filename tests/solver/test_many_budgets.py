"""A budget per intervention, and hard limits per episode."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import solve, solve_budget, solve_caps, solve_frontier
from selfreg_gym.transitions import TransitionModel


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 40), actions=st.integers(2, 4), cyclic=st.booleans())
def test_budgets_per_intervention_agree_with_the_lp(random_model, lp, seed, n, actions, cyclic):
    rng = np.random.default_rng(seed)
    model = random_model(rng, n, actions, cyclic=cyclic, density=3 / n)
    free = solve(model, help_cost=0).expected_usage_by_intervention
    budgets = rng.random(actions - 1) * (free + 0.1)
    policy = solve_budget(model, budget=budgets)
    assert (policy.expected_usage_by_intervention <= budgets + 1e-8).all()
    assert policy.expected_success == pytest.approx(lp(model, budgets), abs=2e-8)
    assert len(policy.policies) <= actions
    assert policy.message == "" or "cannot help" in policy.message


def test_three_interventions_take_few_solves(random_model, lp):
    model = random_model(np.random.default_rng(1), 400, 4, density=0.01)
    free = solve(model, help_cost=0).expected_usage_by_intervention
    policy = solve_budget(model, budget=0.3 * free)
    assert policy.expected_success == pytest.approx(lp(model, 0.3 * free), abs=1e-8)
    assert policy.iterations / 4 < 150  # a solve and three evaluations each


def test_one_of_several_budgets_is_the_single_budget(random_model):
    model = random_model(np.random.default_rng(2), 60, density=0.05)
    one, listed = solve_budget(model, budget=0.3), solve_budget(model, budget=[0.3])
    assert listed.expected_success == pytest.approx(one.expected_success, abs=1e-9)
    assert solve_budget(model, budget=[np.inf]).expected_success == pytest.approx(
        solve(model, help_cost=0).expected_success
    )
    with pytest.raises(InvalidArgumentError, match="per intervention"):
        solve_budget(model, budget=[0.1, 0.2])
    with pytest.raises(InvalidArgumentError, match=">= 0"):
        solve_budget(model, budget=[-0.1])
    with pytest.raises(InvalidArgumentError, match="exact"):
        solve_budget(model, budget=[0.1], method="paper")


def with_calls_left(model: TransitionModel, cap: int) -> TransitionModel:
    """The problem over (state, calls left), written out: the oracle of hard limits."""
    n, states = model.n, model.n * (cap + 1)
    P = [np.zeros((states, states)) for _ in range(model.actions)]
    success, available = np.tile(model.success, cap + 1), np.ones((model.actions, states), bool)
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
@given(seed=st.integers(0, 2**32), n=st.integers(1, 12), cyclic=st.booleans())
def test_hard_limits_agree_with_the_problem_written_out(random_model, seed, n, cyclic):
    model = random_model(np.random.default_rng(seed), n, 3, cyclic=cyclic)
    for backend in ("numba", "numpy"):
        capped = solve_caps(model, hard_cap=3, backend=backend)
        for cap in range(4):
            exact = solve(with_calls_left(model, cap), help_cost=0)
            assert capped.expected_success[cap] == pytest.approx(exact.expected_success, abs=1e-11)
            assert capped.expected_usage[cap] == pytest.approx(exact.expected_usage, abs=1e-6)
    assert not capped.policy[0].any()
    assert (np.diff(capped.expected_success) >= -1e-12).all()


def test_a_hard_limit_is_worth_no_more_than_the_same_budget(random_model):
    base = random_model(np.random.default_rng(3), 50, density=0.06)
    model = TransitionModel(base.P, base.success, base.start)  # a call costs one unit
    frontier, capped = solve_frontier(model, gap=0), solve_caps(model, hard_cap=4)
    for cap in range(5):
        assert capped.expected_usage[cap] <= cap + 1e-12
        assert capped.expected_success[cap] <= frontier.success_at(cap) + 1e-12
    assert capped.action(3, 99) == capped.policy[4, 3]
    assert capped.action(-1, 2) == 0
    with pytest.raises(InvalidArgumentError, match="whole number"):
        solve_caps(model, hard_cap=-1)
    with pytest.raises(InvalidArgumentError, match="whole number"):
        solve_caps(model, hard_cap=1.5)
