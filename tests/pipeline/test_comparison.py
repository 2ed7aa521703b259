"""Warnings and errors of the two stages that compare helpers."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfreg_gym.errors import InvalidArgumentError, RunDirectoryError
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.pipeline import candidates, comparison
from selfreg_gym.pipeline.comparison import _not_labelled, _not_met
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.directory import Run


def test_warnings_about_budgets_that_were_not_met() -> None:
    good = {"met": True, "precise": True, "reason": None}
    under = {"met": False, "precise": True, "reason": "under budget: 1.4 cost units"}
    found = _not_met({"a@1": good, "b@3": under, "c@1": {**good, "precise": False}, "d@1": {**good, "precise": False}})
    assert len(found) == 2
    assert found[0] == "b@3 is under budget: 1.4 cost units."
    assert "c@1, d@1" in found[1]
    assert _not_met({"a@1": good}) == []
    assert _not_met({"a@1": good, "b@1": {**good, "precise": False}}, ["a@1"]) == []  # b plays fewer episodes
    assert _not_met({"a@3": under, "b@3": under, "c@3": {**under, "reason": "over budget: 4 cost units"}}) == [
        "a@3, b@3 are under budget: 1.4 cost units.",
        "c@3 is over budget: 4 cost units.",
    ]


def test_a_warning_about_budgets_that_no_label_had(tmp_path: Path) -> None:
    settings = ["evaluate.budgets=[1, 4]", "label.budgets=[1]"]
    config = load_config(preset="smoke", overrides=[*settings, "helper.id=lm-sft"])
    run = Run.open(tmp_path / "run", config)
    keys = [HelperKey("lm-sft", 1.0), HelperKey("lm-sft", 4.0), HelperKey("random", 4.0)]
    (warning,) = _not_labelled(run, keys)
    assert "the helper 'lm-sft' is asked at the budget 4, and its labels are for 1" in warning
    assert _not_labelled(run, keys[:1]) == []
    gains = Run.open(tmp_path / "gains", load_config(preset="smoke", overrides=settings))
    assert _not_labelled(gains, [HelperKey("lm", 4.0)]) == [], "one model serves every budget"


def test_a_helper_without_a_calibration_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Helper:
        has_knob = True

    run = Run.open(tmp_path / "run", load_config(preset="smoke"))
    (run.path / "calibration.json").write_text("{}")
    monkeypatch.setattr(comparison, "build", lambda run, names=None: {HelperKey("mine", 1 / 3): Helper()})
    with pytest.raises(RunDirectoryError, match=r"'mine@0.3333333333333333' is missing.*--until calibrate"):
        comparison.calibrated(run)


def test_a_helper_whose_from_run_returns_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfinished(Helper):
        @classmethod
        def from_run(cls, run, *, budget=None, seed=0):
            return None

    monkeypatch.setattr(candidates, "helper_class", lambda name: Unfinished)
    run = Run.open(tmp_path / "run", load_config(preset="smoke", overrides=["evaluate.helpers=['never']"]))
    with pytest.raises(InvalidArgumentError, match="'never' cannot be built: the result of from_run"):
        candidates.build(run)
