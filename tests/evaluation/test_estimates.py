"""Differences, shares and curve estimates in simulated worlds with known values; damaged and older files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from selfreg_gym.errors import ConfigError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.curve_estimates import area, best_lift, columns_of, isotonic, usage_for
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.helper import Helper, HelperKey

TASKS, EPISODES = 60, 3


def simulated(seed, helpers, *, fixed=False, resamples=300, tasks=TASKS):
    """Helpers given as (share of help, gain): success rises from 0.4 to 0.9 with the gain, usage from 0 to 6."""
    rng = np.random.default_rng(seed)
    n = tasks * EPISODES
    luck, columns = rng.random(n), {}
    for key, (share, gain) in helpers.items():
        usage = rng.poisson(6 * share, n).astype(float)
        columns[key] = {
            "success": (luck < 0.4 + 0.5 * gain).astype(float), "usage": usage, "helped": usage / 2,
            "length": np.full(n, 9.0), "error": np.zeros(n), "usage_1": usage, "calls_1": usage / 2,
        }  # fmt: skip
    task, kinds = np.repeat(np.arange(tasks), EPISODES), np.full(n, "", dtype=object)
    return EpisodeTable("test", task, np.arange(n), kinds, columns, fixed, seed, resamples)


ANCHORS = {"never": (0.0, 0.0), "always": (1.0, 1.0)}
COIN = {f"coin@{6 * q:g}": (q, q) for q in (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)}
NEVER, ALWAYS = ([HelperKey(name)] for name in ANCHORS)
COLUMNS = columns_of(NEVER, [[HelperKey.parse(key)] for key in COIN], ALWAYS)


def test_a_helper_equal_to_the_coin_is_above_one_half_in_half_of_the_evaluations():
    areas, hulls, covered = [], [], 0
    for seed in range(60):
        table = simulated(seed, ANCHORS | COIN)
        found = area(table, COLUMNS)
        covered += found.low <= 0.5 <= found.high
        areas.append(found.value)
        usage, success = Evaluation({"test": table}).curve("coin").hull
        hulls.append(np.trapezoid(success - success[0], usage) / (np.ptp(usage) * np.ptp(success)))
    above = np.mean(np.array(areas) > 0.5)
    assert 0.3 < above < 0.7
    assert np.mean(np.array(hulls) > 0.5 + 1e-9) > above + 0.15  # what a maximum does
    assert covered / 60 > 0.85


def test_the_lift_of_a_selected_point_is_not_biased_upwards():
    lifts, covered = [], 0
    for seed in range(60):
        found = best_lift(simulated(seed, ANCHORS | COIN), COLUMNS)
        lifts.append(found.value)
        covered += found.low <= 0.0 <= found.high
    assert abs(np.mean(lifts)) < 3 * np.std(lifts) / np.sqrt(60)
    assert covered / 60 > 0.85
    better = simulated(0, ANCHORS | {"h@2": (1 / 3, 0.8), "h@4": (2 / 3, 0.7)}, tasks=400)
    columns = columns_of(NEVER, [[HelperKey("h", 2.0)], [HelperKey("h", 4.0)]], ALWAYS)
    found = best_lift(better, columns)
    assert found.low < 0.5 * (0.8 - 1 / 3) < found.high
    single = best_lift(better, columns_of(NEVER, [[HelperKey("h", 2.0)]], ALWAYS))
    assert single.value == pytest.approx(found.value, abs=0.02)


def test_usage_for_half_of_the_gap_has_an_interval_that_may_be_unbounded():
    found = usage_for(simulated(1, ANCHORS | COIN, tasks=400), COLUMNS, 0.5)
    assert found.low < 3.0 < found.high
    curve = next(iter(Evaluation({"test": simulated(2, ANCHORS | COIN)}).curves))
    assert curve["usage_for_half_ci"][0] <= curve["usage_for_half"]
    assert set(curve) >= {"area_ci", "best_lift_ci", "usage_for_80_percent_ci"}
    harm = usage_for(simulated(3, {"never": (0.0, 1.0), "always": (1.0, 0.0)} | COIN), COLUMNS, 0.5)
    assert np.isinf(harm.value)


def test_isotonic_regression_agrees_with_scipy():
    from scipy.optimize import isotonic_regression

    values = np.random.default_rng(0).random((30, 7))
    ours = isotonic(values)
    for row, fitted in zip(values, ours, strict=True):
        np.testing.assert_allclose(fitted, isotonic_regression(row).x)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_difference_of_zero_in_all_episodes_has_an_interval(fixed):
    evaluation = Evaluation({"test": simulated(0, ANCHORS | {"a": (0.5, 0.5), "b": (0.5, 0.5)}, fixed=fixed)})
    found = evaluation.paired_difference("a", "b")
    units = TASKS * EPISODES if fixed else TASKS
    assert found.value == 0.0
    assert found.high == -found.low == pytest.approx(1.96 * np.sqrt(3) / units)
    assert tuple(evaluation.paired_difference("a", "a")) == (0.0, 0.0, 0.0)
    same = Evaluation({"test": simulated(0, ANCHORS | {"h": (1.0, 1.0)}, fixed=fixed)}).recovery("h").share
    assert same.low < same.value == 1.0 < same.high  # as always in every episode played


def test_intervals_of_few_tasks_contain_their_estimate_and_are_possible():
    """With six tasks, widened intervals of success rates exceeded 1, and a share was outside its own interval."""
    outside = 0
    for seed in range(40):
        helpers = ANCHORS | {"h@1": (0.3, 0.5), "random@1": (0.2, 0.1)}
        evaluation = Evaluation({"test": simulated(seed, helpers, tasks=3)})
        difference = evaluation.paired_difference("always", "never")
        assert -1.0 <= difference.low <= difference.value <= difference.high <= 1.0
        length = evaluation.paired_difference("always", "never", measure="usage")
        outside += length.high > 1.0
        for item in evaluation.comparisons:
            for name in ("share", "over_coin", "over_random"):
                found = item[name]
                if found is not None and None not in (found["value"], *found["ci"]):
                    assert found["ci"][0] <= found["value"] <= found["ci"][1]
    assert outside == 40, "other measures are not limited"


def test_small_differences_are_covered():
    hits, truth = 0, 0.01
    for seed in range(150):
        table = simulated(seed, {"a": (0.5, 0.5), "b": (0.5, 0.52)})
        found = Evaluation({"test": table}).paired_difference("b", "a")
        hits += found.low <= truth <= found.high
    assert hits / 150 > 0.9


def test_rows_distinguish_calls_and_cost_units():
    row = next(r for r in Evaluation({"test": simulated(0, ANCHORS)}).rows if r["helper"] == "always")
    assert row["calls"] == pytest.approx(row["usage"] / 2)
    assert row["calls_ci"][0] < row["calls"] < row["calls_ci"][1]
    assert row["usage_by_intervention"] == [pytest.approx(row["usage"])]
    assert row["calls_by_intervention"] == [pytest.approx(row["calls"])]


def damaged(data, path, value):
    """A copy of ``data`` with the value at ``path`` replaced, or removed."""
    copy = json.loads(json.dumps(data))
    *outer, last = path
    at = copy
    for part in outer:
        at = at[part]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return copy


HELPER = ("episodes", 0, "helpers", "never")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("episodes",), KeyError), (("episodes",), 3), (("episodes",), [3]), (("budgets",), None), (("meta",), []),
        (("budgets", "h@2"), "1"), (("budgets", "h@2"), None), (("expected", "test"), {"h@2": {"usage": None}}),
        (("episodes", 0, "task"), [1]), (("episodes", 0, "seed", 0), None), (("episodes", 0, "kind", 0), 1),
        (("episodes", 0, "fixed_tasks"), "no"), (("episodes", 0, "resamples"), None), (("traces",), {}),
        ((*HELPER, "success"), KeyError), ((*HELPER, "success"), [1]), ((*HELPER, "usage", 0), "1"),
        (("episodes", 0, "helpers"), {}), (("episodes", 0, "helpers"), []),
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error(tmp_path, path, value):
    evaluation = Evaluation({"test": simulated(0, ANCHORS | {"h@2": (0.3, 0.5)}, resamples=20)}, budgets={"h@2": 2.0})
    file = evaluation.save(tmp_path / "evaluation.json")
    assert Evaluation.load(file).rows == evaluation.rows
    file.write_text(json.dumps(damaged(json.loads(file.read_text()), path, value)))
    with pytest.raises(ConfigError, match=r"evaluation\.json is damaged: .* Evaluate the run again"):
        Evaluation.load(file)


@pytest.mark.parametrize("text", ["", "[1", "[]", "NaN", "[" * 100_000, "{}", '"x"'])
def test_a_file_that_is_not_an_evaluation_is_an_error(tmp_path, text):
    file = tmp_path / "evaluation.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="evaluation"):
        Evaluation.load(file)
    with pytest.raises(ConfigError, match=r"an evaluation is one JSON file, received the folder .* give the path of"):
        Evaluation.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Evaluation.load(tmp_path / "missing.json")


def test_nan_is_saved_as_null_and_read_from_older_files(tmp_path):
    evaluation = Evaluation(
        {"test": simulated(0, ANCHORS, resamples=20)}, meta={"odd": [float("nan"), float("inf"), 1]}
    )
    text = evaluation.save(tmp_path / "evaluation.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    loaded = json.loads(text)
    assert loaded["meta"]["odd"] == [None, None, 1]
    (tmp_path / "old.json").write_text(text.replace('"odd": [null', '"odd": [NaN'))
    assert Evaluation.load(tmp_path / "old.json").meta["odd"] == [None, None, 1]


def test_any_split_may_have_fixed_tasks():
    from selfreg_gym.evaluation import SplitPlan, evaluate_splits

    class Never(Helper):
        expected_usage = 0.25

        def decide(self, observations, state, start):
            return np.zeros(len(start), dtype=int), state

    env = {"task": "selfreg/Coin-v0", "actor": lambda observation: "heads", "interventions": ["expert"]}
    plans = {
        "mine": SplitPlan(env, [0, 1], 2, fixed_tasks=True), "theirs": SplitPlan(env, [0, 1], 2),
        "collected": SplitPlan(env, [0, 1], 2), "sampled": SplitPlan(env, [0, 1], 2, fixed_tasks=False),
    }  # fmt: skip
    with pytest.warns(DeprecationWarning, match="'collected' has fixed tasks because of its name"):
        found = evaluate_splits(plans, {"never": Never()}, progress=False, warn=False)
    assert [found.tables[name].fixed_tasks for name in plans] == [True, False, True, False]
    expected = {name: found.expected[name].get(HelperKey("never"), {}).get("usage") for name in plans}
    assert expected == {"mine": 0.25, "theirs": None, "collected": 0.25, "sampled": None}
