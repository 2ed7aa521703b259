"""Tables of the report and their cells, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.report.data import ReportData
from selfreg_gym.report.templating import macros

__all__ = ["DASH", "budget_cell", "estimate", "first_cells", "html_table", "number", "significant"]

DASH = "\N{EN DASH}"
"""A missing value."""


def html_table(head: Sequence[str], body: Sequence[Sequence[Any]], *, left: int = 1, narrow: bool = False) -> str:
    """A table without the columns that have no value in any row; the first ``left`` columns are text."""
    keep = [i for i in range(len(head)) if i < left or any(row[i] != DASH for row in body)]
    rows = [[row[i] for i in keep] for row in body]
    return macros.table([head[i] for i in keep], rows, left, narrow) if body else ""


def number(value: float | None, digits: int = 2, sign: str = "") -> str:
    """A number with ``digits`` decimals; with ``sign="+"`` a positive one has its sign."""
    return DASH if value is None else f"{value:{sign}z.{digits}f}"


def budget_cell(value: float | None) -> str:
    """A budget in as few digits as possible."""
    return DASH if value is None else f"{value:g}"


def estimate(
    value: float | None, ci: Sequence[float | None], *, scale: float = 1.0, digits: int = 2, sign: str = ""
) -> str:
    """A number with its interval in small print."""
    centre, *ends = (None if x is None else f"{scale * x:{sign}z.{digits}f}" for x in (value, *ci))
    return DASH if centre is None else macros.small(centre, "" if None in ends else f"{ends[0]} to {ends[1]}")


def significant(text: str, ci: Sequence[float]) -> str:
    """The text, in bold if the interval excludes zero."""
    return macros.significant(text) if ci[0] > 0 or ci[1] < 0 else text


def first_cells(data: ReportData, row: Mapping[str, Any]) -> list[str]:
    """The first three cells of a row: helper, split, budget."""
    return [macros.helper(data.style(row["helper"])), data.title(row["split"]), budget_cell(row["budget"])]
