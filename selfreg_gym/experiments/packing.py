"""An evaluation as plain JSON values: its episodes, without the estimates that are computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.helper import HelperKey

__all__ = ["pack", "unpack"]


def pack(evaluation: Evaluation) -> dict[str, Any]:
    """The episodes of an evaluation, and the helpers' budgets, expected values and descriptions, as JSON values."""
    return {
        "tables": [table.to_json() for table in evaluation.tables.values()],
        "budgets": {str(key): budget for key, budget in evaluation.budgets.items()},
        "expected": {
            split: {str(key): dict(values) for key, values in several.items()}
            for split, several in evaluation.expected.items()
        },
        "meta": evaluation.meta,
    }


def unpack(packed: Mapping[str, Any]) -> Evaluation:
    """The evaluation of which :func:`pack` made these values."""
    return Evaluation(
        {table["split"]: EpisodeTable.from_json(table) for table in packed["tables"]},
        budgets={HelperKey.parse(key): float(budget) for key, budget in packed["budgets"].items()},
        expected=packed["expected"],
        meta=packed["meta"],
    )
