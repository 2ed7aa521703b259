"""One budget per intervention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import solve, solve_budget


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 40), actions=st.integers(2, 4), cyclic=st.booleans())
def test_budgets_per_intervention_equal_the_lp(random_model, lp, seed, n, actions, cyclic):
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
    told: list[tuple[int, float]] = []
    policy = solve_budget(model, budget=0.3 * free, progress=lambda *done: told.append(done))
    assert policy.expected_success == pytest.approx(lp(model, 0.3 * free), abs=1e-8)
    assert told[0][0] < told[-1][0] <= policy.iterations
    assert told[-1][1] < 1e-2 < told[0][1]
    assert policy.iterations / 4 < 150  # a solve and three evaluations each


def test_an_array_of_one_budget_equals_a_single_budget(random_model):
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
