"""``Findings``: the statements, tables and plots of an experiment, and the published numbers beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.utils.printable import visible

__all__ = ["Column", "Findings", "Plot", "Published", "Table", "cell_text"]

MISSING = "-"
"""Text of a value that is missing or not finite."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: key of its values in the rows.
        title: its heading.
        unit: ``"%"`` shows a share as a percentage; ``""`` shows the number.
        digits: decimals of a number, or of a percentage.
    """

    name: str
    title: str
    unit: str = ""
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """A table. A value is a text, a number, a bool, an :class:`Estimate` (shown with its interval) or None.

    Attributes:
        name: its key in ``results.json``.
        title: its heading.
        columns: in order.
        rows: one mapping per row, from the name of a column to a value; other keys are kept in ``results.json`` only.
        note: a paragraph below the table.

    Raises:
        InvalidArgumentError: a row lacks a column.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if missing := [column.name for column in self.columns if column.name not in row]:
                raise InvalidArgumentError(
                    f"every row of the table {self.name!r} must have the columns "
                    f"{', '.join(column.name for column in self.columns)}; a row lacks {', '.join(missing)}."
                )

    def markdown(self) -> str:
        """The table in Markdown, with heading and note."""
        lines = [f"## {self.title}", ""]
        lines.append("| " + " | ".join(column.title for column in self.columns) + " |")
        lines.append("|" + "---|" * len(self.columns))
        for row in self.rows:
            texts = (cell_text(row[column.name], column).replace("|", "\\|") for column in self.columns)
            lines.append("| " + " | ".join(texts) + " |")
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Title, column names and rows; an estimate is ``{"value", "ci"}``."""
        return {
            "title": self.title,
            "columns": [column.name for column in self.columns],
            "rows": [{name: _plain(value) for name, value in row.items()} for row in self.rows],
            "note": self.note,
        }


@dataclass(frozen=True)
class Plot:
    """A plot: ``figure`` (Matplotlib) is written to ``NAME.png``, with ``title`` as its description."""

    name: str
    title: str
    figure: Any


@dataclass(frozen=True)
class Published:
    """A published number beside ours.

    Attributes:
        what: the quantity.
        published: its published value.
        ours: our value, or None if it was not measured.
        source: where it was published.
    """

    what: str
    published: str
    ours: str | None
    source: str


@dataclass(frozen=True)
class Findings:
    """The result of an experiment.

    Attributes:
        statements: the main results, one sentence each.
        tables, plots: in order.
        published: published numbers beside ours.
        notes: limits of the experiment, one sentence each.
    """

    statements: Sequence[str]
    tables: Sequence[Table]
    plots: Sequence[Plot] = ()
    published: Sequence[Published] = ()
    notes: Sequence[str] = ()


def cell_text(value: Any, column: Column) -> str:
    """A value as the text of a table cell: ``76 % [71, 80]`` for an estimate in per cent."""
    if isinstance(value, Estimate):
        shown = cell_text(value.value, column)
        if shown == MISSING or not (math.isfinite(value.low) and math.isfinite(value.high)):
            return shown
        scale = 100.0 if column.unit == "%" else 1.0
        return f"{shown} [{value.low * scale:.{column.digits}f}, {value.high * scale:.{column.digits}f}]"
    if value is None:
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer) and column.unit != "%":
        return str(int(value))
    if isinstance(value, int | float | np.number):
        number = float(value)
        if not math.isfinite(number):
            return MISSING
        return f"{100 * number:.{column.digits}f} %" if column.unit == "%" else f"{number:.{column.digits}f}"
    return visible(str(value), limit=300)


def _plain(value: Any) -> Any:
    """The JSON form of a value; numbers that are not finite become None."""
    if isinstance(value, Estimate):
        return {"value": _plain(value.value), "ci": [_plain(value.low), _plain(value.high)]}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
