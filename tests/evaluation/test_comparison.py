"""Shares of the gap and comparisons at equal usage, on the Coin task."""

from __future__ import annotations

import numpy as np
import pytest
from coins import COINS, HELPERS, Constant, LastCoins, Toggler, row, run

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.helper import Helper

pytestmark = pytest.mark.filterwarnings("ignore::selfreg_gym.evaluation.diagnostics.EvaluationWarning")


@pytest.fixture(scope="module")
def coins() -> Evaluation:
    return run()


def shares_along(evaluation, name):
    """Usage of never, the points of a helper and always, in order, and their shares of the gap."""
    rows = [r for r in evaluation.rows if r["helper"] in ("never", name, "always") and r["kind"] == "all"]
    never, always = row(evaluation, "never")["success_rate"], row(evaluation, "always")["success_rate"]
    points = sorted((r["usage"], (r["success_rate"] - never) / (always - never)) for r in rows)
    return tuple(np.array(points).T)


def test_recovery_at_a_budget_is_read_at_that_usage(coins):
    for budget, key in ((1.0, "last@1"), (2.0, "last@2")):
        found = coins.recovery("last", budget=budget)
        assert found.usage == budget
        assert found.measured_usage == pytest.approx(row(coins, key)["usage"])
        assert found.adjusted == (abs(found.measured_usage - budget) > 0.05 * budget)
        assert found.share.value == pytest.approx(np.interp(budget, *shares_along(coins, "last")))
        assert found.share.low < found.share.value < found.share.high
        assert found.coin == pytest.approx(min(budget / COINS.mean(), 1.0))
        assert found.random is None


def test_usage_above_and_below_the_budget_are_adjusted_alike():
    helpers = {"never": Constant(0), "always": Constant(1), "greedy@0.5": Constant(1), "shy@2": LastCoins(1)}
    evaluation = run(helpers)
    greedy, shy = evaluation.recovery("greedy", budget=0.5), evaluation.recovery("shy", budget=2)
    for found, budget in ((greedy, 0.5), (shy, 2.0)):
        assert found.adjusted
        assert found.usage == budget
        assert found.share.value == pytest.approx(np.interp(budget, *shares_along(evaluation, found.helper)))
    assert shy.measured_usage < 2
    own = (row(evaluation, "shy@2")["success_rate"] - row(evaluation, "never")["success_rate"]) / (
        row(evaluation, "always")["success_rate"] - row(evaluation, "never")["success_rate"]
    )
    assert shy.share.value > own  # up to C along its own curve, as the other comes down
    assert any("over budget are greedy@0.5" in text for text in evaluation.warnings)


def test_at_equal_usage_reads_the_other_curve_between_its_points():
    class Seldom(Helper):
        def __init__(self, p: float) -> None:
            self.p, self.rng = p, np.random.default_rng(0)

        def decide(self, observations, state, start):
            return (self.rng.random(len(start)) < self.p).astype(int), state

    helpers = HELPERS | {f"random@{p}": Seldom(p) for p in (0.2, 0.4)}
    evaluation = run(helpers)
    found = evaluation.at_equal_usage("last", budget=1.0)
    points = [(0, 0)] + [(row(evaluation, k)["usage"], row(evaluation, k)["success_rate"]) for k in helpers]
    xs = np.array([points[1], points[5], points[6], points[2]])
    assert found.other_value == pytest.approx(np.interp(found.usage, xs[:, 0], xs[:, 1]))
    assert found.difference.low > 0  # the right calls beat as many random ones
    assert found.value - found.other_value == pytest.approx(found.difference.value)
    over = evaluation.recovery("last", budget=1.0)
    assert over.over_random is not None
    assert over.over_random.low > 0
    toggling = evaluation.at_equal_usage("last", budget=1.0, measure="toggles")
    assert toggling.difference.high < 0


def test_paired_difference_of_a_helper_with_itself_is_exactly_zero(coins):
    assert tuple(coins.paired_difference("last@1", "last@1")) == (0.0, 0.0, 0.0)


def test_a_helper_worse_than_the_coin_is_reported():
    class FirstCoin(Helper):  # the worst step to ask at: all other coins are still to be guessed
        def decide(self, observations, state, start):
            return np.array([o.startswith("Coin 1 ") for o in observations]).astype(int), state

    evaluation = run(HELPERS | {"first@1": FirstCoin()}, episodes=60)
    assert any("first@1: below the coin line" in text for text in evaluation.warnings)
    assert not any("last@2: below" in text for text in evaluation.warnings)


def test_toggles_are_compared_with_the_threshold_of_the_nearest_usage():
    """With several interventions there is a threshold for each of them, and none under the plain name."""
    helpers = {"never": Constant(0), "always": Constant(1), "mine@1": Toggler()}
    helpers |= {"prm-threshold:dear@1": Constant(0), "prm-threshold:see@1": LastCoins(2), "every-k:see@1": LastCoins(1)}
    found = {item["key"]: item.get("toggles_against_prm_threshold") for item in run(helpers, episodes=5).comparisons}
    assert found["mine@1"]["other"] == "prm-threshold:see"
    assert found["mine@1"]["difference"]["value"] > 0
    assert found["every-k:see@1"]["prm_threshold_toggles"] == 0
    assert found["prm-threshold:see@1"] is None
