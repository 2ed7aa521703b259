"""The result rows of a split: one per helper, budget, training seed and kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfreg_gym.evaluation.bootstrap import Floats, estimate_mean, estimate_rate
from selfreg_gym.evaluation.records import ResultRow, plain
from selfreg_gym.evaluation.split_results import Point, SplitResults
from selfreg_gym.helper import HelperKey

__all__ = ["point_key", "result_rows"]

OVER = 1 + 1e-9
"""An episode whose usage is above this times C is over the budget; less is a rounding error."""


def point_key(point: Point) -> HelperKey:
    """The key that names a point: without the training seed if there are several."""
    return point[0] if len(point) == 1 else replace(point[0], seed=None)


def result_rows(results: SplitResults) -> list[ResultRow]:
    """The rows of a split. The row of all training seeds together has ``seed`` None."""
    kinds = ["all", *sorted({kind for kind in results.table.kinds if kind} - {"all"})]
    points: dict[HelperKey, Point] = {}
    for key in results.table.columns:
        points.setdefault(replace(key, seed=None), []).append(key)
        if key.seed is not None:
            points[key] = [key]
    return [_row(results, point, key.seed, kind) for key, point in points.items() for kind in kinds]


def _row(results: SplitResults, point: Point, seed: int | None, kind: str) -> ResultRow:
    table, chosen = results.table, results.table.restrict(kind)
    key = results.identity(point[0])
    weights, design = table.weights(kind), table.design(kind)

    def column(name: str) -> Floats:
        return table.column(point, name)[chosen]

    success = estimate_rate(column("success"), weights, design=design)
    usage, length, helped = column("usage"), column("length"), column("helped")
    each = np.concatenate([table.columns[one]["usage"][chosen] for one in point])
    known = each[np.isfinite(each)]
    expected = results.expected.get(point[0], {}) if kind == "all" else {}
    interventions = sum(name.startswith("usage_") for name in {name for one in point for name in table.columns[one]})
    units, counts = ([_mean(column(f"{what}_{k + 1}")) for k in range(interventions)] for what in ("usage", "calls"))
    each_called = [column(f"calls_{k + 1}") for k in range(interventions)]
    called = np.sum(each_called, axis=0) if each_called else helped
    called = called if np.isfinite(called).any() else helped  # of an earlier version
    used, calls = (estimate_mean(values, weights, design=design) for values in (usage, called))
    decisions = column("decisions") if np.isfinite(column("decisions")).any() else length
    return ResultRow(
        helper=key.name,
        intervention=results.meta.get("interventions", {}).get(str(point[0])),
        kind=kind,
        split=table.split,
        seed=seed,
        budget=key.budget,
        episodes=int(known.size),
        success_rate=plain(success.value),
        success_rate_ci=plain(success)["ci"],
        usage=plain(used.value),
        usage_ci=plain(used)["ci"],
        expected_usage=expected.get("usage"),
        expected_success=expected.get("success"),
        invalid_rate=_mean(column("invalid")),
        toggles=_mean(column("toggles")),
        unseen_state_rate=_ratio(column("unseen"), decisions),
        calibrated_usage=expected.get("calibrated_usage"),
        calibrated_success=expected.get("calibrated_success"),
        key=str(point_key(point)),
        switches=_mean(column("switches")),
        invalid_after_help=_mean(column("invalid_after_help")),
        step_share=_ratio(helped, length),
        episode_share=_mean(np.where(np.isfinite(helped), helped > 0, np.nan)),
        p_over_budget=None if key.budget is None or not known.size else float((known > key.budget * OVER).mean()),
        length=_mean(length),
        spl=_mean(column("spl")),
        calls=plain(calls.value),
        calls_ci=plain(calls)["ci"],
        usage_by_intervention=units,
        calls_by_intervention=counts if counts != [None] else [plain(calls.value)],  # [None]: of an earlier version
        extra_actor_calls=_mean(column("extra_actor_calls")),
        abort_rate=_mean(column("aborted")),
        errors=int(sum(np.nansum(table.columns[one]["error"][chosen]) for one in point)),
    )


def _ratio(over: Floats, under: Floats) -> float | None:
    """The sum of ``over (n,)`` divided by that of ``under (n,)``, of the episodes where both are known."""
    known = np.isfinite(over) & np.isfinite(under)
    return float(over[known].sum() / under[known].sum()) if known.any() and under[known].sum() else None


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
