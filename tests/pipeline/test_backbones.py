"""Backbones of a run: chosen so that they can read the task, and recorded; a named one that cannot read it raises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import relay

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.backbone import BUILT
from selfreg_gym.pipeline import advance, open_run
from selfreg_gym.pipeline.checkpoints import models_of
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.training import _below_baseline, _single_outcome, _unread_by_actor

COIN = ["task.id=selfreg/Coin-v0", "task.kwargs={}", "task.splits={collected={}}"]
TRAININGS = ["train-prm", "fit", "solve", "fit-values", "train-helper"]


def told(folder: Path) -> dict[str, Any]:
    """The records of the two models of a run, and the stages of its manifest."""
    return {
        "prm": json.loads((folder / "prm" / "prm.json").read_text())["info"],
        "helper": json.loads((folder / "helper" / "helper.json").read_text())["info"],
        "stages": json.loads((folder / "manifest.json").read_text())["stages"],
    }


def test_a_task_that_no_backbone_can_read_gets_a_new_vocabulary(tmp_path: Path) -> None:
    said: list[str] = []
    run = open_run(tmp_path / "r", preset="smoke", overrides=COIN, progress=False, say=said.append)
    advance(run, ["collect", *TRAININGS])
    found = told(run.path)
    for stage, model in (("train-prm", "prm"), ("train-helper", "helper")):
        assert found[model]["backbone"] == found["stages"][stage]["figures"]["backbone"] == BUILT
        assert found[model]["unknown_tokens"] == found["stages"][stage]["figures"]["unknown tokens"] == 0.0
        assert found[model]["backbones_passed_over"]["tiny"] > 0.25
        assert "unknown_tokens" in (run.path / model / "README.md").read_text()
    assert any("unknown tokens 0" in line for line in said)


def test_a_named_backbone_that_cannot_read_the_task_stops_the_run(tmp_path: Path) -> None:
    for section, stage in (("prm", "train-prm"), ("helper", "train-helper")):
        out = tmp_path / section
        overrides = [*COIN, f"{section}.backbone=tiny"]
        run = open_run(out, preset="smoke", overrides=overrides, progress=False, say=lambda line: None)
        advance(run, ["collect", "fit", "solve", "fit-values"])
        with pytest.raises(InvalidArgumentError, match=r"at most 5% .* received 'tiny', to which \d\d\.\d% .*'heads'"):
            advance(run, [stage])
        assert not (out / section).exists()


def test_the_household_task_uses_the_shipped_backbone() -> None:
    config = load_config(preset="smoke")
    assert config.prm.backbone == config.helper.backbone == "auto"
    tiny = models_of(load_config(preset="tiny"))
    assert tiny["prm backbone"] == tiny["helper backbone"] == tiny["actor"]
    assert models_of(config)["prm backbone"] == tiny["actor"], "the actor 'scripted' has no backbone"


def test_a_model_below_the_baseline_warns() -> None:
    assert _below_baseline({"auc": 0.7, "n": 9}, {"auc": 0.7}) == _below_baseline({"auc": None}, {"auc": 0.7}) == []
    assert _below_baseline({"auc": 0.7, "n": 9}, {}) == []
    (warning,) = _below_baseline({"auc": 0.61, "n": 83}, {"auc": 0.72})
    assert "0.610 on 83 decisions" in warning
    assert "below the 0.720 of a logistic regression" in warning


def test_held_out_tasks_with_a_single_outcome_warn() -> None:
    info = {"calibration_tasks": ["a", "b"]}
    assert _single_outcome({"base_rate": 0.5, "n": 32}, info) == _single_outcome({}, info) == []
    (warning,) = _single_outcome({"base_rate": 1.0, "n": 32}, info)
    assert "all 32 held-out decisions of 2 tasks end in success" in warning
    assert "end in failure" in _single_outcome({"base_rate": 0.0, "n": 32}, info)[0]


def test_an_actor_that_cannot_read_the_task_warns(tmp_path: Path) -> None:
    run = open_run(
        tmp_path / "r",
        preset="smoke",
        overrides=[*COIN, "actor.id=tiny", "actor.kwargs={family='sif'}"],
        progress=False,
    )
    (warning,) = _unread_by_actor(run, {"backbones_passed_over": {"tiny": 0.38}})
    assert "38% of the task's tokens are unknown to the actor 'tiny'" in warning
    assert _unread_by_actor(run, {}) == []


def test_a_plug_in_with_two_intervention_costs_and_no_features_runs_to_a_report(tmp_path: Path) -> None:
    environment = relay.install(tmp_path / "site")
    settings = [
        "task.id=relay/Relay-v0", "task.kwargs={}", "task.splits={collected={}}", "actor.id=sign-reader",
        'interventions.ids=["hint", "guide"]', "collect.tasks=6", "calibrate.episodes=12", "evaluate.episodes=4",
        'evaluate.helpers=["never", "always", "random", "dp", "lm"]',
    ]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "selfreg_gym",
        "run",
        "--preset",
        "smoke",
        "--out",
        str(tmp_path / "r"),
        *words,
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = told(tmp_path / "r")
    assert found["helper"]["backbone"] == BUILT
    assert (tmp_path / "r" / "report.html").exists()
    rows = json.loads((tmp_path / "r" / "evaluation.json").read_text())["rows"]
    assert {"never", "dp", "lm"} <= {row["helper"] for row in rows}
