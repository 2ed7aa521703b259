"""Solutions: values by action, advantages, mixtures."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import MixedPolicy, solve, solve_budget
from selfreg_gym.transitions import TransitionModel


def test_a_mixture_draws_policies_with_its_weights(random_model):
    model = random_model(np.random.default_rng(25), 30, density=0.1)
    policy = solve_budget(model, budget=0.5 * solve(model, help_cost=0).expected_usage)
    rng = np.random.default_rng(0)
    draws = np.bincount([policy.draw(rng) for _ in range(4000)], minlength=len(policy.policies)) / 4000
    np.testing.assert_allclose(draws, policy.weights, atol=0.03)
    with pytest.raises(InvalidArgumentError, match="one weight"):
        MixedPolicy(policy.policies, np.array([0.5]), 0.1)


def test_the_policy_helps_where_the_advantage_is_positive(random_model):
    model = random_model(np.random.default_rng(9), 40, 3, density=0.1)
    solution = solve(model, help_cost=0.1)
    assert np.array_equal(solution.advantage > 1e-12, solution.policy > 0)
    chosen = solution.success_by_action[solution.policy, np.arange(40)]
    np.testing.assert_allclose(chosen, solution.success, atol=1e-14)


def test_prices_per_intervention_equal_scaled_costs(random_model):
    model = random_model(np.random.default_rng(10), 30, 3, density=0.1)
    prices = np.array([0.05, 0.3])
    solution = solve(model, help_cost=prices)
    scaled = TransitionModel(model.P, model.success, model.start, model.cost * np.r_[0.0, prices][:, None])
    np.testing.assert_allclose(solution.value, solve(scaled, help_cost=1.0).value, atol=1e-12)
    usage = solution.expected_usage_by_intervention
    assert usage.sum() == pytest.approx(solution.expected_usage)
    assert solution.expected_success - prices @ usage == pytest.approx(model.start @ solution.value)
    assert np.array_equal(solution.advantage > 1e-12, solution.policy > 0)
