"""A whole run of the smoke preset from the command line, and its artifacts."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from old_helpers import BarePredict, OldInterface

from selfreg_gym import registry
from selfreg_gym.errors import FailedEpisodesError, SelfRegError, UnknownNameError
from selfreg_gym.pipeline import STAGES, advance, comparison, open_run, stages, stages_until
from selfreg_gym.pipeline.candidates import helper_class, helper_names
from selfreg_gym.pipeline.config import load_config, override, to_dict
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.summary import headline

ROW_KEYS = {
    "helper", "kind", "split", "seed", "budget", "episodes", "success_rate", "success_rate_ci", "usage", "usage_ci",
    "expected_usage", "expected_success", "invalid_rate", "toggles", "unseen_state_rate",
}  # fmt: skip


def selfreg(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line as its own process, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "selfreg_gym", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished smoke run, and its output."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    result = selfreg("run", "--preset", "smoke", "--out", str(out))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return out, result.stdout


def test_every_artifact_is_there_and_in_the_manifest(smoke: tuple[Path, str]) -> None:
    out, _ = smoke
    manifest = json.loads((out / "manifest.json").read_text())
    run = [stage for stage in STAGES if stage.name != "label"]  # the trained helper does not learn from labels
    assert list(manifest["stages"]) == [stage.name for stage in run]
    assert not (out / "labels.jsonl").exists()
    for stage in run:
        record = manifest["stages"][stage.name]
        for output in stage.outputs:
            assert (out / output).exists()
            assert len(record["artifacts"][output]) == 64
        for read in stage.inputs:  # what one stage wrote is what the next one read
            maker = next(other for other in STAGES if read in other.outputs)
            assert record["artifacts"][read] == manifest["stages"][maker.name]["artifacts"][read]
    assert manifest["env_spec"]["id"] == "selfreg/Intervention-v0"
    assert manifest["config"]["actor"]["id"] == "scripted"
    assert not list((out / ".partial").iterdir())


def test_it_ends_with_the_table_and_the_report(smoke: tuple[Path, str]) -> None:
    out, printed = smoke
    for split in ("collected", "seen", "unseen"):
        assert f"{split} " in printed.lower()
    for helper in ("never", "always", "random", "prm-threshold", "dp", "lm"):
        assert helper in printed
    assert str(out / "report.html") in printed.replace("\n", "")
    html = (out / "report.html").read_text(encoding="utf-8")
    assert 'src="http' not in html, "one self-contained file"


def test_rows_cover_helpers_budgets_splits_and_kinds(smoke: tuple[Path, str]) -> None:
    out, _ = smoke
    config = load_config(preset="smoke")
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert all(set(row) >= ROW_KEYS for row in rows)
    whole = {(row["helper"], row["budget"], row["split"]) for row in rows if row["kind"] == "all"}
    for split in config.task.splits:
        for helper in ("never", "always"):
            assert (helper, None, split) in whole
        for helper in ("random", "prm-threshold", "dp", "lm"):
            for budget in config.evaluate.budgets:
                assert (helper, budget, split) in whole
    assert {row["kind"] for row in rows} == {"all", "pnp", "s_obj", "s_hum"}
    never = [row for row in rows if row["helper"] == "never"]
    assert all(row["usage"] == 0 for row in never)


def test_no_episode_serves_two_purposes(smoke: tuple[Path, str]) -> None:
    """Seeds of collection, calibration and evaluation are disjoint, on the tasks that they share."""
    from selfreg_gym.evaluation import Evaluation, evaluation_plan
    from selfreg_gym.utils.random_streams import CALIBRATION_EPISODES

    out, _ = smoke
    with sqlite3.connect(out / "rollouts.sqlite") as connection:
        collected = {seed for (seed,) in connection.execute("SELECT seed FROM episodes")}
    table = Evaluation.load(out / "evaluation.json").table("collected")
    evaluated = set(table.seeds.tolist())
    config = load_config(preset="smoke")
    plan = evaluation_plan(range(config.calibrate.tasks), 50, seed=config.calibrate.seed, stream=CALIBRATION_EPISODES)
    calibrated = {spec.seed for spec in plan}
    assert collected
    assert evaluated
    assert not collected & evaluated
    assert not collected & calibrated
    assert not evaluated & calibrated


def test_the_helper_of_the_headline_is_selected_on_validation_tasks(smoke: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = smoke
    record = json.loads((out / "selection.json").read_text())
    assert (record["by"], record["splits"], record["budget"]) == ("validation", ["val-seen", "val-unseen"], 1.0)
    assert {one["helper"] for one in record["helpers"]} == {"fitted", "lm"}, "dp knows the tasks"
    assert record["selected"] == record["helpers"][0]["helper"]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "The helper was chosen from 2 helpers on validation tasks (val-seen, val-unseen)." in report
    other = tmp_path / "run"
    shutil.copytree(out, other)
    record["helpers"].reverse()
    (other / "selection.json").write_text(json.dumps(record))
    data = ReportData.load(other)
    helper = data.style(record["helpers"][0]["helper"]).short
    assert f"the {helper} recovers" in headline(data), "the report follows the selection"


def test_the_selection_plays_validation_tasks_only(
    smoke: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfreg_gym import evaluation

    played: dict[str, Any] = {}
    original = evaluation.evaluate_splits

    def recorded(plans: dict[str, Any], helpers: dict[Any, Any], **more: Any) -> Any:
        played.update({split: plan.env["task_kwargs"] for split, plan in plans.items()})
        return original(plans, helpers, **more)

    monkeypatch.setattr(evaluation, "evaluate_splits", recorded)
    out = tmp_path / "run"
    shutil.copytree(smoke[0], out)
    (out / "evaluation.json").unlink()
    before = json.loads((out / "selection.json").read_text())
    advance(Run.open(out, progress=False, say=lambda line: None), ["select"], redo=True)
    assert played == {name: {"kind": "mixed", "split": name} for name in ("val-seen", "val-unseen")}
    assert json.loads((out / "selection.json").read_text()) == before


def test_without_validation_splits_the_calibration_selects(smoke: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(smoke[0], out)
    config = override(to_dict(load_config(preset="smoke")), ["select.splits={}"])
    advance(Run.open(out, config, update=True, progress=False, say=lambda line: None), ["select"])
    record = json.loads((out / "selection.json").read_text())
    calibrated = json.loads((out / "calibration.json").read_text())
    assert (record["by"], record["splits"]) == ("calibration", [])
    success = {name: calibrated[f"{name}@1"]["success"] for name in ("fitted", "lm")}
    assert record["selected"] == max(("fitted", "lm"), key=lambda name: success[name])
    assert "by its success in calibration; there are no validation tasks." in headline(ReportData.load(out))


def test_a_finished_run_runs_nothing_again(smoke: tuple[Path, str]) -> None:
    out, _ = smoke
    before = (out / "manifest.json").read_bytes()
    said: list[str] = []
    advance(open_run(out, preset="smoke", say=said.append))
    assert [line.partition(": ")[0] for line in said] == [
        f"{i}/{len(STAGES)} {s.name}" for i, s in enumerate(STAGES, 1)
    ]
    assert [line.partition(": ")[2] for line in said if " label: " not in line] == ["up to date"] * (len(STAGES) - 1)
    assert (out / "manifest.json").read_bytes() == before


def test_without_a_preset_the_existing_run_continues(smoke: tuple[Path, str]) -> None:
    out, _ = smoke
    assert open_run(out).config == load_config(preset="smoke")


def test_only_a_missing_report_is_made_again(smoke: tuple[Path, str]) -> None:
    out, _ = smoke
    (out / "report.html").unlink()
    said: list[str] = []
    advance(open_run(out, say=said.append, progress=False))
    assert (out / "report.html").exists()
    made = [line for line in said if "up to date" not in line and "not needed" not in line]
    assert made[0].startswith(f"{len(STAGES)}/{len(STAGES)} report")


def test_an_interrupted_evaluation_keeps_its_finished_splits(
    smoke: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of the directory: hashes are compared, so earlier stages are up to date; the rows are equal."""
    out = shutil.copytree(smoke[0], tmp_path / "copy")
    played: list[list[str]] = []
    real = comparison._play_splits

    def play(run: Run, splits: list[str], *, on_split: Callable[[str, Any], object]) -> None:
        def keep(split: str, found: Any) -> None:
            on_split(split, found)
            if len(played) == 1:
                raise KeyboardInterrupt

        played.append(splits)
        real(run, splits, on_split=keep)

    monkeypatch.setattr(comparison, "_play_splits", play)
    with pytest.raises(KeyboardInterrupt):
        advance(open_run(out, progress=False), ["evaluate"], redo=True)
    assert "evaluate" not in json.loads((out / "manifest.json").read_text())["stages"]
    said: list[str] = []
    advance(open_run(out, progress=False, say=said.append), stages_until("evaluate"))
    assert played == [["collected", "seen", "unseen"], ["seen", "unseen"]]
    assert sum("up to date" in line for line in said) == len(stages_until("select")) - 1, (
        "all but the labels, which no stage reads"
    )
    rows = [json.loads((path / "evaluation.json").read_text())["rows"] for path in (smoke[0], out)]
    assert rows[0] == rows[1]


