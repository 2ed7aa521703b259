"""Hard caps: the calls left as inputs, against the exact solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfreg_gym import FittedFrontier
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.capped import calls_left_inputs, with_caps
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import fit_decisions
from selfreg_gym.solver import solve_caps
from tests.fitted.conftest import SMALL
from tests.support.sampled import sample_decisions, state_inputs


def test_each_episode_counts_once_per_cap_until_its_first_call_too_many(decisions):
    capped, caps = with_caps(decisions, 3)
    assert capped.episodes == 3 * decisions.episodes
    assert sorted(set(caps)) == [1, 2, 3]
    width = decisions.x.shape[1]
    left = capped.x[:, width:].argmax(axis=1)
    np.testing.assert_array_equal(capped.closed, left == 0)
    for episode in range(0, decisions.episodes, 97):
        begin, length = decisions.first[episode], decisions.length[episode]
        asked = decisions.action[begin : begin + length] > 0
        before = np.cumsum(asked) - asked
        for most in (1, 2, 3):
            number = episode + (most - 1) * decisions.episodes
            rows = np.arange(capped.first[number], capped.first[number] + capped.length[number])
            kept = int((before <= most).sum())
            assert caps[number] == most
            np.testing.assert_array_equal(left[rows], (most - before)[:kept])
            np.testing.assert_array_equal(capped.x[rows, :width], decisions.x[begin : begin + kept])
            cut = bool(asked[kept - 1] and before[kept - 1] == most)
            assert capped.cut[rows].tolist() == [False] * (kept - 1) + [cut]
            assert capped.success[rows[-1]] == (decisions.success[begin + length - 1] and kept == length and not cut)


def test_closed_calls_end_episodes(decisions):
    with pytest.raises(InvalidArgumentError, match="closed"):
        replace(decisions, closed=np.ones(len(decisions), bool))


@pytest.fixture(scope="module")
def capped_frontier(model) -> FittedFrontier:
    return fit_decisions(
        sample_decisions(model, 3000, 7), cap=2, settings=Settings(**{**SMALL, "hidden": 32, "steps": 64})
    )


def true_success(model, policy) -> float:
    """Exact success of a policy under a cap on a model without cycles: values by (calls left, state)."""
    P = [matrix.toarray() for matrix in model.P]
    values = np.zeros((len(policy.components), policy.cap + 1, model.n))
    for component, value in enumerate(values):
        for left in range(policy.cap + 1):
            action = policy.action(state_inputs(model), component, left=np.full(model.n, left))
            assert left > 0 or not action.any()
            for s in reversed(range(model.n)):
                a = action[s]
                value[left, s] = model.success[a, s] + P[a][s] @ value[left - (a > 0)]
    return float(policy.weights @ (values[:, policy.cap] @ model.start))


def test_success_under_caps_approaches_the_exact_one(model, capped_frontier):
    exact = solve_caps(model, hard_cap=2).expected_success
    for cap in (1, 2):
        policy = capped_frontier.policy(cap=cap)
        assert policy.cap == cap
        assert exact[cap] - true_success(model, policy) < 0.01
        assert policy.expected_success == pytest.approx(exact[cap], abs=0.05)
        assert policy.expected_usage <= 1.05 * cap
    half = capped_frontier.policy(0.2, cap=2)
    assert half.expected_usage == pytest.approx(0.2)
    assert half.expected_success <= capped_frontier.policy(cap=2).expected_success


def test_a_saved_frontier_keeps_its_caps(model, capped_frontier, tmp_path):
    capped_frontier.save(tmp_path)
    loaded = FittedFrontier.load(tmp_path)
    assert repr(loaded.policy(cap=1)) == repr(capped_frontier.policy(cap=1))
    assert loaded.policy(1.0).cap == 2


def test_expected_usage_is_within_the_cap(capped_frontier):
    for most, estimates in enumerate(capped_frontier.caps, 1):
        assert estimates.usage.max() <= most + 1e-9  # each call costs 1
        assert estimates.usage_replicates.max() <= most + 1e-9


def test_arguments_are_checked(model, frontier, capped_frontier):
    with pytest.raises(InvalidArgumentError, match="needs a budget"):
        frontier.policy()
    with pytest.raises(InvalidArgumentError, match="fit them with cap=2"):
        frontier.policy(1.0, cap=2)
    with pytest.raises(InvalidArgumentError, match="from 1 to 2"):
        capped_frontier.policy(1.0, cap=3)
    with pytest.raises(InvalidArgumentError, match="calls left"):
        frontier.with_calls_left(state_inputs(model), np.zeros(model.n, int))
    with pytest.raises(InvalidArgumentError, match="integers from 0 to 2"):
        capped_frontier.with_calls_left(state_inputs(model), np.full(model.n, 3))
    x = calls_left_inputs(np.ones((2, 1)), np.array([0, 2]), 2)
    np.testing.assert_array_equal(x, [[1, 1, 0, 0], [1, 0, 0, 1]])
