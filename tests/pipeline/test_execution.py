"""Execution of stages: skipped if up to date, atomic, resumable. The stages here write small files."""

from __future__ import annotations

import importlib
import json
import os
import sys
import textwrap
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.errors import CheckpointError, RunDirectoryError, UnknownNameError
from selfreg_gym.pipeline import checkpoints
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage, _settings, renew_records, run_stages
from selfreg_gym.pipeline.manifest import _digest

CONFIG = load_config(preset="smoke")


def stages(log: list[str], *, fail_in: str | None = None) -> tuple[Stage, ...]:
    """Two stages: numbers.txt is written from the config, sum.txt from numbers.txt."""

    def numbers(run: Run) -> dict[str, Any]:
        log.append("numbers")
        notes = run.partial("numbers") / "notes"
        log.append(f"resumed: {notes.exists()}")
        notes.write_text("half done")
        with run.writing("numbers", "numbers.txt") as out:
            out.write_text(str(run.config.collect.episodes))
            if fail_in == "numbers":
                raise KeyboardInterrupt
        return {"written": 1}

    def total(run: Run) -> None:
        log.append("total")
        with run.writing("total", "total") as out:
            out.mkdir()
            (out / "sum.txt").write_text((run.path / "numbers.txt").read_text())

    return (
        Stage("numbers", numbers, (), ("numbers.txt",), ("collect",)),
        Stage("total", total, ("numbers.txt",), ("total",), ("solve",)),
    )


def opened(path: Path, *overrides: str, update: bool = False) -> tuple[Run, list[str]]:
    said: list[str] = []
    config = load_config(preset="smoke", overrides=overrides)
    return Run.open(path, config, update=update, say=said.append, progress=False), said


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
    assert (run.path / "total" / "sum.txt").read_text() == str(CONFIG.collect.episodes)
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


def test_messages_about_missing_inputs_name_the_command(tmp_path: Path) -> None:
    run, _ = opened(tmp_path / "r")
    with pytest.raises(RunDirectoryError, match=r"numbers.txt.*--until numbers"):
        run_stages(run, stages([]), ["total"])
    with pytest.raises(UnknownNameError, match="Did you mean 'total'"):
        run_stages(run, stages([]), ["totl"])


def damage(path: Path) -> None:
    """Change one byte, keep the size."""
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("redo", [False, True])
def test_a_stage_reads_no_damaged_input(tmp_path: Path, redo: bool) -> None:
    run, _ = opened(tmp_path / "r")
    run_stages(run, stages([]))
    damage(run.path / "numbers.txt")
    log: list[str] = []
    with pytest.raises(RunDirectoryError, match=r"numbers.txt .* numbers left it.* --until numbers"):
        run_stages(opened(tmp_path / "r")[0], stages(log), ["total"], redo=redo)
    assert log == []
    run_stages(opened(tmp_path / "r")[0], stages(log), ["numbers"])
    run_stages(opened(tmp_path / "r")[0], stages(log), ["total"], redo=redo)
    assert (tmp_path / "r" / "total" / "sum.txt").read_text() == str(CONFIG.collect.episodes)


def test_a_stage_reads_no_input_of_another_run(tmp_path: Path) -> None:
    for name, episodes in (("a", 7), ("b", 9)):
        run_stages(opened(tmp_path / name, f"collect.episodes={episodes}")[0], stages([]))
    (tmp_path / "b" / "numbers.txt").replace(tmp_path / "a" / "numbers.txt")
    with pytest.raises(RunDirectoryError, match="content has changed"):
        run_stages(opened(tmp_path / "a", "collect.episodes=7")[0], stages([]), ["total"])


def test_inputs_of_inputs_are_checked(tmp_path: Path) -> None:
    def last(run: Run) -> None:
        with run.writing("last", "last.txt") as out:
            out.write_text((run.path / "total" / "sum.txt").read_text())

    three = (*stages([]), Stage("last", last, ("total",), ("last.txt",), ()))
    run_stages(opened(tmp_path / "r")[0], three)
    run_stages(opened(tmp_path / "r", "collect.episodes=9", update=True)[0], three, ["numbers"])
    with pytest.raises(RunDirectoryError, match=r"total in .* made it from another numbers.txt.* --until total"):
        run_stages(opened(tmp_path / "r", "collect.episodes=9")[0], three, ["last"])


