"""Execution of stages: skipped if up to date, atomic, resumable. The stages here write small files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_stages import EPISODES, opened, stages

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage, run_stages


def test_a_stage_whose_outputs_are_not_read_is_left_out(tmp_path: Path) -> None:
    log: list[str] = []
    first, second = stages(log)
    seen: list[str] = []

    def needed(config: Any) -> bool:
        seen.append(config.helper.id)
        return config.solve.gap > 0.05

    extra = replace(second, name="extra", outputs=("extra",), needed=needed)
    run, said = opened(tmp_path / "r")
    run_stages(run, (first, extra, second))
    assert (run.path / "total").exists()
    assert not (run.path / "extra").exists()
    assert "2/3 extra: not needed, no stage of this run reads extra" in said
    assert set(run.manifest.data["stages"]) == {"numbers", "total"}
    assert seen


def test_runs_once_then_skips(tmp_path: Path) -> None:
    log: list[str] = []
    run, said = opened(tmp_path / "r")
    run_stages(run, stages(log))
    assert log == ["numbers", "resumed: False", "total"]
    assert (run.path / "total" / "sum.txt").read_text() == str(EPISODES)
    record = run.manifest.data["stages"]["numbers"]
    assert record["figures"] == {"written": 1}
    assert record["seconds"] >= 0
    assert not list((run.path / ".partial").iterdir())
    log.clear()
    again, said = opened(tmp_path / "r")
    run_stages(again, stages(log))
    assert log == []
    assert said == ["1/2 numbers: up to date", "2/2 total: up to date"]


def test_a_changed_setting_runs_what_depends_on_it(tmp_path: Path) -> None:
    log: list[str] = []
    run_stages(opened(tmp_path / "r")[0], stages(log))
    log.clear()
    run_stages(opened(tmp_path / "r", "solve.gap=0.5", update=True)[0], stages(log))
    assert log == ["total"]
    log.clear()
    run_stages(opened(tmp_path / "r", "solve.gap=0.5", "collect.episodes=9", update=True)[0], stages(log))
    assert log == ["numbers", "resumed: False", "total"]
    assert (tmp_path / "r" / "total" / "sum.txt").read_text() == "9"


def test_speed_changes_nothing(tmp_path: Path) -> None:
    log: list[str] = []
    run_stages(opened(tmp_path / "r")[0], stages(log))
    log.clear()
    run_stages(opened(tmp_path / "r", "collect.workers=2")[0], stages(log))
    assert log == []


def test_an_interrupted_stage_leaves_no_output_and_continues(tmp_path: Path) -> None:
    log: list[str] = []
    run, _ = opened(tmp_path / "r")
    with pytest.raises(KeyboardInterrupt):
        run_stages(run, stages(log, fail_in="numbers"))
    assert not (run.path / "numbers.txt").exists()
    log.clear()
    run_stages(opened(tmp_path / "r")[0], stages(log))
    assert log == ["numbers", "resumed: True", "total"]


def test_unfinished_work_of_other_settings_is_removed(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_stages(opened(tmp_path / "r")[0], stages(log, fail_in="numbers"))
    log.clear()
    run_stages(opened(tmp_path / "r", "collect.episodes=9", update=True)[0], stages(log))
    assert log == ["numbers", "resumed: False", "total"]


def test_a_redone_stage_that_fails_is_unfinished(tmp_path: Path) -> None:
    log: list[str] = []
    run_stages(opened(tmp_path / "r")[0], stages(log))
    with pytest.raises(KeyboardInterrupt):
        run_stages(opened(tmp_path / "r")[0], stages(log, fail_in="numbers"), redo=True)
    log.clear()
    run_stages(opened(tmp_path / "r")[0], stages(log))
    assert log == ["numbers", "resumed: True"], "the input came out the same, so the second stage is current"


def test_damaged_output_is_made_again(tmp_path: Path) -> None:
    log: list[str] = []
    run, _ = opened(tmp_path / "r")
    run_stages(run, stages(log))
    (run.path / "numbers.txt").write_text("edited by hand")
    log.clear()
    run_stages(run, stages(log))
    assert log == ["numbers", "resumed: False"]


def test_an_output_that_grows_in_place_is_continued_or_removed(tmp_path: Path) -> None:
    def grow(run: Run) -> None:
        with (run.path / "store").open("a") as file:
            file.write("x")
        (run.path / "store-wal").touch()
        if len((run.path / "store").read_text()) < 2:
            raise KeyboardInterrupt

    stage = (Stage("grow", grow, (), ("store",), ("collect",), in_place=True),)
    with pytest.raises(KeyboardInterrupt):
        run_stages(opened(tmp_path / "r")[0], stage)
    run_stages(opened(tmp_path / "r")[0], stage)
    assert (tmp_path / "r" / "store").read_text() == "xx", "the second attempt goes on with what the first had left"
    with (tmp_path / "r" / "store").open("a") as file:
        file.write("y")
    with pytest.raises(RunDirectoryError, match=r"store in .* content has changed .*--redo.*--update"):
        run_stages(opened(tmp_path / "r")[0], stage)
    assert (tmp_path / "r" / "store").read_text() == "xxy", "never thrown away without being told to"
    run_stages(opened(tmp_path / "r", update=True)[0], stage)
    assert (tmp_path / "r" / "store").read_text() == "xxyx", "--update takes it as it is"
    with pytest.raises(KeyboardInterrupt):
        run_stages(opened(tmp_path / "r", "collect.episodes=9", update=True)[0], stage)
    assert (tmp_path / "r" / "store").read_text() == "x", "other settings: begun anew"


def test_warnings_of_a_stage_are_printed_and_kept(tmp_path: Path) -> None:
    def warns(run: Run) -> dict[str, Any]:
        (run.path / "x").write_text("")
        return {"warnings": ["the model is \x1b[31mbad"], "auc": float("nan")}

    run, said = opened(tmp_path / "r")
    run_stages(run, (Stage("warns", warns, (), ("x",), ()),))
    assert said[1] == "1/1 warns: done in 0 s; auc nan"
    assert said[2] == "    warning: the model is \\x1b[31mbad"
    manifest = json.loads((run.path / "manifest.json").read_text(), parse_constant=pytest.fail)
    assert manifest["stages"]["warns"]["warnings"] == ["the model is \x1b[31mbad"]
    assert manifest["stages"]["warns"]["figures"] == {"auc": None}


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    def private(run: Run) -> None:
        with run.writing("private", "model") as out:
            (out / "deep").mkdir(parents=True, mode=0o700)
            for name in ("weights", "deep/weights"):
                (out / name).touch(0o600)

    run, _ = opened(tmp_path / "r")
    run_stages(run, (Stage("private", private, (), ("model",), ()),))
    file, folder = run.path / "manifest.json", run.path
    for path in (run.path / "model").rglob("*"):
        assert path.stat().st_mode == (folder if path.is_dir() else file).stat().st_mode


def test_an_output_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("mine")
    run, _ = opened(tmp_path / "r")
    (run.path / "total").symlink_to(elsewhere)
    (run.path / ".partial").mkdir()
    (run.path / f".manifest.json.{os.getpid()}.new").symlink_to(elsewhere / "precious")
    run_stages(run, stages([]))
    assert (elsewhere / "precious").read_text() == "mine"
    assert not (run.path / "total").is_symlink()


def test_without_a_config_the_directory_must_hold_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="has none"):
        Run.open(tmp_path / "r")
    opened(tmp_path / "r", "collect.episodes=9")
    assert Run.open(tmp_path / "r").config.collect.episodes == 9
