"""Tables and cells of findings."""

from __future__ import annotations

import json
import math

import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.findings import Column, Table, cell_text

SHARE, NUMBER = Column("share", "share", "%", 0), Column("usage", "usage")


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (Estimate(0.756, 0.71, 0.804), SHARE, "76 % [71, 80]"),
        (Estimate(1.5, 1.25, 1.75), NUMBER, "1.50 [1.25, 1.75]"),
        (Estimate(0.5, math.nan, math.nan), SHARE, "50 %"),
        (Estimate(math.nan, math.nan, math.nan), SHARE, "-"),
        (0.31, SHARE, "31 %"),
        (3, NUMBER, "3"),
        (math.inf, NUMBER, "-"),
        (None, NUMBER, "-"),
        (True, NUMBER, "yes"),
        ("a\x1b[31m", NUMBER, "a\\x1b[31m"),
    ],
)
def test_cell_text(value: object, column: Column, text: str) -> None:
    assert cell_text(value, column) == text


def test_a_table_in_markdown_and_json() -> None:
    rows = [{"share": Estimate(0.5, 0.25, 0.75), "usage": 1.0, "seed": 2}, {"share": math.nan, "usage": None}]
    table = Table("shares", "Shares", (SHARE, NUMBER), rows, "A note.")
    assert table.markdown().splitlines() == [
        "## Shares", "", "| share | usage |", "|---|---|", "| 50 % [25, 75] | 1.00 |", "| - | - |", "", "A note.",
    ]  # fmt: skip
    stored = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert stored["rows"][0] == {"share": {"value": 0.5, "ci": [0.25, 0.75]}, "usage": 1.0, "seed": 2}
    assert stored["rows"][1]["share"] is None


def test_a_row_without_a_column_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'shares' must have the columns share, usage; a row lacks usage"):
        Table("shares", "Shares", (SHARE, NUMBER), [{"share": 1.0}])
