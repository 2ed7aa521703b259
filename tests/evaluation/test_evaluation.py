"""The protocol on the Coin task, where the success and usage of three helpers are known."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from coins import COINS, HELPERS, TASKS, Constant, Expert, LastCoins, Toggler, coin_env, row, run

from selfreg_gym.errors import ConfigError, InvalidArgumentError, UnknownNameError
from selfreg_gym.evaluation import EpisodeTable, Evaluation, EvaluationWarning, evaluate, evaluation_plan
from selfreg_gym.evaluation.measures import EpisodeMeasures
from selfreg_gym.evaluation.planning import SplitPlan
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.evaluation.protocol import evaluate_splits
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.intervention_env import building
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Act, Intervention
from selfreg_gym.utils.random_streams import Purpose

pytestmark = pytest.mark.filterwarnings("ignore::selfreg_gym.evaluation.diagnostics.EvaluationWarning")


class Flaky:
    """An actor that fails on some episodes, always at their first coin."""

    def act(self, decisions):
        first = [d.observation.startswith("Coin 1 ") and d.rng.random() < 0.5 for d in decisions]
        return [Act("", error="no connection") if bad else Act("heads") for bad in first]


@pytest.fixture(scope="module")
def coins() -> Evaluation:
    return run()


def test_rows_agree_with_theory(coins):
    never, always, last = (row(coins, key) for key in ("never", "always", "last@1"))
    assert never["usage"] == 0.0
    assert always["success_rate"] == 1.0
    assert always["usage"] == COINS.mean()
    for found, chance in ((never, 0.5**COINS), (last, 0.5 ** (COINS - 1))):
        low, high = found["success_rate_ci"]
        assert low <= chance.mean() <= high
        assert high - low < 0.1
    # One call in each episode that reaches its last coin, which are exactly the successful ones.
    assert last["usage"] == last["success_rate"] == last["episode_share"]


def test_every_row_has_the_documented_keys(coins):
    documented = {
        *("helper", "kind", "split", "seed", "budget", "episodes", "success_rate", "success_rate_ci", "usage"),
        *("usage_ci", "expected_usage", "expected_success", "invalid_rate", "toggles", "unseen_state_rate"),
    }
    for found in coins.rows:
        assert documented <= set(found)
        assert found["episodes"] == 16 * 40
    assert {(r["helper"], r["budget"]) for r in coins.rows} == {
        ("never", None), ("always", None), ("last", 1.0), ("last", 2.0)
    }  # fmt: skip
    assert {r["kind"] for r in coins.rows} == {"all", "coin"}


def test_every_planned_episode_is_counted_once(coins):
    """A mistake of other evaluators: the first batch is counted twice."""
    plan = evaluation_plan(TASKS, 40, seed=3)
    table = coins.table()
    assert table.task_index.tolist() == [spec.task_index for spec in plan]
    assert table.seeds.tolist() == [spec.seed for spec in plan]
    for columns in table.columns.values():
        assert np.isfinite(columns["success"]).all()


@pytest.mark.parametrize("num_envs", [1, 7, 64])
def test_batch_size_changes_nothing(coins, num_envs):
    again = run(num_envs=num_envs)
    for key, columns in coins.table().columns.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(again.table().columns[key][name], values)
    assert again.rows == coins.rows


def test_a_single_env_gives_the_same_as_a_batch(coins):
    import gymnasium as gym

    single = gym.make("selfreg/Intervention-v0", **coin_env())
    constants = {"never": Constant(0), "always": Constant(1)}
    again = run(constants, env=single, episodes=3)
    batch = run(constants, episodes=3)
    assert again.rows == batch.rows


def test_each_env_of_a_batch_has_its_own_action():
    """A mistake of other evaluators: one env asks for help, and all of the batch get it."""

    class FirstOfBatch(Helper):
        def decide(self, observations, state, start):
            return (np.arange(len(start)) == 0).astype(int), state

    found = row(run({"one": FirstOfBatch(), "never": Constant(0), "always": Constant(1)}, num_envs=8), "one")
    assert 0 < found["episode_share"] < 0.5
    assert found["step_share"] < 0.5


def test_memory_is_reset_between_episodes():
    """A mistake of other evaluators: the memory of a recurrent helper survives the episode."""
    evaluation = run({"toggler": Toggler()}, num_envs=5)
    assert row(evaluation, "toggler")["episode_share"] == 1.0


def test_toggles_are_returns_to_help(coins):
    def expert_everywhere(observation):
        return "heads"

    evaluation = run({"toggler": Toggler()}, env=coin_env(task_kwargs={"heads": 0.999}, actor=expert_everywhere))
    found = row(evaluation, "toggler")
    # Coins 2, 3, 4, 5: help patterns 10, 101, 1010, 10101 return to help 0, 1, 1, 2 times.
    assert found["toggles"] == pytest.approx(1.0, abs=0.02)
    assert found["switches"] == pytest.approx(np.mean([1, 2, 3, 4]), abs=0.02)
    assert all(row(coins, key)["toggles"] == 0 for key in ("never", "always"))


def test_truncated_episodes_are_excluded():
    """A mistake of other evaluators: a call that ends in an error is counted as nohelp or as a failed episode."""
    flaky = coin_env(actor=Flaky(), task_kwargs={"heads": 0.999})
    evaluation = run({"never": Constant(0), "always": Constant(1)}, env=flaky, retries=0)
    never, always = row(evaluation, "never"), row(evaluation, "always")
    assert 200 < never["errors"] < 440
    assert never["episodes"] + never["errors"] == 640
    assert never["success_rate"] > 0.99
    assert always["errors"] == 0
    assert any("ended in an error" in text for text in evaluation.warnings)
    difference = evaluation.paired_difference("always", "never")
    assert abs(difference.value) < 0.01


def test_training_seeds_are_reported_one_by_one_and_together():
    evaluation = run({"lm@1#0": LastCoins(1), "lm@1#1": LastCoins(2), "never": Constant(0), "always": Constant(1)})
    seeds = {r["seed"]: r for r in evaluation.rows if r["helper"] == "lm" and r["kind"] == "all"}
    assert set(seeds) == {None, 0, 1}
    assert seeds[None]["episodes"] == 2 * 640
    assert seeds[None]["success_rate"] == pytest.approx((seeds[0]["success_rate"] + seeds[1]["success_rate"]) / 2)
    assert evaluation.recovery("lm", budget=1.0).share.value > 0


def test_a_loaded_evaluation_equals_the_saved_one(coins, tmp_path):
    path = coins.save(tmp_path / "evaluation.json")
    data = json.loads(path.read_text())
    assert data["rows"] == coins.rows
    loaded = Evaluation.load(path)
    assert len(repr(loaded)) < 200
    assert loaded.rows == coins.rows
    assert loaded.comparisons == coins.comparisons
    assert loaded.recovery("last", budget=1.0) == coins.recovery("last", budget=1.0)


def test_merging_splits_and_helpers(coins):
    seen = run(split="seen", fixed_tasks=False, episodes=5)
    both = Evaluation.merge(coins, seen)
    assert {r["split"] for r in both.rows} == {"collected", "seen"}
    with pytest.raises(InvalidArgumentError, match="give a split"):
        both.recovery("last", budget=1.0)
    assert both.recovery("last", budget=1.0, split="collected") == coins.recovery("last", budget=1.0)
    more = run({"last@3": LastCoins(3)}, episodes=10)  # fewer episodes, the same seeds: still paired
    joined = Evaluation.merge(coins, more)
    assert row(joined, "last@3")["episodes"] == 160
    assert row(joined, "last@3")["errors"] == 0
    assert row(joined, "last@1") == row(coins, "last@1")
    assert joined.paired_difference("last@3", "last@2").low > 0
    with pytest.raises(InvalidArgumentError, match="in both evaluations"):
        Evaluation.merge(coins, coins)


def test_helpers_may_play_different_numbers_of_the_same_episodes(coins):
    counts = dict.fromkeys(HELPERS, 40) | {"last@1": 10}
    fewer = run(episodes=counts)
    assert row(fewer, "last@1")["episodes"] == 160
    assert row(fewer, "last@1")["errors"] == 0
    assert row(fewer, "last@2") == row(coins, "last@2")
    assert len(fewer.table()) == 640


def test_splits_share_an_actor_that_has_arguments(monkeypatch):
    """An actor given by id and arguments is built once, for all splits."""
    source = {
        "task": "selfreg/SIF-v0",
        "interventions": ["expert"],
        "actor": "scripted",
        "actor_kwargs": {"noise": 0.2},
    }
    plans = {
        split: SplitPlan({**source, "task_kwargs": {"split": split}}, range(3), 1) for split in ("train", "val-unseen")
    }
    built = []
    real = building.build_actor
    monkeypatch.setattr(building, "build_actor", lambda actor, kwargs=None: built.append(actor) or real(actor, kwargs))
    evaluation = evaluate_splits(plans, {"never": Constant(0)}, progress=False)
    assert {entry["split"] for entry in evaluation.rows} == {"train", "val-unseen"}
    assert [actor for actor in built if isinstance(actor, str)] == ["scripted"]


def test_an_episode_that_is_repeated_or_missing_is_an_error():
    key, plan = HelperKey("a"), [EpisodeSpec(0, 1), EpisodeSpec(0, 2)]
    one = EpisodeMeasures(0, 1, "coin", None, {"success": 1.0})
    options = {"split": "seen", "fixed_tasks": False}
    with pytest.raises(InvalidArgumentError, match="counted twice"):
        EpisodeTable.from_measures({key: plan}, {key: [one, one]}, **options)
    with pytest.raises(InvalidArgumentError, match="are missing"):
        EpisodeTable.from_measures({key: plan}, {key: [one]}, **options)
    with pytest.raises(InvalidArgumentError, match="not in the plan"):
        EpisodeTable.from_measures({key: plan[1:]}, {key: [one]}, **options)


def test_plans_differ_by_purpose_and_extend_smaller_ones():
    few, many = evaluation_plan(range(5), 2, seed=0), evaluation_plan(range(5), 7, seed=0)
    assert set(few) <= set(many)
    assert not set(few) & set(evaluation_plan(range(5), 2, seed=1))
    assert not set(few) & set(evaluation_plan(range(5), 2, seed=0, stream=Purpose(1)))


def test_the_number_of_processes_changes_nothing():
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    from selfreg_gym import registry

    helpers = {name: registry.load("helpers", name)() for name in ("never", "always", "every-k", "random")}
    alone, two = (run(helpers, env=env, episodes=10, workers=workers, num_envs=4) for workers in (1, 2))
    assert alone.rows == two.rows


def test_traces_hold_the_steps_of_every_helper_and_p_of_s():
    class Half:
        def score(self, observations):
            return np.full(len(observations), 0.5)

    evaluation = run(traces=1, prm=Half(), episodes=2)
    assert [trace["key"] for trace in evaluation.traces] == list(HELPERS)
    assert len({(trace["task"], trace["seed"]) for trace in evaluation.traces}) == 1
    always = evaluation.traces[1]
    assert [step["action"] for step in always["steps"]] == [1] * len(always["steps"])
    assert always["usage"] == len(always["steps"])
    assert {step["p"] for trace in evaluation.traces for step in trace["steps"]} == {0.5}
    plan = evaluation_plan(TASKS, 2, seed=3)
    chosen = run(traces=[plan[5]], episodes=2)
    assert {(trace["task"], trace["seed"]) for trace in chosen.traces} == {(plan[5].task_index, plan[5].seed)}


def test_warnings_are_issued():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run({"always": Constant(1), "lm@1": Constant(1)}, episodes=2, expected={"lm@1": {"usage": 1.0}})
    issued = [w for w in caught if issubclass(w.category, EvaluationWarning)]
    assert {w.filename for w in issued} == {run.__code__.co_filename}, "that of the line that called evaluate"
    texts = [str(w.message) for w in issued]
    assert any("has no result of never asking" in text for text in texts)
    assert any("few episodes (32)" in text for text in texts)
    assert any("1.00 were expected" in text for text in texts)


def test_errors_of_invalid_arguments(coins, tmp_path):
    with pytest.raises(InvalidArgumentError, match="a dict of at least one helper"):
        evaluate(coin_env(), {}, tasks=[0], episodes=1)
    with pytest.raises(InvalidArgumentError, match="episodes per task must be an integer of at least 1"):
        run(episodes=0)
    with pytest.raises(InvalidArgumentError, match="different indices"):
        run(tasks=[1, 1])
    with pytest.raises(InvalidArgumentError, match=r"NAME\[@BUDGET\[#SEED\]\]"):
        run({"lm@cheap": Constant(0)})
    with pytest.raises(InvalidArgumentError, match="several processes"):
        run(env=make_env(coin_env(), 2), workers=2)
    with pytest.raises(UnknownNameError, match="never"):
        coins.results().keys("nevr")
    with pytest.raises(UnknownNameError, match="split"):
        coins.table("sen")
    bad = tmp_path / "evaluation.json"
    for text in ("[]", "{", '{"format": "selfreg_gym.evaluation", "version": 99}'):
        bad.write_text(text)
        with pytest.raises(ConfigError, match="evaluation"):
            Evaluation.load(bad)


def test_small_costs_are_saved(tmp_path):
    env = coin_env(interventions=[Intervention(Expert(), name="see", cost=3.7e-8)])
    found = run({"never": Constant(0), "always": Constant(1), "last@5e-08": LastCoins(1)}, episodes=5, env=env)
    found.save(tmp_path / "evaluation.json")
    again = Evaluation.load(tmp_path / "evaluation.json")
    for evaluation in (found, again):
        assert row(evaluation, "always")["usage"] == pytest.approx(3.7e-8 * COINS.mean(), rel=1e-9)
    assert row(again, "last@5e-08")["usage_ci"] == pytest.approx(row(found, "last@5e-08")["usage_ci"], rel=1e-6)
    assert row(again, "last@5e-08")["p_over_budget"] == 0
    tight = run({"never": Constant(0), "always": Constant(1), "last@1e-08": LastCoins(1)}, episodes=5, env=env)
    last = row(tight, "last@1e-08")
    assert last["p_over_budget"] == last["episode_share"] > 0


def test_a_kind_named_all_has_no_row_of_its_own():
    played = run({"never": Constant(0)}, episodes=2)
    table = played.table("collected")
    table.kinds[:] = "all"
    assert [r["kind"] for r in Evaluation({"collected": table}).rows] == ["all"]


def test_a_budget_that_contradicts_the_key_is_refused():
    plan = {"tasks": [0], "episodes": 1, "progress": False, "warn": False}
    helpers = {"always@1": Constant(1), "never": Constant(0)}
    with pytest.raises(InvalidArgumentError, match=r"'always@1' says 1 and budgets says 5"):
        evaluate(coin_env(), helpers, budgets={"always@1": 5}, **plan)
    with pytest.raises(UnknownNameError, match="alwais"):
        evaluate(coin_env(), helpers, budgets={"alwais": 5}, **plan)
    for wrong in (-1, "2", float("nan"), True):
        with pytest.raises(InvalidArgumentError, match="the budget of 'never'"):
            evaluate(coin_env(), helpers, budgets={"never": wrong}, **plan)
    with pytest.raises(InvalidArgumentError, match="budgets must be a dict"):
        evaluate(coin_env(), helpers, budgets=[1.0], **plan)
    found = evaluate(coin_env(), helpers, budgets={"always@1": 1.0, "never": 2}, **plan)
    assert {str(key): budget for key, budget in found.budgets.items()} == {"always@1": 1.0, "never": 2.0}
    third = evaluate(coin_env(), {"never@0.333333": Constant(0)}, budgets={"never@0.333333": 1 / 3}, **plan)
    assert list(third.budgets.values()) == [1 / 3]
