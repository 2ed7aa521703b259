"""Cross-fitted values: on other episodes than those that chose the policy."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import cross_fitted_value, evaluate_policy, solve_budget
from selfreg_gym.transitions import TransitionModel


def test_cross_fitted_values_are_closer_to_the_truth_than_in_sample_values(random_model, played):
    base = random_model(np.random.default_rng(4), 40, cyclic=True, density=0.25, exits=0.4)
    model = TransitionModel(base.P, base.success, base.start)
    data = played(model, 200, np.random.default_rng(5))
    told: list[tuple[int, int]] = []
    honest = cross_fitted_value(
        data, budget=0.3, bootstrap=20, prior=0.0, backoff=None, horizon=None, progress=lambda *done: told.append(done)
    )
    fitted = TransitionModel.fit(data, horizon=None, backoff=None, prior=0.0)
    plan = solve_budget(fitted, budget=0.3)
    true = 0.0
    for weight, part in zip(plan.weights, plan.policies, strict=True):
        policy = np.array([part.action(fitted.locate(f"s{i}")) for i in range(40)])
        true += weight * evaluate_policy(model, policy).expected_success
    assert plan.expected_success - true > 0.05
    assert abs(honest.expected_success - true) < abs(plan.expected_success - true)
    assert honest.success_ci[0] < honest.expected_success < honest.success_ci[1]
    assert honest.success_ci[0] < true < honest.success_ci[1]
    assert told == [(done, 2 * 21) for done in range(1, 2 * 21 + 1)]


def test_too_few_episodes_raise(random_model, played):
    data = played(random_model(np.random.default_rng(0), 5), 3, np.random.default_rng(0))
    with pytest.raises(InvalidArgumentError, match="two episodes per fold"):
        cross_fitted_value(data, budget=1)


def test_coverage_of_the_intervals_on_few_episodes(random_model, played):
    model = random_model(np.random.default_rng(4), 12)
    model = TransitionModel(model.P, model.success, model.start)
    hits, worlds = np.zeros(2), 12
    for world in range(worlds):
        data = played(model, 40, np.random.default_rng(100 + world))
        found = cross_fitted_value(data, budget=0.3, bootstrap=8, prior=3.0, backoff=None, horizon=None, seed=world)
        truth = np.zeros(2)
        for policy in found.policies:
            for weight, part in zip(policy.weights, policy.policies, strict=True):
                value = evaluate_policy(model, [part.action(policy.model.locate(f"s{i}")) for i in range(12)])
                truth += weight * np.array([value.expected_success, value.expected_usage]) / 2
        for i, (low, high) in enumerate((found.success_ci, found.usage_ci)):
            hits[i] += low <= truth[i] <= high
    assert (hits >= 10).all()


def test_without_groups_there_is_no_interval(random_model, played):
    data = played(random_model(np.random.default_rng(0), 6), 20, np.random.default_rng(0))
    found = cross_fitted_value(data, budget=0.5, bootstrap=0, prior=0.0, backoff=None, horizon=None)
    assert np.isnan([*found.success_ci, *found.usage_ci]).all()
    assert 0 <= found.expected_success <= 1
