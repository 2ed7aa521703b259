"""Policies between the prices of the grid are evaluated where usage jumps."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.fitted.deployed import deployed_curve
from selfreg_gym.fitted.refinement import HALVINGS, LARGEST_STEP, interpolated, refined
from selfreg_gym.solver import evaluate_policy
from tests.support.sampled import sample_decisions, state_inputs

PRICES = np.array([0.0, 0.1, 0.4, 1.0])


def jumping(price: float) -> np.ndarray:
    """Terms of 50 episodes whose usage is 6 below a price of 0.02, then 2 at 0.1 and 0 at 1."""
    usage = 6.0 if price < 0.02 else np.interp(price, [0.02, 0.1, 1.0], [2.5, 2.0, 0.0])
    noise = np.tile([0.3, -0.3], 25)
    return np.column_stack([np.full(50, 0.8 if price < 0.4 else 0.7), usage + noise])


def test_a_jump_is_located():
    prices, terms = refined(PRICES, jumping)
    assert terms.shape == (len(prices), 50, 2)
    assert set(PRICES) <= set(prices)
    assert (np.diff(prices) > 0).all()
    usage = terms[..., 1].mean(axis=1)
    grid = np.interp(0.05, PRICES, [jumping(price)[:, 1].mean() for price in PRICES])
    true = jumping(0.05)[:, 1].mean()
    assert grid - true > 1.5
    assert np.interp(0.05, prices, usage) == pytest.approx(true, abs=0.01)
    large = np.abs(np.diff(usage)) > LARGEST_STEP * 6
    assert np.diff(prices)[large].max() <= 0.1 / 2**HALVINGS + 1e-12  # only the jump itself, in its shortest interval
    assert large.sum() == 1


def test_small_steps_are_left_alone():
    prices, terms = refined(PRICES, lambda price: np.full((4, 2), 1.0 + 0.01 * price))
    np.testing.assert_array_equal(prices, PRICES)
    assert terms.shape == (4, 4, 2)


def test_interpolation_between_prices():
    for price in (0.0, 0.05, 0.1, 0.7, 1.0, 5.0):
        i, j, share = interpolated(PRICES, price)
        assert (1 - share) * PRICES[i] + share * PRICES[j] == pytest.approx(min(price, 1.0))


def test_the_deployed_policy_is_evaluated_on_the_folds(decisions, frontier, model):
    """Usage and success of the mean of all networks are those of the exact model."""
    prices, points = deployed_curve(frontier, decisions)
    assert set(frontier.prices) <= set(prices)
    for price, (usage, success) in list(zip(prices, points, strict=True))[::3]:
        value = evaluate_policy(model, frontier.action(state_inputs(model), float(price)))
        assert usage == pytest.approx(value.expected_usage, abs=0.15)
        assert success == pytest.approx(value.expected_success, abs=0.04)
        assert success == pytest.approx(float(frontier.success_at(usage))), "held out, at equal usage"
    assert deployed_curve(frontier, sample_decisions(model, 50, 1)) is None
