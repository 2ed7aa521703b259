"""Selection of a helper by calibration, and separately by an oracle.

A user of several helpers deploys one of them at a budget C. Selection *by calibration* takes the helper with the
highest success on the training episodes that set the knobs. The *oracle* reads the test episodes themselves: among
helpers it takes the largest share of the gap at C; for the knob of one helper it takes the upper hull of its test
points at C. The oracle's score is not attainable: a maximum over noisy estimates is biased upwards. It bounds the gain
of a better selection, and no other number depends on it. Helpers that know the tasks by their keys cannot be deployed
on new tasks and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from selfreg_gym.evaluation.records import Comparison, HelperSelection, KnobSelection
from selfreg_gym.evaluation.split_results import SplitResults

__all__ = ["helper_selections", "knob_selections"]


def helper_selections(results: SplitResults, comparisons: Sequence[Comparison]) -> list[HelperSelection]:
    """The selections of a helper at each budget at which two or more have a calibrated success and a share."""
    candidates: dict[float, list[tuple[float, float, str]]] = {}  # calibrated success, share, helper; by budget
    for item in comparisons:
        success = results.expected.get(results.keys(item["key"])[0], {}).get("calibrated_success")
        share = item["share"]["value"]
        privileged = item["key"] in results.meta.get("knows_tasks", ())
        if item["budget"] is not None and not privileged and success is not None and share is not None:
            candidates.setdefault(item["budget"], []).append((success, share, item["helper"]))
    found: list[HelperSelection] = []
    for budget, several in candidates.items():
        if len(several) < 2:
            continue
        calibrated_success, share, selected = max(several, key=lambda one: one[0])
        _, oracle_share, oracle = max(several, key=lambda one: one[1])
        found.append({
            "split": results.table.split,
            "budget": budget,
            "among": sorted(helper for _, _, helper in several),
            "selected": selected,
            "calibrated_success": calibrated_success,
            "share": share,
            "oracle": oracle,
            "oracle_share": oracle_share,
            "lost": oracle_share - share,
        })  # fmt: skip
    return found


def knob_selections(results: SplitResults, comparisons: Sequence[Comparison]) -> list[KnobSelection]:
    """For each point at a budget C its share of the gap, and that of its helper's hull at C."""
    found: list[KnobSelection] = []
    for item in comparisons:
        share, budget = item["share"]["value"], item["budget"]
        if budget is None or share is None or not (curve := results.curve(item["helper"])).gap:
            continue
        found.append({
            "split": results.table.split,
            "key": item["key"],
            "budget": budget,
            "usage": item["usage"],
            "share": share,
            "oracle_share": curve.recovered(budget),
        })  # fmt: skip
    return found
