"""Predicted gains are compared with forks: exact ones agree, biased and unrelated ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from made_forks import made_forks

import selfreg_gym
from selfreg_gym.agents.helpers.dp import DP
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted import solve_fitted
from selfreg_gym.forks import choose_rows, fork, stored_states
from selfreg_gym.forks.gains import check_gains, fitted_gains, table_gains
from selfreg_gym.inputs import DecisionTable


def _drawn(gain: np.ndarray, repetitions: int):
    """Forks of states with these gains, and a success rate of 0.2 with nohelp."""
    rng = np.random.default_rng(0)
    shape = (len(gain), repetitions)
    return made_forks(np.stack([rng.random(shape) < 0.2, rng.random(shape) < 0.2 + gain[:, None]], axis=1), tasks=40)


def test_the_statistics_are_those_of_the_prediction() -> None:
    gain = np.random.default_rng(1).random(400) * 0.6
    forks = _drawn(gain, 12)
    true = check_gains(forks, gain)
    assert true.states == 400
    assert true.bias.low < 0 < true.bias.high
    assert true.slope.value == pytest.approx(1, abs=0.1)
    assert true.slope.high - true.slope.low == pytest.approx(0.14, abs=0.04)
    assert true.correlation.value < 0.85  # noise of 12 repetitions
    assert true.corrected.value == pytest.approx(1, abs=0.12)
    shifted = check_gains(forks, gain / 2 + 0.1)
    assert shifted.bias.value == pytest.approx(true.bias.value + 0.1 - gain.mean() / 2)
    assert shifted.slope.value == pytest.approx(2 * true.slope.value)
    unrelated = check_gains(forks, np.random.default_rng(2).random(400))
    assert unrelated.correlation.low < 0 < unrelated.correlation.high


def test_unknown_gains_are_left_out() -> None:
    gain = np.full(30, 0.3)
    gain[:10] = np.nan
    gain[10:20] = 0.1
    assert check_gains(_drawn(np.full(30, 0.3), 5), gain).states == 20
    with pytest.raises(InvalidArgumentError, match="at least 3"):
        check_gains(_drawn(np.full(30, 0.3), 5), np.full(30, np.nan))
    with pytest.raises(InvalidArgumentError, match="one gain per state"):
        check_gains(_drawn(np.full(30, 0.3), 5), gain[:5])


def test_the_exact_table_of_a_corridor_agrees_with_its_forks(walkway) -> None:
    env, model, rollouts = walkway
    policy = selfreg_gym.solve_budget(model, budget=1.0)
    states = stored_states(rollouts, choose_rows(rollouts.columns("state_key", "steps_left"), 16, seed=2))
    success, usage = table_gains(policy, states)
    forks = fork(env, states, then=DP(policy), repetitions=25, num_envs=64)
    check = check_gains(forks, success[:, 0])
    assert check.bias.low < 0.01
    assert check.bias.high > -0.01
    assert abs(forks.mean_difference()[1].value - usage.mean()) < 0.2


def test_gains_of_fitted_values_are_those_at_the_price_of_the_policy(lake_rollouts) -> None:
    frontier = solve_fitted(
        lake_rollouts,
        inputs=("features", "steps_left"),
        folds=2,
        members=1,
        rounds=2,
        prices=4,
        epochs=1,
        progress=False,
    )
    rows = np.arange(5)
    table = DecisionTable.from_rollouts(lake_rollouts).take(rows)
    x = frontier.encoder.encode(table)
    policy = frontier.policy(0.5)
    success, usage = fitted_gains(policy, table)
    by_price, used = frontier.gains(x)
    expected = np.zeros((5, 1))
    for one, weight in zip(policy.components, policy.weights, strict=True):
        price = frontier.prices[-1 if one.action == 0 else 0] if one.price is None else one.price
        expected[:, 0] += weight * np.array([np.interp(price, frontier.prices, row) for row in by_price[..., 0]])
    assert success == pytest.approx(expected)
    assert usage.shape == used[:, 0].shape == (5, 1)


class TestChoiceOfStates:
    def test_by_gain(self, lake_rollouts) -> None:
        columns = lake_rollouts.columns("state_key", "steps_left")
        gain = np.random.default_rng(0).random(len(columns["steps_left"]))
        rows = choose_rows(columns, 5, gain=gain, largest=True)
        assert gain[rows].tolist() == sorted(gain[rows], reverse=True)
        assert gain[rows[0]] == gain.max()
        rows = choose_rows(columns, 50, gain=gain, least=0.9)
        assert (gain[rows] >= 0.9).all()
        with pytest.raises(InvalidArgumentError, match="smaller limit"):
            choose_rows(columns, 5, gain=gain, least=2.0)
        with pytest.raises(InvalidArgumentError, match="needs the gain"):
            choose_rows(columns, 5, largest=True)

    def test_each_state_once(self, lake_rollouts) -> None:
        columns = lake_rollouts.columns("state_key", "steps_left")
        rows = choose_rows(columns, 10**6, seed=1)
        keys = [(columns["state_key"].codes[row], columns["steps_left"][row]) for row in rows]
        assert len(set(keys)) == len(keys)
        distinct = {*zip(columns["state_key"].codes.tolist(), columns["steps_left"].tolist(), strict=True)}
        assert len(keys) == len(distinct)
        assert choose_rows(columns, 8, seed=1).tolist() != choose_rows(columns, 8, seed=2).tolist()
        with pytest.raises(InvalidArgumentError, match="from 0 on"):
            stored_states(lake_rollouts, [10**7])