def test_an_interrupted_calibration_keeps_its_finished_helpers(smoke: tuple[Path, str], tmp_path: Path) -> None:
    out = shutil.copytree(smoke[0], tmp_path / "copy")
    heard: list[str] = []

    def interrupting(line: str) -> None:
        if "calibrated" in line:
            heard.append(line.split()[0])
            if len(heard) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        advance(open_run(out, progress=False, say=interrupting), ["calibrate"], redo=True)
    kept = [json.loads(path.read_text()) for path in (out / ".partial" / "calibrate" / "found").glob("*.json")]
    assert {key for found in kept for key in found} == set(heard)
    advance(open_run(out, progress=False), ["calibrate"])
    assert (out / "calibration.json").read_text() == (smoke[0] / "calibration.json").read_text()
    assert not (out / ".partial" / "calibrate").exists()


def test_a_reinforcement_learner_is_trained_calibrated_and_compared(smoke: tuple[Path, str], tmp_path: Path) -> None:
    out = shutil.copytree(smoke[0], tmp_path / "copy")
    changed = ["rl.algorithms=['ppo']", "rl.steps=512", "evaluate.helpers=['never', 'always', 'ppo']"]
    said: list[str] = []
    advance(open_run(out, overrides=changed, update=True, progress=False, say=said.append))
    assert sum("up to date" in line for line in said) == 7  # all before train-rl, without label
    assert (out / "rl" / "ppo" / "policy.safetensors").is_file()
    assert "ppo@1" in json.loads((out / "calibration.json").read_text())
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert {row["helper"] for row in rows} == {"never", "always", "ppo"}
    with pytest.raises(UnknownNameError, match="Did you mean 'ppo'"):
        open_run(tmp_path / "d", preset="smoke", overrides=["rl.algorithms=['pppo']"])


