"""Plots that several experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.utils.printable import shorten, visible

__all__ = ["against_usage", "ends_of", "split_title"]

MEASURES = {
    "success": "success rate",
    "switches": "switches between help and nohelp per episode",
    "toggles": "returns to help after a pause per episode",
}
"""Name of a measure -> label of its axis."""


def split_title(config: RunConfig, split: str) -> str:
    """The heading of a split."""
    return config.task.titles.get(split, f"Split {split}")


def ends_of(config: RunConfig) -> list[str]:
    """The collected split and the last one, the two splits of most experiments; one split if they are the same."""
    return list(dict.fromkeys([config.task.collected, list(config.task.splits)[-1]]))


def against_usage(
    evaluation: Evaluation,
    config: RunConfig,
    *,
    splits: Sequence[str],
    helpers: Sequence[str],
    measures: Sequence[str] = ("success",),
    labels: Mapping[str, str] | None = None,
) -> Any:
    """Measures against usage: one row of panels per measure, one column per split; values are means over seeds.

    Args:
        evaluation: of all seeds.
        config: gives the titles of the splits.
        splits: the columns.
        helpers: names of helpers, drawn in this order.
        measures: the rows.
        labels: name of a helper -> its text in the legend.
    """
    from selfreg_gym.report.styles import INK, styles_of
    from selfreg_gym.report.svg import figure, style

    size = (3.7 * max(1, len(splits)) + 1.6, 3.0 * len(measures) + 0.4)
    drawn, axes = figure(len(measures), len(splits), size=size, sharey="row")
    styles = styles_of({name: evaluation.description(name) for name in helpers})
    named: dict[str, Any] = {}
    with style():
        for column, split in enumerate(splits):
            results = evaluation.results(split)
            never, always = results.anchors
            for row, measure in enumerate(measures):
                axis = axes[row, column]
                ends = [(_mean(results, end, "usage"), _mean(results, end, measure)) for end in (never, always)]
                if measure == "success":
                    axis.plot(*zip(*ends, strict=True), color=INK["muted"][0], lw=1, ls=":")
                for name in helpers:
                    if name not in results.helpers:
                        continue
                    points = [
                        (_mean(results, one, "usage"), _mean(results, one, measure)) for one in results.points(name)
                    ]
                    line = sorted([ends[0], *points, *(ends[1:] if measure == "success" else [])])
                    (handle,) = axis.plot(
                        *zip(*line, strict=True), color=styles[name].light, marker=styles[name].marker, ms=5, lw=1.3
                    )
                    named.setdefault((labels or {}).get(name, styles[name].label), handle)
                axis.set_xlabel("usage U (cost units per episode)")
                if row == 0:
                    axis.set_title(shorten(visible(split_title(config, split)), 36))
                if column == 0:
                    axis.set_ylabel(shorten(MEASURES.get(measure, measure), 44))
        drawn.legend(list(named.values()), list(named), loc="outside right upper")
    return drawn


def _mean(results: Any, point: Any, measure: str) -> float:
    return float(np.nanmean(results.table.column(point, measure)))
