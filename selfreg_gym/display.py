"""The table at the end of a run: a few rows per split, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selfreg_gym.evaluation import Evaluation

__all__ = ["result_tables", "show"]

LEGEND = """C: cost units per episode that the helper was calibrated to. gap: share of the way from never to always;
random: that of random help at the same usage. * dp is privileged: its state keys name the task, so judge it on
collected only.
"""
MEANING = {
    "collected": "the tasks that rollouts were collected on, with fresh seeds",
    "seen": "new tasks in houses that were collected on",
    "unseen": "new tasks in new houses",
}


def show(run: Path, console: Console | None = None) -> None:
    """Print the tables of a run, its warnings, and where its report is; a run without an evaluation prints nothing."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a log file has no edge
    if (run / "evaluation.json").exists():
        evaluation = Evaluation.load(run / "evaluation.json")
        for table in result_tables(evaluation):
            console.print(table, "")
        console.print(LEGEND, highlight=False)
        for warning in evaluation.warnings:
            console.print(f"[yellow]note[/yellow] {warning}", highlight=False)
    if (run / "report.html").exists():
        console.print(f"\nThe report: [bold]{run / 'report.html'}[/bold]", highlight=False, soft_wrap=True)


def result_tables(evaluation: Evaluation) -> list[Table]:
    """One table per split: all kinds together, every helper at every budget."""
    gaps = {(row["split"], row["key"]): row for row in evaluation.comparisons}
    tables = []
    for split in evaluation.tables:
        table = Table(title=f"{split}: {MEANING.get(split, 'tasks')}", title_justify="left", box=None, padding=(0, 1))
        table.add_column("helper", no_wrap=True)
        columns = ("C", "usage", "E\\[U]", "success (95 %)", "gap", "random", "over random", "toggles", "n")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        for row in evaluation.rows:
            if row["split"] == split and row["kind"] == "all" and row["seed"] is None:
                table.add_row(*_cells(row, gaps.get((split, row["key"]), {})))
        tables.append(table)
    return tables


def _cells(row: Mapping[str, Any], gap: Mapping[str, Any]) -> list[str]:
    low, high = row["success_rate_ci"]
    return [
        row["helper"] + ("*" if row["helper"] == "dp" else ""),
        _number(row["budget"], "g"),
        _number(row["usage"], ".2f"),
        _number(row["expected_usage"], ".2f"),
        f"{_number(row['success_rate'], '.3f')} ({_number(low, '.2f')} to {_number(high, '.2f')})",
        _percent(gap.get("share")),
        _percent(gap.get("random")),
        _percent(gap.get("over_random"), interval=True),
        _number(row["toggles"], ".2f"),
        str(row["episodes"]),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _percent(estimate: Mapping[str, Any] | None, *, interval: bool = False) -> str:
    """Percent of the gap between never and always."""
    if not estimate or estimate["value"] is None:
        return ""
    text = f"{100 * estimate['value']:.0f} %"
    if interval and None not in estimate["ci"]:
        low, high = estimate["ci"]
        text += f" [{100 * low:.0f}, {100 * high:.0f}]"
    return text
