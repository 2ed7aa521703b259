"""Validation of arguments: rule, received value, remedy."""

from __future__ import annotations

import json
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import HelpBudget, HelpCost, Intervention, InterventionEnv, InterventionVectorEnv, PRMReward, registry
from selfreg_gym.errors import InvalidArgumentError, RegistryError, UnknownNameError
from selfreg_gym.utils import json_text as jsontext
from selfreg_gym.utils.arguments import (
    check_count,
    check_flag,
    check_invalid_action,
    check_name,
    check_number,
    check_numbers,
    check_options,
    check_render_mode,
    check_tasks,
)
from selfreg_gym.wrappers import FeatureObservation, PRMObservation, StateKeyObservation

PEOPLE: dict[str, Any] = {"actor": lambda text: "heads", "interventions": ["expert"]}


@pytest.mark.parametrize("bad", ["1", True, None, math.nan, math.inf, -0.5, 1j, [1.0], np.bool_(True)])
def test_costs_and_budgets_are_numbers(bad: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="received"):
        check_number("x", bad)
    with pytest.raises(InvalidArgumentError, match="cost of intervention"):
        Intervention(lambda text: "a", name="friend", cost=bad)
    with pytest.raises(InvalidArgumentError, match="help_cost"):
        InterventionEnv("selfreg/Coin-v0", **PEOPLE, help_cost=bad)
    with pytest.raises(InvalidArgumentError, match="budget"):
        HelpBudget(InterventionEnv("selfreg/Coin-v0", **PEOPLE), budget=bad)


def test_numbers_of_numpy_are_numbers() -> None:
    assert check_number("x", np.float32(0.5)) == 0.5
    assert check_number("x", np.array(2)) == 2.0
    assert check_count("n", np.int64(3)) == 3


@pytest.mark.parametrize("bad", [True, 1.0, "2", 0, None])
def test_num_envs_is_a_count(bad: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="num_envs must be an integer of at least 1"):
        InterventionVectorEnv(bad, "selfreg/Coin-v0", **PEOPLE)


@pytest.mark.parametrize("bad", [3, "abc", None, [], [1, 1], [-1], [0.5], [True], [2**63]])
def test_tasks_are_different_indices(bad: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="tasks"):
        check_tasks(bad)


def test_the_error_for_an_integer_has_the_expression_to_write() -> None:
    with pytest.raises(InvalidArgumentError, match=r"write range\(2\) for the first 2 tasks, or \[2\]"):
        check_tasks(2)
    with pytest.raises(InvalidArgumentError, match=r"from 0 to 9, because the env has 10 tasks.*received 10"):
        check_tasks(range(11), available=10)
    with pytest.raises(InvalidArgumentError, match=r"write \[0.5\]"):
        check_numbers("help_probabilities", 0.5)


@pytest.mark.parametrize("bad", [1, 0, "yes", None, np.array([True])])
def test_a_flag_is_a_bool(bad: Any) -> None:
    assert check_flag("vector", np.True_) is True
    with pytest.raises(InvalidArgumentError, match="vector must be True or False, received"):
        check_flag("vector", bad)


def test_common_options_of_tasks() -> None:
    env = gym.make("selfreg/Coin-v0")
    assert [check_render_mode(mode, env) for mode in (None, "ansi")] == [None, "ansi"]
    with pytest.raises(UnknownNameError, match=r"render_mode of .*received 'rgb_array'.*ansi"):
        check_render_mode("rgb_array", env.unwrapped)
    assert check_invalid_action("noop") == "noop"
    with pytest.raises(UnknownNameError, match=r"invalid_action: received 'raise'.*noop, terminate"):
        check_invalid_action("raise")


