"""Compared helpers: their arguments and answers, their variants by intervention, and which are decisive."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError
from selfreg_gym.pipeline.candidates import _build_one, _variants, is_decisive
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.config_sections import EvaluateConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.validation import validate

COIN = ['task.id="selfreg/Coin-v0"', "task.kwargs={}", "task.splits={collected={}}"]


def check(*overrides: str) -> None:
    validate(load_config(preset="smoke", overrides=[*COIN, *overrides]))


@pytest.mark.parametrize(
    ("override", "error", "told"),
    [
        ("evaluate.kwargs.every-k={perod=3}", UnknownNameError, "'every-k'.*'perod'"),
        ("evaluate.kwargs.lm={help_weight=2}", UnknownNameError, "'lm'.*'help_weight'"),
        ("evaluate.kwargs.evry-k={k=3}", UnknownNameError, "Did you mean 'every-k'"),
        ('evaluate.kwargs.every-k={k="3"}', InvalidArgumentError, r"every-k\.k must be float, received '3'"),
        ("evaluate.kwargs.every-k={k=true}", InvalidArgumentError, r"every-k\.k must be float, received True"),
        ("evaluate.kwargs.prm-threshold={intervention=1.5}", InvalidArgumentError, r"intervention must be int \| str"),
        ('evaluate.kwargs.every-k={intervention="expret"}', UnknownNameError, r"every-k: received 'expret'.*'expert'"),
        ("evaluate.kwargs.random={intervention=2}", InvalidArgumentError, r"random\.intervention must be from 1 to 1"),
        (
            "collect.tasks=1001",
            InvalidArgumentError,
            r"collect\.tasks must be at most 1000, the number of .*received 1001",
        ),
        ('evaluate.minor=["radnom"]', UnknownNameError, "Did you mean 'random'"),
        ('helper.inputs=["actor", "actor"]', InvalidArgumentError, r"helper\.inputs must be different names"),
        ('values.inputs=["actor", "actor"]', InvalidArgumentError, r"values\.inputs must be different names"),
        ('helper.inputs=["state"]', InvalidArgumentError, r"helper\.inputs .*known on new tasks.*values\.inputs"),
        ('helper.inputs=["step_left"]', UnknownNameError, r"helper\.inputs.*Did you mean 'steps_left'"),
    ],
)
def test_arguments_of_helpers_are_checked_first(override: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        check(override)


def test_a_message_about_a_value_out_of_range_names_the_helper() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'every-k' cannot be built.*must be at least 1"):
        check("evaluate.kwargs.every-k={k=0.5}", 'evaluate.helpers=["every-k"]')
    check("evaluate.kwargs.every-k={k=3}", "evaluate.kwargs.random={intervention=1}")


class _Plugin:
    """A helper of another distribution."""

    def wrap(self, env: Any) -> Any:
        return env


def plugin(monkeypatch: pytest.MonkeyPatch, predict: Any = None, init: Any = None, called: str = "mine") -> None:
    """Register a helper ``mine`` with this ``predict`` or this constructor."""
    members = {"predict": predict or (lambda self, observation, *_, **__: (0, None))}
    if init is not None:
        members["__init__"] = init
    kind = type("Mine", (_Plugin,), members)
    module = types.ModuleType("mine_of_the_tests")
    module.Mine = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names, load = registry.names, registry.load
    monkeypatch.setattr(
        registry, "names", lambda group, **flag: [*names(group, **flag), *([called] if group == "helpers" else [])]
    )
    monkeypatch.setattr(
        registry, "load", lambda group, name: kind if (group, name) == ("helpers", called) else load(group, name)
    )


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (lambda n: np.zeros(n + 1, int), "shape"),
        (lambda n: np.zeros(n), "float64"),
        (lambda n: np.full(n, 2), "from 0 to K"),
        (lambda n: np.full(n, -1), "from 0 to K"),
        (lambda n: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_invalid_answers_are_found_before_training(monkeypatch: pytest.MonkeyPatch, answers: Any, told: str) -> None:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return answers(len(observation)), state

    plugin(monkeypatch, predict)
    with pytest.raises(TaskContractError, match=f"(?s)'mine' does not.*{told}"):
        check('evaluate.helpers=["mine"]')


def test_a_helper_with_bounds_and_no_with_knob_is_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.load("helpers", "never"), "knob_bounds", (0.0, 9.0))
    with pytest.raises(TaskContractError, match="'never' has no with_knob, so it cannot be calibrated"):
        check('evaluate.helpers=["never"]')


def test_a_message_about_a_constructor_that_raises_names_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(self):
        raise RuntimeError("no such table")

    plugin(monkeypatch, init=init)
    with pytest.raises(InvalidArgumentError, match=r"'mine' cannot be built.*RuntimeError: no such table"):
        check('evaluate.helpers=["mine"]')


@pytest.mark.parametrize("name", ["mine@2", "mine#1", "mine:expert", "@"])
def test_ids_with_separators_of_keys_raise(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plugin(monkeypatch, called=name)
    with pytest.raises(InvalidArgumentError, match=f"must not contain.*received '{name}'"):
        check(f'evaluate.helpers=["{name}"]')
    with pytest.raises(InvalidArgumentError, match="leave it out of evaluate"):
        check("evaluate.helpers=[]")
    check('evaluate.helpers=["never"]')


def test_a_helper_is_decisive_unless_it_or_the_config_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(monkeypatch)
    assert is_decisive("mine", EvaluateConfig())
    assert is_decisive("prm-threshold:expert", EvaluateConfig())
    assert not is_decisive("every-k:expert", EvaluateConfig())
    assert not is_decisive("mine", EvaluateConfig(minor=("mine",)))
    assert not is_decisive("mine", EvaluateConfig(decisive=("lm",)))


@pytest.fixture
def several(tmp_path: Path) -> Run:
    config = load_config(preset="smoke", overrides=['interventions.ids=["strong", "expert"]'])
    run = Run.open(tmp_path / "run", config)
    run.manifest.note(interventions=[{"name": "a@b", "cost": 0.3}, {"name": "expert", "cost": 1.0}])
    return run


def test_helpers_that_ask_one_intervention_are_compared_for_each(several: Run) -> None:
    names = {name: [shown for shown, _ in _variants(several, name)] for name in ("always", "every-k", "random", "lm")}
    assert names == {
        "always": ["always:a-b", "always"],  # the anchor asks the most expensive one
        "every-k": ["every-k:a-b", "every-k:expert"],
        "random": ["random"],
        "lm": ["lm"],
    }
    (_, cheap), (_, dear) = _variants(several, "always")
    assert (cheap["intervention"], dear["intervention"]) == ("a@b", "expert")
    assert _build_one(several, "always", dear)[None].intervention == "expert"


def test_an_intervention_in_the_config_is_the_only_one(tmp_path: Path) -> None:
    overrides = ['interventions.ids=["strong", "expert"]', "evaluate.kwargs.every-k={intervention=2}"]
    run = Run.open(tmp_path / "run", load_config(preset="smoke", overrides=overrides))
    assert _variants(run, "every-k") == [("every-k", {"intervention": 2})]


@pytest.mark.parametrize("name", ["never", "fitted", "ppo"])
def test_the_trained_helper_is_one_that_its_stage_can_train(name: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"helper\.id .*received '{name}'\. Known: lm, lm-sft\."):
        validate(load_config(preset="smoke", overrides=[f"helper.id={name}"]))
