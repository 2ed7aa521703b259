"""The grid of prices."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.fitted.prices import first_prices, interpolation, relocated_prices


def test_the_first_grid_reaches_the_price_at_which_no_call_pays():
    prices = first_prices(9, 0.5)
    assert prices[0] == 0
    assert prices[-1] == 2.0
    assert (np.diff(prices) > 0).all()


def test_prices_gather_where_usage_jumps():
    prices = np.linspace(0, 1, 21)
    usage = np.where(prices < 0.4, 2.0, 0.0) + 0.01 * (1 - prices)
    success = np.where(prices < 0.4, 0.9, 0.4)
    found = relocated_prices(prices, success, usage)
    assert found[0] == 0
    assert (np.diff(found) > 0).all()
    assert ((found > 0.3) & (found < 0.45)).sum() >= 12  # of 21
    assert found[-1] < 0.6  # nothing happens above


def test_equal_steps_of_a_smooth_curve():
    prices = np.linspace(0, 1, 200)
    usage = 3 * (1 - prices) ** 3
    found = relocated_prices(prices, usage / 4, usage, even=0.0)
    steps = -np.diff(np.interp(found, prices, usage))
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.05)


@pytest.mark.parametrize("usage", [np.zeros(5), np.ones(5), np.array([1.0, 2.0, 0.5, 0.7, 0.0])])
def test_flat_and_rising_curves_give_a_rising_grid(usage):
    found = relocated_prices(np.linspace(0, 1, 5), usage / 2, usage)
    assert found[0] == 0
    assert (np.diff(found) > 0).all()


def test_interpolation_is_exact_for_linear_functions_and_constant_beyond_the_ends():
    old, new = np.array([0.0, 1.0, 4.0]), np.array([-1.0, 0.0, 0.25, 3.0, 9.0])
    np.testing.assert_allclose(interpolation(old, new) @ (2 * old + 1), [1, 1, 1.5, 7, 9])
