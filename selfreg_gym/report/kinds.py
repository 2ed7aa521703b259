"""The table of success and usage by kind of task, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.report.cells import DASH, html_table
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.summary import percent
from selfreg_gym.report.templating import macros
from selfreg_gym.utils.printable import visible

__all__ = ["kinds"]


def kinds(data: ReportData, split: str) -> str:
    """Success and usage for each kind of task, at the budget of the headline or a helper's nearest one.

    A helper is a row. If there are more kinds than helpers, a kind is a row, so that the table stays narrow.
    """
    names = sorted({row["kind"] for row in data.evaluation.rows if row["split"] == split} - {"all"})
    budget = data.headline_budget or 0.0
    heads, columns = [], []
    rows = data.rows(split)
    for helper in data.helpers(split):
        own = [row for row in rows if row["helper"] == helper]
        nearest = min(own, key=lambda row: abs((row["budget"] or 0.0) - budget), default=None)
        for row in own:
            if row is nearest or row["budget"] is None:
                note = "" if row["budget"] in (None, data.headline_budget) else f"C = {row['budget']:g}"
                heads.append(macros.helper(data.style(helper), note))
                columns.append([data.row(split, row["key"], kind) for kind in names])
    counts = [_span([row["episodes"] for row in found if row is not None]) for found in zip(*columns, strict=True)]
    shown = [visible(name, limit=40) for name in names]
    cells = [[_of_kind(row) for row in column] for column in columns]
    if len(names) <= len(heads):
        body = [[head, *column] for head, column in zip(heads, cells, strict=True)]
        return html_table(["Helper", *shown], [*body, ["episodes", *counts]] if body else [])
    lines = zip(shown, counts, *cells, strict=True)
    return html_table(["Kind", "episodes", *heads], [list(line) for line in lines])


def _of_kind(row: Mapping[str, Any] | None) -> str:
    """Success and usage of a helper on one kind of task."""
    if row is None or row["usage"] is None:
        return DASH
    return macros.small(percent(row["success_rate"]), f"U {row['usage']:.2f}")


def _span(counts: Sequence[int]) -> str:
    """The smallest and the largest of some numbers: ``"84"``, or ``"28 to 168"``."""
    if not counts:
        return DASH
    return f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
