"""The tables of the report, as HTML. A table without rows is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfreg_gym.helper import HelperKey
from selfreg_gym.prm.hard_tasks import hard_tasks
from selfreg_gym.report.cells import DASH, budget_cell, estimate, first_cells, html_table, number, significant
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.summary import percent
from selfreg_gym.report.templating import macros
from selfreg_gym.utils.printable import visible

__all__ = [
    "calibrations",
    "curves",
    "expectations",
    "figures_of_stages",
    "hard_task_counts",
    "measurements",
    "reliability",
    "selected_helpers",
    "selected_knobs",
    "shares",
    "toggles",
    "usage_by_intervention",
    "validated_helpers",
]

MISSED = {"under": "not met: under", "over": "not met: over", "unknown": "not met"}


def shares(data: ReportData, split: str) -> str:
    """Share of the gap by helper and budget, with the usage, and the share of random help at the same usage."""
    budgets = [*data.budgets, None]
    body = []
    for helper in data.compared(split):
        items = [data.comparison(split, helper, budget) for budget in budgets]
        if any(items):
            body.append([macros.helper(data.style(helper)), *(_share(data, item) for item in items)])
    return html_table(["Helper", *("no budget" if b is None else f"C = {b:g}" for b in budgets)], body)


def _share(data: ReportData, item: Mapping[str, Any] | None) -> str:
    if item is None:
        return DASH
    low, high = item["share"]["ci"]
    usage = f"{item['measured_usage']:.2f}"
    over, difference = item["over_random"], ""
    if over is not None and over["value"] is not None:
        (below, above), reference = over["ci"], f"random {100 * item['random']['value']:.0f}"
        text = f"{100 * over['value']:+z.0f} [{100 * below:+z.0f}, {100 * above:+z.0f}]"
        difference = significant(text, over["ci"])
    else:
        reference = f"coin {100 * item['coin']:.0f}"
    missed = data.missed(item["key"]) is not None
    interval = f"{100 * low:.0f} to {100 * high:.0f}"
    share = percent(item["share"]["value"])
    return macros.share(share, interval, usage, item["adjusted"], missed, reference, difference)


def curves(data: ReportData) -> str:
    """Figures of the curve of each helper with several points."""
    body = [
        [
            macros.helper(data.style(curve["helper"])),
            data.title(curve["split"]),
            estimate(curve["area"], curve["area_ci"], digits=3),
            estimate(curve["usage_for_half"], curve["usage_for_half_ci"]),
            estimate(curve["usage_for_80_percent"], curve["usage_for_80_percent_ci"]),
            estimate(curve["best_lift"], curve["best_lift_ci"], digits=1, scale=100, sign="+"),
            percent(curve["largest_gap"]),
        ]
        for curve in data.evaluation.curves
        if curve["points"] > 1
    ]
    head = ["Helper", "Split", "area", "U for 50 % of the gap", "U for 80 %", "best lift, points", "widest gap of U"]
    return html_table(head, body, left=2)


def validated_helpers(data: ReportData) -> str:
    """The deployable helpers by success at C on the validation splits."""
    body = []
    for one in data.validated:
        success, apart = one["success"], one["difference"]
        body.append([
            macros.helper(data.style(one["helper"])),
            number(one["usage"]),
            estimate(success["value"], success["ci"], scale=100, digits=0),
            estimate(apart["value"], apart["ci"], scale=100, digits=0, sign="+") if apart["value"] else DASH,
            *(percent(one["shares"].get(split)) for split in data.selection["splits"]),
        ])  # fmt: skip
    budget = budget_cell(data.selection.get("budget"))
    gaps = [f"share of the gap, {split}" for split in data.validation_splits]
    return html_table(["On validation tasks", "U", f"SR % at C = {budget}", "to the first", *gaps], body)


def selected_helpers(data: ReportData) -> str:
    """The helper chosen in calibration, and the one with the largest measured share, by split and budget."""
    body = [
        [
            macros.helper(data.style(item["selected"])),
            data.title(item["split"]),
            budget_cell(item["budget"]),
            percent(item["share"]),
            macros.helper(data.style(item["oracle"])),
            percent(item["oracle_share"]),
            f"{100 * item['lost']:z.0f}",
        ]
        for item in data.evaluation.selection["helpers"]
    ]
    head = ["Chosen in calibration", "Split", "C", "share of the gap", "Oracle's choice", "its share", "points lost"]
    return html_table(head, body, left=2)


def selected_knobs(data: ReportData) -> str:
    """The share with the calibrated knob, and that with the best knob on the evaluated episodes."""
    body = [
        [
            *first_cells(data, item | {"helper": HelperKey.parse(item["key"]).name}),
            number(item["usage"]),
            percent(item["share"]),
            percent(item["oracle_share"]),
        ]
        for item in data.evaluation.selection["knobs"]
    ]
    return html_table(["Helper", "Split", "C", "U", "share of the gap", "hull of its points at C"], body, left=2)


def expectations(data: ReportData) -> str:
    """E[U] and U, E[SR] and SR, for every row of a helper that expects a usage."""
    body = []
    for row in (row for split in data.splits for row in data.rows(split)):
        usage, success = row["expected_usage"], row["expected_success"]
        if usage is None or row["usage"] is None:
            continue
        measured = row["success_rate"]
        body.append([
            *first_cells(data, row),
            number(usage),
            estimate(row["usage"], row["usage_ci"]),
            number(usage - row["usage"], sign="+"),
            number(success, 3),
            estimate(measured, row["success_rate_ci"], digits=3),
            DASH if success is None or measured is None else number(success - measured, 3, "+"),
        ])  # fmt: skip
    minus = "\N{MINUS SIGN}"
    head = ["Helper", "Split", "C", "E[U]", "U", f"E[U] {minus} U", "E[SR]", "SR", f"E[SR] {minus} SR"]
    return html_table(head, body, left=2)


def calibrations(data: ReportData) -> str:
    """Budget, usage in calibration, and usage in the evaluation of each calibrated helper."""
    body = []
    for row in (row for split in data.splits for row in data.rows(split)):
        found = data.calibration.get(row["key"], {})
        calibrated = found.get("usage") if row["calibrated_usage"] is None else row["calibrated_usage"]
        if calibrated is None and "met" not in found:
            continue
        missed = data.missed(row["key"])
        result = macros.alarm(MISSED[missed]) if missed else "met" if "met" in found else DASH
        body.append([
            *first_cells(data, row),
            number(calibrated),
            result,
            estimate(row["usage"], row["usage_ci"]),
            number(row["usage"] / row["budget"]) if row["usage"] is not None and row["budget"] else DASH,
            percent(row["p_over_budget"]),
        ])  # fmt: skip
    return html_table(["Helper", "Split", "C", "U calibrated", "calibration", "U", "U / C", "P(U > C)"], body, left=2)


def usage_by_intervention(data: ReportData, split: str) -> str:
    """Cost units per episode of each intervention, with the calls if their costs differ."""
    names = data.interventions

    def cell(usage: float | None, calls: float | None) -> str:
        return macros.small(number(usage), "" if calls is None or data.calls_are_units else f"{calls:.2f} calls")

    body = []
    for row in data.rows(split):
        usage, calls = row["usage_by_intervention"], row["calls_by_intervention"]
        if len(usage) == len(names):
            helper, _, budget = first_cells(data, row)
            cells = [cell(*pair) for pair in zip(usage, calls, strict=True)]
            body.append([helper, budget, *cells, cell(row["usage"], row["calls"]), percent(row["success_rate"])])
    return html_table(["Helper", "C", *names, "all", "SR"], body)


def measurements(data: ReportData, split: str) -> str:
    """All measurements of each row of a split."""
    body = [
        [
            macros.helper(data.style(row["helper"])),
            budget_cell(row["budget"]),
            str(row["episodes"]),
            estimate(row["success_rate"], row["success_rate_ci"], scale=100, digits=1),
            estimate(row["usage"], row["usage_ci"]),
            DASH if data.calls_are_units else number(row["calls"]),
            number(row["toggles"]),
            number(row["switches"]),
            percent(row["step_share"]),
            percent(row["episode_share"]),
            number(row["length"], 1),
            number(row["spl"]),
            percent(row["invalid_rate"], 1),
            percent(row["invalid_after_help"], 1),
            percent(row["unseen_state_rate"], 1),
            number(row["extra_actor_calls"] or None),
            percent(row.get("abort_rate") or None, 1),
            str(row["errors"] or DASH),
        ]
        for row in data.rows(split)
    ]
    head = [
        "Helper", "C", "episodes", "SR, %", "U", "calls", "toggles", "switches", "steps with help",
        "episodes with help", "length", "SPL", "invalid", "invalid after help", "unseen states", "extra actor calls",
        "aborted", "errors",
    ]  # fmt: skip
    return html_table(head, body)


def toggles(data: ReportData) -> str:
    """Toggles of the emphasised helpers, and those of the threshold on p(s) at the same usage."""
    body = []
    order = sorted(data.evaluation.comparisons, key=lambda item: data.style(item["helper"]).rank)
    for item in (one for split in data.splits for one in order if one["split"] == split):
        found = item.get("toggles_against_prm_threshold")
        if not found or not data.style(item["helper"]).emphasised or found["difference"]["value"] is None:
            continue
        low, high = found["difference"]["ci"]
        difference = macros.small(f"{found['difference']['value']:+z.2f}", f"{low:+z.2f} to {high:+z.2f}")
        body.append([
            *first_cells(data, item),
            number(found["usage"]),
            number(found["toggles"]),
            number(found["prm_threshold_toggles"]) + ("" if found["direct"] else "*"),
            significant(difference, (low, high)),
        ])  # fmt: skip
    return html_table(["Helper", "Split", "C", "U", "toggles", "threshold at this U", "difference"], body, left=2)


def reliability(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Quality of the predictions of each model on held-out tasks."""
    body = [
        [name, *(number(table.get(what), 3) for what in ("auc", "ece", "brier", "base_rate")), f"{table['n']:,}"]
        for name, table in models.items()
    ]
    return html_table(["Model", "AUC", "ECE", "Brier", "base rate", "decisions"], body)


