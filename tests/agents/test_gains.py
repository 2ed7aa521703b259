"""Helpers with gains at a grid of prices: their actions are those of the exact solution; usage rises with the knob."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from selfreg_gym.agents.helpers._gains import GainHelper, gain_actions, position_of
from selfreg_gym.envs.frozen_lake import FrozenLake
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import evaluate_policy, solve
from selfreg_gym.types import Intervention

PRICES = (0.02, 0.3, 0.1, 0.05)  # in no order


class Table(GainHelper):
    """Gains of known states, which are its observations."""

    def __init__(self, success: np.ndarray, usage: np.ndarray, prices: Sequence[float], costs: Sequence[float]) -> None:
        super().__init__(prices, costs)
        self.table = success, usage

    def gains(self, observations: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.table[0][observations], self.table[1][observations]


@pytest.fixture(scope="module")
def model() -> Any:
    return FrozenLake(clock=False).intervention_model()


@pytest.fixture(scope="module")
def table(model: Any) -> Table:
    """The exact gains of FrozenLake's intervention problem."""
    success, usage = [], []
    for price in PRICES:
        found = solve(model, help_cost=price)
        success.append((found.success_by_action[1:] - found.success_by_action[0]).T)
        usage.append((found.usage_by_action[1:] - found.usage_by_action[0]).T)
    costs = [1.0] * (model.actions - 1)
    return Table(np.nan_to_num(np.stack(success, 1)), np.nan_to_num(np.stack(usage, 1)), PRICES, costs)


def actions_of(helper: GainHelper, n: int, coin: float = 0.5) -> np.ndarray:
    success, usage = helper.gains(np.arange(n))
    chosen = {"prices": helper.prices, "always": helper.always, "position": helper.position}
    return gain_actions(success, usage, coins=np.full(n, coin), **chosen)


def test_at_a_price_the_policy_is_the_optimal_one(table: Table, model: Any) -> None:
    for price in PRICES:
        best = solve(model, help_cost=price)
        mine = evaluate_policy(model, actions_of(table.with_price(price), model.n), help_cost=price)
        assert model.start @ mine.value == pytest.approx(float(model.start @ best.value), abs=1e-9)


def test_usage_rises_with_the_knob_and_the_bounds_are_never_and_always(table: Table, model: Any) -> None:
    usage = []
    for x in np.linspace(0, len(PRICES) + 1, 11):
        low, high = (evaluate_policy(model, actions_of(table.with_knob(x), model.n, coin)) for coin in (0.0, 1 - 1e-9))
        usage.append((low.expected_usage + high.expected_usage) / 2)
    assert usage[0] == 0
    assert (np.diff(usage) >= -1e-9).all()
    assert (actions_of(table.with_knob(0.0), model.n) == 0).all()
    assert (actions_of(table.with_knob(len(PRICES) + 1.0), model.n) == 1).all()


def test_rounding_is_in_units_of_the_smallest_cost(table: Table) -> None:
    prices = [price * 1e6 for price in PRICES]
    small = Table(table.table[0], table.table[1] * 1e-6, prices, [1e-6])
    success, usage = small.rounded(*small.gains(np.arange(5)), 5)
    expected = table.rounded(*table.gains(np.arange(5)), 5)
    np.testing.assert_allclose(usage * 1e6, expected[1], atol=1e-9)
    np.testing.assert_array_equal(success, expected[0])
    assert np.abs(usage).max() > 0


def test_outside_the_grid_a_coin_per_episode_decides(table: Table) -> None:
    n = 4000
    observations = np.zeros(n, dtype=np.int64)
    keys, starts = np.arange(n, dtype=np.int64), np.ones(n, dtype=np.bool_)

    def played(x: float) -> tuple[np.ndarray, np.ndarray]:
        helper = table.with_knob(x)
        state = helper.begin_episodes(None, starts, keys)
        first, state = helper.predict(observations, state, starts)
        second, _ = helper.predict(observations, state, ~starts)
        return first, second

    first, second = played(4.25)
    assert (first == second).all(), "one coin per episode"
    assert (first == 1).mean() >= 0.25 - 0.03
    more, _ = played(4.75)
    assert (more >= first).all(), "the same coins, so no episode loses its help"


def test_one_intervention_is_always_asked_at_the_upper_end() -> None:
    success = np.array([[[0.5, 0.6]]])
    usage = np.array([[[1.0, 3.0]]])
    given: dict[str, Any] = {"prices": (0.1,), "always": 2, "coins": np.array([0.5])}
    assert gain_actions(success, usage, position=1.0, **given).tolist() == [1], "0.4 is more than 0.3"
    assert gain_actions(success, usage, position=2.0, **given).tolist() == [2]
    assert gain_actions(success, usage, position=0.5, **given).tolist() == [0], "the coin is not below 0.5"


def test_between_two_prices_gains_are_interpolated() -> None:
    success, usage = np.array([[[0.0], [0.2]]]), np.array([[[1.0], [1.0]]])  # gains -0.3 at 0.3 and 0.1 at 0.1
    given: dict[str, Any] = {"prices": (0.3, 0.1), "always": 1, "coins": np.array([0.5])}
    asks = [gain_actions(success, usage, position=x, **given)[0] for x in (1.0, 1.74, 1.76, 2.0)]
    assert asks == [0, 0, 1, 1]


def test_position_of_a_price() -> None:
    assert [position_of(PRICES, r) for r in (0.3, 0.1, 0.05, 0.02)] == [1, 2, 3, 4]
    assert position_of(PRICES, 0.2) == pytest.approx(1.5)
    assert (position_of(PRICES, 9.0), position_of(PRICES, 0.0)) == (1, 4)


def test_invalid_arguments_are_errors(table: Table) -> None:
    for prices in ((), (0.1, 0.1), (-0.1,), (float("nan"),), "ab"):
        with pytest.raises(InvalidArgumentError, match="prices must be"):
            Table(*table.table, prices, (1.0,))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="knob"):
        table.with_knob(5.1)
    assert Table(*table.table, PRICES, (1.0, 2.0, 2.0)).always == 2, "by default the first of the most expensive"
    with pytest.raises(InvalidArgumentError, match="was trained for 1"):
        table.for_interventions([Intervention(lambda text: text, name="other", cost=2.0)])


@pytest.mark.parametrize("position", [0.0, 0.3, 1.0, 2.6, 4.0, 4.7, 5.0])
def test_the_mixture_is_that_of_the_coins(table: Table, model: Any, position: float) -> None:
    helper = table.with_knob(position)
    mixture = helper.episode_mixture()
    assert sum(weight for weight, _ in mixture) == pytest.approx(1.0)
    coins = (np.arange(200) + 0.5) / 200
    drawn = np.mean([actions_of(helper, model.n, coin) for coin in coins], axis=0)
    mixed = sum(weight * actions_of(one, model.n) for weight, one in mixture)
    np.testing.assert_allclose(drawn, mixed, atol=1e-9)
    for _, one in mixture:
        assert [part is one for _, part in one.episode_mixture()] == [True]
