"""The recorded settings of a stage: splits, earlier versions, former names, and the date of prompts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from small_stages import opened

from selfreg_gym.errors import CheckpointError, RunDirectoryError
from selfreg_gym.pipeline import checkpoints
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage, _settings, renew_records, run_stages
from selfreg_gym.pipeline.manifest import _digest

SPLIT = 'task.splits.more={split="test-seen"}'


def counting(log: list[str], *, interrupted: bool = False, splits: bool = False) -> tuple[Stage, ...]:
    """A stage whose output grows in place, as that of a collection."""

    def grow(run: Run) -> None:
        with (run.path / "store").open("a") as file:
            file.write("x")
        log.append((run.path / "store").read_text())
        if interrupted:
            raise KeyboardInterrupt

    return (Stage("grow", grow, (), ("store",), ("task", "collect"), in_place=True, splits=splits),)


def test_a_new_split_repeats_only_the_stages_that_read_all_splits(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_stages(opened(tmp_path / "r")[0], counting(log, interrupted=True))
    run_stages(opened(tmp_path / "r", SPLIT, update=True)[0], counting(log))
    run_stages(opened(tmp_path / "r", update=True)[0], counting(log))
    assert log == ["x", "xx"]
    run_stages(opened(tmp_path / "r", SPLIT, update=True)[0], counting(log, splits=True))
    assert log == ["x", "xx", "x"]
    other = 'task.splits.collected={split="test-seen"}'
    run_stages(opened(tmp_path / "r", other, update=True)[0], counting(log))
    assert log[3:] == ["x"], "the collected split is another one"


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_store_of_an_earlier_version_is_kept_when_a_split_is_added(tmp_path: Path, interrupted: bool) -> None:
    log: list[str] = []
    run, _ = opened(tmp_path / "r")
    run_stages(run, counting(log))
    earlier = replace(counting(log)[0], splits=True)  # earlier versions recorded all splits
    record = run.manifest.data["stages"]["grow"]
    record["settings"] = _digest(_settings(run, earlier))
    record["made_from"] = _digest([_settings(run, earlier), {}])
    if interrupted:
        run.manifest.data["stages"].pop("grow")
        run.manifest.data["unfinished"] = {"grow": record["made_from"]}
    run.manifest.save()
    renew_records(opened(tmp_path / "r")[0], counting(log))
    run_stages(opened(tmp_path / "r", SPLIT, update=True)[0], counting(log))
    assert log == (["x", "xx"] if interrupted else ["x"])


def test_a_missing_checkpoint_does_not_prevent_an_update(tmp_path: Path) -> None:
    run, _ = opened(tmp_path / "r")
    run_stages(run, counting([]))

    def missing(run: Run) -> Any:
        raise CheckpointError("no such folder")

    recorded = run.manifest.data["stages"]["grow"]["settings"]
    renew_records(run, (replace(counting([])[0], more=missing),))
    assert run.manifest.data["stages"]["grow"]["settings"] == recorded


def test_hashes_of_settings_keep_the_former_name_of_a_section(tmp_path: Path) -> None:
    run, _ = opened(tmp_path / "r")
    stage = Stage("fit", lambda run: None, (), (), ("transitions", "label", "helper", "evaluate"))
    settings = _settings(run, stage)
    assert settings["model"]["min_visits"] == 3
    assert settings["label"]["budgets"] == (1.0,), "explicit, as in runs of the first release"
    assert "id" not in settings["helper"], "added later, and left out while it has its default"
    assert "every-k" in settings["evaluate"]["minor"]


def test_the_date_of_prompts_is_part_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = opened(tmp_path / "r")
    checkpoints.check_models(run)
    assert run.manifest.data["prompt_date"] == checkpoints.PROMPT_DATE.isoformat()
    checkpoints.check_models(run)
    monkeypatch.setattr(checkpoints, "PROMPT_DATE", date(2031, 2, 3))
    with pytest.raises(RunDirectoryError, match=r"dated 2025-01-01.*dates them 2031-02-03"):
        checkpoints.check_models(run)
