"""Estimates of the policies, and the mixture for a budget."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.fitted.estimates import Estimates, estimate
from selfreg_gym.fitted.policy import budget_mixture


def test_means_intervals_and_shape():
    rng = np.random.default_rng(0)
    true = np.array([0.8, 0.6, 0.65, 0.3, 0.2, 0.9])  # three prices; never; always 1; always 2
    success = true + 0.2 * rng.normal(size=(400, 6))
    found = estimate(success, 2 * success, prices=np.array([0.0, 0.1, 0.2]), seed=1)
    means = success.mean(axis=0)
    np.testing.assert_allclose(found.success[[0, 3, 4, 5]], means[[0, 3, 4, 5]])
    np.testing.assert_allclose(found.success[1:3], means[1:3].mean())  # they rose with the price
    assert (np.diff(found.success_replicates[:, :3], axis=1) <= 1e-12).all()
    low, high = found.interval(np.eye(6)[0], of="success")
    assert high - low == pytest.approx(2 * 1.96 * 0.2 / 20, rel=0.15)
    assert found.never == 3
    assert found.best_always() == 5
    capped = estimate(success, 2 * success, prices=np.array([0.0, 0.1, 0.2]), seed=1, most=1.5)
    np.testing.assert_allclose(capped.usage, np.minimum(found.usage, 1.5))
    again = estimate(success, 2 * success, prices=np.array([0.0, 0.1, 0.2]), seed=1)
    np.testing.assert_array_equal(again.usage_replicates, found.usage_replicates)


def made(success: list[float], usage: list[float]) -> Estimates:
    s, m = np.array(success), np.array(usage)
    return Estimates(s, m, s[None], m[None], np.array([0.0, 0.3]))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (0.0, [0, 0, 1, 0]),
        (0.25, [0, 0.5, 0.5, 0]),
        (0.5, [0, 1, 0, 0]),
        (1.25, [0.5, 0.5, 0, 0]),
        (2.0, [1, 0, 0, 0]),
        (3.0, [0.75, 0, 0, 0.25]),
        (9.0, [0, 0, 0, 1]),
    ],
)
def test_a_budget_is_a_mixture_of_neighbours(budget, expected):
    weights, message = budget_mixture(made([0.8, 0.5, 0.1, 0.9], [2.0, 0.5, 0.0, 6.0]), budget)
    np.testing.assert_allclose(weights, expected)
    assert ("do not help" in message) == (budget > 6)


@pytest.mark.parametrize(
    ("success", "best", "usage"),
    [([0.5, 0.5, 0.1, 0.4], [0, 1, 0, 0], "0.5"), ([0.5, 0.4, 0.6, 0.5], [0, 0, 1, 0], "0")],
)
def test_nothing_is_spent_without_more_success(success, best, usage):
    weights, message = budget_mixture(made(success, [2.0, 0.5, 0.0, 6.0]), 3.0)
    np.testing.assert_array_equal(weights, best)
    assert f"more than {usage} cost units" in message


def test_always_is_not_mixed_in_where_it_is_worse():
    weights, message = budget_mixture(made([0.8, 0.5, 0.1, 0.7], [2.0, 0.5, 0.0, 6.0]), 3.0)
    np.testing.assert_array_equal(weights, [1, 0, 0, 0])
    assert "more than 2 cost units" in message