def test_compared_helpers(tmp_path: Path) -> None:
    every = open_run(tmp_path / "a", preset="smoke", overrides=["evaluate.helpers=[]"])
    conditional = {name for name in registry.names("helpers") if helper_class(name).overrides("made_in")}
    trained = {"ppo", "dqn", "maskable-ppo", "recurrent-ppo", "lm", "lm-sft", "dp-features", "fitted", "actor-signals"}
    assert conditional >= {*trained, "endpoint"}
    assert not conditional & {"never", "always", "random", "prm-threshold", "dp"}
    assert helper_names(every) == [name for name in registry.names("helpers") if name not in conditional]
    one = open_run(tmp_path / "b", preset="smoke", overrides=["evaluate.helpers=['never']"])
    assert helper_names(one) == ["never"]
    with pytest.raises(UnknownNameError, match="Did you mean 'never'"):
        open_run(tmp_path / "c", preset="smoke", overrides=["evaluate.helpers=['nevr']"])


def test_stages_until() -> None:
    assert stages_until("fit") == ["collect", "train-prm", "fit"]
    with pytest.raises(UnknownNameError):
        stages_until("the end")


def test_an_actor_that_always_fails_stops_the_run(tmp_path: Path) -> None:
    """``human`` without a terminal: every episode ends in an error, and the collection is not finished."""
    run = open_run(tmp_path / "r", preset="smoke", overrides=["actor.id=human", "collect.episodes=30"], progress=False)
    with pytest.raises(SelfRegError, match="needs a terminal"):
        advance(run, ["collect"])
    assert "collect" not in run.manifest.data["stages"]


