"""Progress bars."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from selfreg_gym.utils.progress import new_progress, progress_bar


def test_a_bar_shows_description_count_and_note() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with new_progress(console=console) as bar:
        task = bar.add_task("evaluate [bold]", total=4, note="")
        bar.update(task, completed=3, note="loss 0.5")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(part in text for part in ("evaluate [bold]", "3/4", "loss 0.5"))


def test_a_bar_that_is_not_shown_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("train", 2, shown=False) as update:
        update(1, "loss 1")
    assert capsys.readouterr() == ("", "")
