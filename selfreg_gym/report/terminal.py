"""The results as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.records import ResultRow
from selfreg_gym.report.data import ENDS, ReportData
from selfreg_gym.utils.printable import shorten, visible

__all__ = ["describe", "format_table"]

NAME_WIDTH = 24
"""Most characters of a helper's name."""


def describe(run: str | Path) -> tuple[Group, list[str]]:
    """The table of a run's evaluation, for a ``rich`` console, and its warnings.

    Raises:
        ConfigError: a file of the run is malformed.
    """
    data = ReportData.load(Path(run))
    informed = [row["helper"] for row in data.evaluation.summary_rows if data.style(row["helper"]).declared.knows_tasks]
    notes = [
        f"{helper} has a table of the collected tasks' states: compare it with the others on these tasks only."
        for helper in dict.fromkeys(informed)
    ]
    return format_table(data), [*notes, *data.warnings]


def format_table(source: ReportData | Evaluation) -> Group:
    """The main results for a terminal of 80 columns, a row per helper and budget; print it with a ``rich`` console."""
    data = ReportData.of(source)
    parts: list[Any] = []
    for split in data.splits:
        rows = _ordered(data, split)
        counts = sorted({row["episodes"] for row in rows})
        episodes = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        parts.append(Text.assemble((data.title(split), "bold"), (f"  {episodes} episodes per row", "dim")))
        parts += [_table(data, rows), Text()]
    return Group(*parts, Text(_legend(data), style="dim"))


def _ordered(data: ReportData, split: str) -> list[ResultRow]:
    """The ends of the usage axis first and the most important helpers last, just above the prompt."""

    def position(row: Mapping[str, Any]) -> tuple[int, int]:
        style = data.style(row["helper"])
        return (ENDS.index(style.declared.reference) if style.declared.reference in ENDS else len(ENDS), -style.rank)

    return sorted(data.rows(split), key=position)


def _legend(data: ReportData) -> str:
    names = data.interventions
    privileged = [name for name in names if name.endswith("(privileged)")]
    calls = f"calls: for help per episode{' of ' + ' + '.join(names) if len(names) > 1 else ''}"
    entries = [
        "SR: success rate",
        f"U: usage ({data.unit} per episode)",
        "gap: recovered share of always minus never",
        "rand: the same for random help at equal usage",
        "tog: returns to help per episode" if data.calls_are_units else calls,
        "[95 % intervals]",
    ]
    if privileged:
        entries.append(f"{', '.join(privileged)}: uses facts that the actor cannot know")
    if _asks_ahead(data.evaluation.summary_rows):
        entries.append("extra: calls of the actor per episode for decisions to help, whose acts were not executed")
    if any(item["adjusted"] for item in data.evaluation.comparisons):
        entries.append(
            "*: U differs from C by more than 5 %, so the share is interpolated at C, between never, "
            "the helper's points and always"
        )
    if any(data.missed(row["key"]) for row in data.evaluation.summary_rows):
        entries.append("!: calibration did not meet C")
    return "; ".join(entries)


def _table(data: ReportData, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("helper", no_wrap=True, min_width=13)
    last = {"tog": 4} if data.calls_are_units else {"calls": 5}
    widths = {"C": 3, "SR %": 13, "U": 4, "E[U]": 4, "gap %": 12, "rand": 4, **last}
    if all(row["expected_usage"] is None for row in rows):
        del widths["E[U]"]
    if _asks_ahead(rows):
        widths["extra"] = 4
    for name, width in widths.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for row in rows:
        item = data.comparison(row["split"], row["helper"], row["budget"])
        share = random = ""
        if item is not None:
            share = _percent(item["share"]["value"], item["share"]["ci"], "*" if item["adjusted"] else "")
            if item["random"] is not None and item["random"]["value"] is not None:
                random = f"{100 * item['random']['value']:.0f}"
        cells = (
            shorten(visible(row["helper"], limit=2 * NAME_WIDTH), NAME_WIDTH),
            "" if row["budget"] is None else f"{row['budget']:g}{'!' if data.missed(row['key']) else ''}",
            "" if row["success_rate"] is None else _percent(row["success_rate"], row["success_rate_ci"]),
            _number(row["usage"]),
            *([_number(row["expected_usage"])] if "E[U]" in widths else []),
            share,
            random,
            _number(row["toggles"]) if data.calls_are_units else _calls(row),
            *([_number(row["extra_actor_calls"] or None)] if "extra" in widths else []),
        )
        # Text and not str: rich reads square brackets of a str as markup.
        table.add_row(*map(Text, cells), style="bold" if data.style(row["helper"]).emphasised else "")
    return table


def _asks_ahead(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether some helper asked the actor before it decided to help."""
    return any(row["extra_actor_calls"] for row in rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _calls(row: Mapping[str, Any]) -> str:
    """Calls per episode: of each intervention where there are several and they were counted."""
    each = row["calls_by_intervention"]
    if len(each) > 1 and None not in each and any(each):
        return " + ".join(f"{calls:.1f}" for calls in each if calls is not None)
    return _number(row["calls"])


def _percent(value: float, ci: Sequence[float | None], mark: str = "") -> str:
    """A share with its interval, in per cent."""
    ends = ", ".join("?" if end is None else f"{100 * end:.0f}" for end in ci)
    return f"{100 * value:.0f}{mark} [{ends}]"