def test_an_incomplete_collection_raises(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", preset="smoke", overrides=["actor.id=human"], progress=False)
    with pytest.raises(SelfRegError, match="must be complete"):
        advance(run, ["collect"])
    assert "collect" not in run.manifest.data["stages"]


def test_an_evaluation_with_failed_episodes_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        rows: typing.ClassVar = [{"helper": "lm", "errors": 2}, {"helper": "never", "errors": 0}]

    run = open_run(tmp_path / "r", preset="smoke", progress=False)
    monkeypatch.setattr(comparison, "_play_splits", lambda run, left, on_split: on_split("seen", Found()))
    with pytest.raises(FailedEpisodesError, match=r"'seen' some did not \(by helper: \{'lm': 2\}\)"):
        stages.evaluate_helpers(run)
    assert not list(run.partial("evaluate").iterdir()), "the split is played again"


def test_any_split_names(smoke: tuple[Path, str], tmp_path: Path) -> None:
    """Without a split named collected, the first is the collected one: its tasks are fixed."""
    from selfreg_gym.evaluation import Evaluation

    out = shutil.copytree(smoke[0], tmp_path / "copy")
    changes = ["task.splits={here={split='train'}, there={split='test-seen'}}", "task.titles={}"]
    config = override(to_dict(load_config(preset="smoke")), changes)
    run = Run(out, config, Run.open(out).manifest, progress=False)
    assert run.env_kwargs()["task_kwargs"]["split"] == "train"
    stages.evaluate_helpers(run)
    evaluation = Evaluation.load(out / "evaluation.json")
    assert {name: table.fixed_tasks for name, table in evaluation.tables.items()} == {"here": True, "there": False}
    rows = [json.loads((path / "evaluation.json").read_text())["rows"] for path in (smoke[0], out)]
    old = [row for row in rows[0] if row["split"] == "collected"]
    assert old == [row | {"split": "collected"} for row in rows[1] if row["split"] == "here"]


def test_helpers_without_the_base_class_take_part(
    smoke: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plug-ins of the former interface and a class with nothing but ``predict`` are calibrated and evaluated."""
    shutil.copytree(smoke[0], out := tmp_path / "run")
    classes = {"old": OldInterface, "bare": BarePredict}
    entries = [
        registry.Entry(name, "helpers", "old_helpers", "other-package", cls.__name__) for name, cls in classes.items()
    ]
    monkeypatch.setattr(registry, "_entry_points", lambda group: entries if group == "helpers" else [])
    names = '["never", "always", "old", "bare"]'
    run = open_run(
        out, preset="smoke", overrides=[f"evaluate.helpers={names}", "evaluate.kwargs.old.knob=0.5"], update=True,
        progress=False, say=lambda line: None,
    )  # fmt: skip
    advance(run, ["calibrate", "evaluate"])
    assert list(json.loads((out / "calibration.json").read_text())) == ["old@1"]
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert {row["helper"] for row in rows} == {"never", "always", "old", "bare"}