def test_options_are_checked_by_both_envs() -> None:
    single = InterventionEnv("selfreg/Coin-v0", **PEOPLE)
    vector = InterventionVectorEnv(2, "selfreg/Coin-v0", **PEOPLE)
    for env in (single, vector):
        with pytest.raises(UnknownNameError, match="Did you mean 'episode'"):
            env.reset(seed=0, options={"epsiode": 1})
        with pytest.raises(InvalidArgumentError, match="from 0 to 999, received 1000"):
            env.reset(seed=0, options={"episode": 1000})
        with pytest.raises(InvalidArgumentError, match="received -1"):
            env.reset(seed=0, options={"episode": -1})
        with pytest.raises(InvalidArgumentError, match="must be a dict"):
            env.reset(seed=0, options=["episode"])  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="below 2"):
            env.reset(seed=2**63)
    with pytest.raises(UnknownNameError, match="reset_mask"):
        vector.reset(options={"rest_mask": np.array([True, False])})
    check_options({"difficulty": 3})  # a task's own option


def test_wrappers_raise_for_other_envs_with_their_name() -> None:
    class Score:
        def score(self, observations: Any) -> Any:
            return np.full(len(observations), 0.5)

    makers = [
        lambda env: HelpBudget(env, 1.0), lambda env: HelpCost(env, 1.0), StateKeyObservation, FeatureObservation,
        lambda env: PRMReward(env, Score()), lambda env: PRMObservation(env, Score()),
    ]  # fmt: skip
    for make in makers:
        for other in (gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", num_envs=2), 3):
            with pytest.raises(InvalidArgumentError, match=r"wraps an intervention env|reads text observations"):
                make(other)
    with pytest.raises(InvalidArgumentError, match=r"reads text observations"):
        PRMReward(FeatureObservation(InterventionEnv("selfreg/Coin-v0", **PEOPLE)), Score())


def test_a_constructor_that_raises_is_named() -> None:
    def broken() -> Any:
        raise KeyError("no such file")

    with pytest.raises(RegistryError, match="KeyError"):
        InterventionEnv(broken, **PEOPLE)


@pytest.mark.parametrize("name", ["x" * 1_000_000, "not an id!!", "selfreg/Coinn-v0", "a/b/c/d"])
def test_an_unknown_id_is_short_in_the_message(name: str) -> None:
    for make in (
        lambda: InterventionEnv(name, **PEOPLE),
        lambda: InterventionEnv("selfreg/Coin-v0", name, []),
        lambda: InterventionEnv("selfreg/Coin-v0", **PEOPLE | {"interventions": [name]}),
    ):
        with pytest.raises(UnknownNameError) as caught:
            make()
        assert len(str(caught.value)) < 1500


def test_json_has_no_nan() -> None:
    value = {"a": math.nan, "b": [math.inf, 1.0, (np.float64("nan"),)], "c": "NaN"}
    assert json.loads(jsontext.dumps(value)) == {"a": None, "b": [None, 1.0, [None]], "c": "NaN"}


@pytest.mark.parametrize("known", [("train", "test"), {"train": 1, "test": 2}, {"train", "test"}])
@pytest.mark.parametrize("bad", ["trian", "", None, 1, ["train"], {"train": 1}, np.array(["train", "test"])])
def test_names(known: Any, bad: Any) -> None:
    """A value that cannot be hashed, or compared with a text, has the same error as any other."""
    assert check_name("split of Coin", np.str_("train"), known) == "train"
    with pytest.raises(UnknownNameError, match=r"unknown split of Coin: received .*Known: test, train\."):
        check_name("split of Coin", bad, known)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gym.make("selfreg/TextWorld-Simple-v0", split=["train"]),
        lambda: gym.make("selfreg/ScienceWorld-v0", task=["boil"]),
        lambda: gym.make("selfreg/FrozenLake-v0", split=["all"]),
        lambda: gym.make("selfreg/SIF-v0", kind={"mixed"}),
        lambda: registry.load("helpers", "averagers").train([], representation=["values"], costs=[1.0]),
    ],
)
def test_names_of_another_type_are_unknown_names(make: Any) -> None:
    with pytest.raises(UnknownNameError, match="received"):
        make()