def hard_task_counts(data: ReportData) -> str:
    """Precision and recall of "the task is hard" at one half and at the calibrated thresholds."""
    thresholds = {"one half": 0.5}
    for key, found in data.calibration.items():
        helper = HelperKey.parse(key).name
        if data.style(helper).declared.flags_hard_tasks and found.get("budget") is not None:
            name = f"{data.style(helper).short} at C = {found['budget']:g}"
            thresholds[name] = found.get("knob", max(found.get("knobs", [0.5])))
    body = []
    for name, threshold in thresholds.items():
        found = hard_tasks(data.prm["held_out_tasks"], threshold)
        counts = (str(found[count]) for count in ("tasks", "hard", "flagged", "both"))
        body.append(
            [name, number(found["threshold"], 3), *counts, *map(percent, (found["precision"], found["recall"]))]
        )
    return html_table(["Threshold", "x", "tasks", "hard", "flagged", "both", "precision", "recall"], body, narrow=True)


def figures_of_stages(data: ReportData) -> str:
    """The numbers that the stages recorded about data and models."""
    body = []
    for stage in ("collect", "train-prm", "fit", "solve", "label", "train-helper"):
        figures = data.stages.get(stage, {}).get("figures")
        for name, value in figures.items() if isinstance(figures, Mapping) else ():
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                continue
            if isinstance(value, float):
                value = f"{value:,.0f}" if value.is_integer() else f"{value:,.4g}"
            shown = visible(value, limit=60) if isinstance(value, str) else f"{value:,}"
            body.append([stage, visible(name, limit=80).replace("_", " "), shown])
    return html_table(["Stage", "Figure", "Value"], body, left=2, narrow=True)
