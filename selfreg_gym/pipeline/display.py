"""The end of a run in the terminal: the table of results, the warnings and the path of the report."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import is_current
from selfreg_gym.pipeline.stages import STAGES
from selfreg_gym.utils.printable import visible

__all__ = ["show"]

WIDTH = 120
"""Columns where standard output is a file."""


def show(run: Run, console: Console | None = None, *, made: Sequence[str] = ()) -> None:
    """Print the table of a run, its warnings and the path of its report, if they are up to date.

    Args:
        run: the run.
        console: standard output by default.
        made: stages whose outputs are known to be up to date; others are compared with the manifest first.
    """
    from selfreg_gym.report import describe

    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    if "evaluate" in made or _up_to_date(run, "evaluate"):
        table, notes = describe(run.path)
        console.print()
        console.print(table)
        for note in notes:
            console.print(Text.assemble(("note ", "yellow"), visible(note)))
    report = visible(run.path / "report.html")
    if "report" in made or _up_to_date(run, "report"):
        console.print(Text.assemble("\nThe report: ", (report, "bold")), soft_wrap=True)
    elif (run.path / "report.html").exists():
        again = visible(f"selfreg run --out {run.path}")
        console.print(Text(f"\n{report} is outdated; update it with `{again}`."), soft_wrap=True)


def _up_to_date(run: Run, name: str) -> bool:
    """Whether a stage, and all stages that it depends on, are up to date."""
    needed = [stage for stage in STAGES if stage.name == name]
    for stage in needed:
        if not is_current(run, stage):
            return False
        needed += [one for one in STAGES if set(one.outputs) & set(stage.inputs) and one not in needed]
    return True
