"""Targets: the recursion along episodes, and the greedy policy's values."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.fitted.targets import Backward, greedy, policy_values, trace_targets


@pytest.mark.parametrize("trace", [0.0, 0.4, 1.0])
def test_targets_equal_those_of_a_loop_over_each_episode(trace):
    rng = np.random.default_rng(1)
    length = rng.integers(1, 7, 40)
    n, prices = int(length.sum()), 3
    reward, value = rng.random(n), rng.random((n, prices))
    agree = rng.random((n, prices)) < 0.6
    expected = np.empty((n, prices))
    end = 0
    for count in length:
        begin, end = end, end + int(count)
        expected[end - 1] = reward[end - 1]
        for i in range(end - 2, begin - 1, -1):
            follow = np.where(agree[i + 1], expected[i + 1], value[i + 1])
            expected[i] = reward[i] + (1 - trace) * value[i + 1] + trace * follow
    np.testing.assert_allclose(trace_targets(reward, value, agree, Backward(length), trace=trace), expected)


def test_full_trace_with_agreement_is_the_return_of_the_episode():
    length = np.array([3, 1, 2])
    reward = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    found = trace_targets(reward, np.zeros((6, 1)), np.ones((6, 1), bool), Backward(length), trace=1.0)
    np.testing.assert_array_equal(found[:, 0], [7, 6, 4, 8, 48, 32])


def test_ties_go_to_nohelp():
    success = np.array([[[0.5, 0.5], [0.5, 0.6]]])  # one row, nohelp and help, two prices
    np.testing.assert_array_equal(greedy(success, np.zeros((1, 2, 2)), np.array([0.1, 0.2])), [[0, 1]])


def test_policy_values_do_not_rise_with_the_price():
    rng = np.random.default_rng(2)
    prices = np.linspace(0, 1, 6)
    action, success, usage = policy_values(rng.random((200, 3, 6)), rng.random((200, 3, 6)), prices)
    assert action.shape == success.shape == usage.shape == (200, 6)
    assert set(np.unique(action)) == {0, 1, 2}
    assert (np.diff(success, axis=1) <= 1e-12).all()
    assert (np.diff(usage, axis=1) <= 1e-12).all()
