"""The inputs of a stage, which must be the files that the stages before it have made."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_stages import EPISODES, opened, stages

from selfreg_gym.errors import RunDirectoryError, UnknownNameError
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage, run_stages


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
    assert (tmp_path / "r" / "total" / "sum.txt").read_text() == str(EPISODES)


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
