"""What a run says at its end: the table, what must be known before believing it, and where the report is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

__all__ = ["show"]

WIDTH = 120
"""Columns when nobody looks: a log file has no edge."""


def show(run: Path, console: Console | None = None) -> None:
    """Print the table of a run, its warnings, and where its report is; a run without an evaluation prints nothing."""
    from selfreg_gym.evaluation import Evaluation
    from selfreg_gym.report import format_table

    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    if (run / "evaluation.json").exists():
        evaluation = Evaluation.load(run / "evaluation.json")
        console.print()
        console.print(format_table(evaluation))
        console.print("dp is privileged, its states name the task: judge it on the collected tasks only.")
        for warning in evaluation.warnings:
            console.print(f"[yellow]note[/yellow] {warning}", highlight=False)
    if (run / "report.html").exists():
        console.print(f"\nThe report: [bold]{run / 'report.html'}[/bold]", highlight=False, soft_wrap=True)
