"""Tables that several experiments use: helpers at budgets, with their shares of the gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from selfreg_gym.errors import SelfRegError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.findings import Column, Table
from selfreg_gym.experiments.plots import split_title
from selfreg_gym.experiments.results import Results

__all__ = ["COMPARED", "compared", "comparison_table", "difference_of", "measure_of", "share_of"]

UNKNOWN = Estimate(math.nan, math.nan, math.nan)

COMPARED = (
    Column("split", "split"),
    Column("helper", "helper"),
    Column("budget", "C", digits=1),
    Column("usage", "usage U"),
    Column("success", "success rate", "%", 0),
    Column("share", "share of the gap at C", "%", 0),
    Column("switches", "switches per episode"),
    Column("toggles", "toggles per episode"),
)
"""The columns of :func:`compared`."""


def measure_of(results: Results, split: str, helper: str, budget: float | None, measure: str) -> Estimate:
    """The mean of a measure (``"success_rate"``, ``"usage"``, ``"switches"``, ...) of a helper at a budget.

    The value and its interval are NaN if the helper was not evaluated on this split, or not at this budget.
    """

    def read(evaluation: Evaluation) -> Estimate:
        rows = [one for one in evaluation.summary_rows if (one["split"], one["helper"]) == (split, helper)]
        row: Any = next((one for one in rows if one["budget"] == budget), None)
        if row is None or row[measure] is None:
            return UNKNOWN
        low, high = row.get(f"{measure}_ci") or (math.nan, math.nan)
        return Estimate(row[measure], math.nan if low is None else low, math.nan if high is None else high)

    found = results.estimate(read)
    highest = 1.0 if measure == "success_rate" else math.inf
    return Estimate(found.value, max(found.low, 0.0), min(found.high, highest))  # NaN stays NaN


def share_of(results: Results, split: str, helper: str, budget: float | None) -> Estimate:
    """The share of the gap that a helper recovers, read at the usage C (:class:`selfreg_gym.evaluation.Recovery`).

    NaN if the helper was not evaluated on this split, or not at this budget.
    """

    def read(evaluation: Evaluation) -> Estimate:
        try:
            return evaluation.recovery(helper, budget=budget, split=split).share
        except SelfRegError:  # not evaluated on this split, or at this budget
            return UNKNOWN

    return results.estimate(read)


def difference_of(
    results: Results, split: str, helper: str, other: str, budget: float, *, measure: str = "success"
) -> Estimate:
    """A measure of ``helper`` minus that of ``other`` at equal usage: that of ``helper``, calibrated to the budget."""

    def read(evaluation: Evaluation) -> Estimate:
        try:
            return evaluation.at_equal_usage(
                helper, budget=budget, other=other, measure=measure, split=split
            ).difference
        except SelfRegError:
            return UNKNOWN

    return results.estimate(read)


def compared(
    results: Results, *, splits: Sequence[str], helpers: Sequence[str], budgets: Sequence[float]
) -> list[dict[str, Any]]:
    """One row per split, helper and budget; a helper without budgets, such as ``never``, has one row.

    Args:
        results: of the experiment.
        splits: names of splits.
        helpers: names of helpers; those that were not evaluated are left out.
        budgets: cost units per episode.

    Returns:
        Values by the names of the columns ``COMPARED``.
    """
    rows: list[dict[str, Any]] = []
    for split in splits:
        found = results.evaluation.results(split)
        title = split_title(results.config, split)
        for helper in (name for name in helpers if name in found.helpers):
            known = {found.identity(point[0]).budget for point in found.points(helper)}
            rows += [
                {
                    "split": title,
                    "helper": f"`{helper}`",
                    "budget": budget,
                    "usage": measure_of(results, split, helper, budget, "usage"),
                    "success": measure_of(results, split, helper, budget, "success_rate"),
                    "share": share_of(results, split, helper, budget),
                    "switches": measure_of(results, split, helper, budget, "switches"),
                    "toggles": measure_of(results, split, helper, budget, "toggles"),
                }
                for budget in (None, *budgets)
                if budget in known
            ]
    return rows


def comparison_table(
    results: Results,
    *,
    splits: Sequence[str],
    helpers: Sequence[str],
    budgets: Sequence[float],
    title: str = "Helpers at budgets",
    note: str = "",
) -> Table:
    """The table of :func:`compared`, with a note that explains its columns and ends with ``note``."""
    explained = (
        "The gap is the success rate of always asking minus that of never asking. A share is read at the usage C, "
        "between the helper's own points; success rate and usage are those of the calibrated helper. A switch is a "
        "change between help and nohelp; a toggle is a return to help after a pause."
    )
    rows = compared(results, splits=splits, helpers=helpers, budgets=budgets)
    return Table("helpers", title, COMPARED, rows, f"{explained} {note}".strip())
