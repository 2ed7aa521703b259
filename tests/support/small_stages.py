"""Two stages that write small files, and runs of the preset smoke to run them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage

EPISODES = load_config(preset="smoke").collect.episodes
"""What the first stage writes if nothing is overridden."""


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