def test_inputs_of_other_settings_are_named(tmp_path: Path) -> None:
    run_stages(opened(tmp_path / "r")[0], stages([]))
    run, said = opened(tmp_path / "r", "collect.episodes=9", update=True)
    run_stages(run, stages([]), ["total"], redo=True)
    assert said[0].startswith("note: numbers.txt was made with other settings")


def test_an_input_that_changes_while_a_stage_runs_makes_it_outdated(tmp_path: Path) -> None:
    def meddle(run: Run) -> None:
        with run.writing("total", "total") as out:
            out.mkdir()
        damage(run.path / "numbers.txt")

    first, second = stages([])
    run_stages(opened(tmp_path / "r")[0], (first, Stage("total", meddle, second.inputs, second.outputs, ())))
    log: list[str] = []
    run_stages(opened(tmp_path / "r")[0], stages(log))
    assert "total" in log


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


JOBS = '''
    import os, time

    def slow(run):
        """Ends only when the stage after it is done: so the two must have run at the same time."""
        with run.writing("slow", "slow.txt") as out:
            end = time.monotonic() + 60
            while not (run.path / "quick.txt").exists():
                if time.monotonic() > end:
                    raise TimeoutError("the other stage did not run at the same time")
                time.sleep(0.01)
            out.write_text(str(os.getpid()))
        return {"pid": os.getpid()}

    def quick(run):
        with run.writing("quick", "quick.txt") as out:
            out.write_text("quick")

    def both(run):
        with run.writing("both", "both.txt") as out:
            out.write_text((run.path / "slow.txt").read_text())

    def fails(run):
        (run.partial("slow") / "state").write_text("half done")
        raise ValueError("out of luck")
'''


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Functions of stages in a module, which the background process imports."""
    (tmp_path / "stage_jobs.py").write_text(textwrap.dedent(JOBS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stage_jobs", raising=False)
    return importlib.import_module("stage_jobs")


def test_a_background_stage_runs_with_stages_that_do_not_read_its_output(jobs: Any, tmp_path: Path) -> None:
    side = (
        Stage("slow", jobs.slow, (), ("slow.txt",), (), background=True),
        Stage("quick", jobs.quick, (), ("quick.txt",), ()),
        Stage("both", jobs.both, ("slow.txt", "quick.txt"), ("both.txt",), ()),
    )
    run, said = opened(tmp_path / "r", "collect.workers=2")
    run_stages(run, side)
    assert (run.path / "both.txt").read_text() == (run.path / "slow.txt").read_text() != str(os.getpid())
    assert [line.split()[1] for line in said if "done" in line] == ["quick:", "slow:", "both:"]
    again, said = opened(tmp_path / "r", "collect.workers=2")
    run_stages(again, side)
    assert all("up to date" in line for line in said)


def test_a_background_stage_that_fails_raises_and_continues_later(jobs: Any, tmp_path: Path) -> None:
    side = (
        Stage("slow", jobs.fails, (), ("slow.txt",), (), background=True),
        Stage("quick", jobs.quick, (), ("quick.txt",), ()),
    )
    run, _ = opened(tmp_path / "r", "collect.workers=2")
    with pytest.raises(ValueError, match="out of luck"):
        run_stages(run, side)
    assert "slow" not in run.manifest.data["stages"]
    assert "quick" in run.manifest.data["stages"]
    assert (run.partial("slow") / "state").read_text() == "half done", "what it had is kept for the next attempt"


def test_the_date_of_prompts_is_part_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = opened(tmp_path / "r")
    checkpoints.check_models(run)
    assert run.manifest.data["prompt_date"] == checkpoints.PROMPT_DATE.isoformat()
    checkpoints.check_models(run)
    monkeypatch.setattr(checkpoints, "PROMPT_DATE", date(2031, 2, 3))
    with pytest.raises(RunDirectoryError, match=r"dated 2025-01-01.*dates them 2031-02-03"):
        checkpoints.check_models(run)
