"""The table of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.report.material import Material
from selfreg_gym.report.palette import style_of
from selfreg_gym.utils.printable import shorten, visible

__all__ = ["describe", "format_table"]

NAME = 24
"""Characters of a helper's name in the table of the terminal."""


def describe(run: str | Path) -> tuple[Any, list[str]]:
    """The table of a run's evaluation, for a ``rich`` console, and its warnings.

    Raises:
        ConfigError: a file of the run that cannot be read as what it should be.
    """
    material = Material.load(Path(run))
    notes = list(material.notes)
    if any(row["helper"] == "dp" for row in material.whole):
        notes.insert(0, "dp is privileged: its states name the task, so compare it on the collected tasks only.")
    return format_table(material), notes


def format_table(source: Material | Evaluation) -> Any:
    """The main numbers for a terminal of 80 columns: print it with a ``rich`` ``Console``. No row is left out."""
    from rich.console import Group
    from rich.text import Text

    material = Material.of(source)
    parts: list[Any] = []
    for split in material.splits:
        rows = material.rows(split)
        counts = sorted({row["episodes"] for row in rows})
        told = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        parts.append(Text.assemble((material.title(split), "bold"), (f"  {told} episodes per row", "dim")))
        parts += [_table(material, split, rows), Text()]
    return Group(*parts, Text(_legend(material), style="dim"))


def _legend(material: Material) -> str:
    told = [
        "SR success",
        f"U usage ({material.unit} per episode)",
        "gap share recovered of what always adds to never",
        "rand the same for random help at equal usage",
    ]
    if material.calls_are_units:
        told.append("tog returns to help per episode")
    else:
        several = " of " + " + ".join(material.interventions) if len(material.interventions) > 1 else ""
        told.append(f"calls for help per episode{several}")
    text = ", ".join(told) + "; 95 % intervals"
    if any(item["adjusted"] for item in material.evaluation.comparisons):
        text += (
            "; * U differs from C by more than 5 %: the share is read off at C, on the line from never through the "
            "helper's rows to always"
        )
    if any(material.met(row["key"]) not in (None, "yes") for row in material.whole):
        text += "; ! C was not met in calibration"
    return text


def _table(material: Material, split: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("helper", no_wrap=True, min_width=13)
    last = {"tog": 4} if material.calls_are_units else {"calls": 5}
    widths = {"C": 3, "SR %": 13, "U": 4, "E[U]": 4, "gap %": 12, "rand": 4, **last}
    if all(row["expected_usage"] is None for row in rows):
        del widths["E[U]"]
    for name, width in widths.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for row in rows:
        item = material.comparison(split, row["helper"], row["budget"], row["key"])
        share = random = ""
        if item is not None and item["share"]["value"] is not None:
            share = _points(item["share"]["value"], item["share"]["ci"], "*" if item["adjusted"] else "")
            if item["random"] is not None and item["random"]["value"] is not None:
                random = f"{100 * item['random']['value']:.0f}"
        missed = "" if material.met(row["key"]) in (None, "yes") else "!"
        cells = (
            _name(row["helper"]),
            "" if row["budget"] is None else f"{row['budget']:g}{missed}",
            "" if row["success_rate"] is None else _points(row["success_rate"], row["success_rate_ci"]),
            "" if row["usage"] is None else f"{row['usage']:.2f}",
            *([_number(row["expected_usage"])] if "E[U]" in widths else []),
            share,
            random,
            _number(row["toggles"]) if material.calls_are_units else _calls(material, row),
        )
        # Text and not str: rich reads square brackets of a str as markup.
        table.add_row(*map(Text, cells), style="bold" if style_of(row["helper"]).main else "")
    return table


def _name(helper: str) -> str:
    return shorten(visible(helper, limit=2 * NAME), NAME)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _calls(material: Material, row: Mapping[str, Any]) -> str:
    """Calls per episode: of each intervention where there are several and they were counted."""
    each = material.by_intervention(row, "calls")
    if len(each) > 1 and None not in each and any(each):
        return " + ".join(f"{calls:.1f}" for calls in each if calls is not None)
    return _number(material.calls(row))


def _points(value: float, ci: Sequence[float | None], mark: str = "") -> str:
    """A share with its interval, in per cent."""
    ends = ", ".join("?" if end is None else f"{100 * end:.0f}" for end in ci)
    return f"{100 * value:.0f}{mark} [{ends}]"
