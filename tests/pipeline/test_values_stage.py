"""The stage fit-values: its inputs, the helpers it makes, and what it reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from selfreg_gym import Evaluation, registry
from selfreg_gym.errors import UnknownNameError
from selfreg_gym.fitted import FittedFrontier
from selfreg_gym.pipeline import STAGES
from selfreg_gym.pipeline.candidates import helper_class
from selfreg_gym.pipeline.comparison import calibrate_helpers, evaluate_helpers
from selfreg_gym.pipeline.config import RunConfig, load_config
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import run_stages
from selfreg_gym.pipeline.validation import validate

SMALL = (
    "values.prices=4", "values.folds=2", "values.members=1", "values.hidden=16", "values.rounds=2",
    "collect.tasks=4", "collect.episodes=6",
)  # fmt: skip


def finished(out: Path, config: RunConfig) -> Run:
    run = Run.open(out, config, progress=False, say=lambda line: None)
    run_stages(run, STAGES, ["collect", "fit-values"])
    return run


@pytest.mark.parametrize(
    ("actor", "inputs", "made"),
    [("tiny", "features, steps_left, actor", "actor-signals, fitted"), ("scripted", "features, steps_left", "fitted")],
)
def test_inputs_and_helpers_are_those_that_the_rollouts_allow(
    tmp_path: Path, actor: str, inputs: str, made: str
) -> None:
    run = finished(tmp_path / "run", load_config(preset="smoke", overrides=(*SMALL, f"actor.id={actor}")))
    figures = run.manifest.data["stages"]["fit-values"]["figures"]
    assert (figures["inputs"], figures["helpers"]) == (inputs, made)
    folder = run.path / "values"
    assert {path.name for path in folder.iterdir()} == {"teacher", *made.split(", ")}
    teacher = FittedFrontier.load(folder / "teacher")
    assert teacher.encoder.names == tuple(inputs.split(", "))
    assert len(teacher.prices) == 4
    warnings = run.manifest.data["stages"]["fit-values"].get("warnings", [])
    assert not any("is not made" in line for line in warnings)


def test_a_minor_helper_is_made_if_the_config_names_it(tmp_path: Path) -> None:
    overrides = (*SMALL, 'evaluate.helpers=["never", "always", "fitted", "averagers"]', "actor.id=scripted")
    run = finished(tmp_path / "run", load_config(preset="smoke", overrides=overrides))
    helper = registry.load("helpers", "averagers").from_run(run.path, budget=1.0)
    assert helper.expected_usage is not None
    assert helper.encoder.names == ("features", "steps_left")


def test_a_helper_without_the_base_class_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.Entry("trained", "helpers", "old_helpers", "other-package", "OldTrained")
    monkeypatch.setattr(registry, "_entry_points", lambda group: [entry] if group == "helpers" else [])
    run = finished(tmp_path / "run", load_config(preset="smoke", overrides=(*SMALL, "actor.id=scripted")))
    assert run.manifest.data["stages"]["fit-values"]["figures"]["helpers"] == "fitted, trained"
    assert helper_class("trained").made_in(run.path)
    assert helper_class("trained").from_run(run.path).knob == 0.25


def test_a_helper_that_is_asked_for_and_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    overrides = (*SMALL, 'evaluate.helpers=["never", "always", "actor-signals"]')
    run = finished(tmp_path / "run", load_config(preset="smoke", overrides=overrides))
    (warning,) = (
        one for one in run.manifest.data["stages"]["fit-values"]["warnings"] if "'actor-signals' is not made" in one
    )
    assert "ask_actor_always" in warning


@pytest.mark.parametrize(
    ("overrides", "reads"),
    [
        ((), ()),
        (('values.inputs=["steps_left", "embedding"]',), ()),
        (('values.inputs=["steps_left", "embedding"]', "values.backbone=prm"), ("prm",)),
        (('values.inputs=["prm"]',), ("prm",)),
    ],
)
def test_the_process_reward_model_is_read_only_where_an_input_needs_it(
    overrides: tuple[str, ...], reads: tuple[str, ...]
) -> None:
    (stage,) = (stage for stage in STAGES if stage.name == "fit-values")
    config = load_config(preset="smoke", overrides=overrides)
    assert stage.of(config).inputs == ("rollouts.sqlite", *reads)
    assert stage.of(config).of(config).inputs == stage.of(config).inputs


def test_a_minor_helper_that_is_named_later_makes_the_stage_out_of_date(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "run", load_config(preset="smoke"), progress=False)
    (stage,) = (stage for stage in STAGES if stage.name == "fit-values")
    assert stage.more is not None
    before = stage.more(run)
    assert "helpers" not in before, "runs of earlier versions continue"
    named = load_config(preset="smoke", overrides=('evaluate.helpers=["never", "fitted", "averagers"]',))
    assert stage.more(replace(run, config=named)) == {**before, "helpers": ["averagers"]}


def test_unknown_inputs_are_refused_before_a_run() -> None:
    with pytest.raises(UnknownNameError, match=r"values\.inputs.*Did you mean 'features'"):
        validate(load_config(preset="smoke", overrides=('values.inputs=["feature"]',)))
    with pytest.raises(UnknownNameError, match=r"values\.backbone"):
        validate(load_config(preset="smoke", overrides=("values.backbone=tinny",)))


def test_a_hard_cap_holds_in_every_played_episode(tmp_path: Path) -> None:
    overrides = (
        *SMALL, "values.cap=2", 'evaluate.helpers=["never", "always", "fitted"]', "evaluate.budgets=[1.0, 4.0]",
    )  # fmt: skip
    run = finished(tmp_path / "run", load_config(preset="smoke", overrides=overrides))
    assert run.manifest.data["stages"]["fit-values"]["figures"]["hard cap on calls"] == 2
    assert not FittedFrontier.load(run.path / "values" / "teacher").caps
    run_stages(run, STAGES, ["train-prm"])
    calibrate_helpers(run)
    evaluate_helpers(run)
    assert registry.load("helpers", "fitted").from_run(run.path, budget=1.0).cap == 2
    usage: dict[str, list[float]] = {}
    for table in Evaluation.load(run.path / "evaluation.json").tables.values():
        for key, columns in table.columns.items():
            usage.setdefault(key.name, []).append(columns["usage"].max())
    assert max(usage["always"]) > 2
    assert len(usage["fitted"]) == 2 * len(run.config.task.splits)
    assert max(usage["fitted"]) == 2


def test_a_config_without_a_cap_has_the_identity_of_earlier_versions() -> None:
    assert "cap" not in load_config(preset="smoke").values.identity()
    assert load_config(preset="smoke", overrides=("values.cap=2",)).values.identity()["cap"] == 2
