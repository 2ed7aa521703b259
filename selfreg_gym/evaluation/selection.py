"""What choosing a helper on calibration gave, and apart from it what an oracle would have chosen.

A user who has several helpers deploys one of them at a budget C. Chosen *on calibration* it is the one with the
highest success on the training episodes that set the knobs. The *oracle* looks at the test episodes themselves: for
helpers, the largest share of the gap at C; for the knob of one helper, the upper hull of its own test points at C. The
oracle's score is not attainable: a maximum over noisy estimates is biased upwards. It bounds what a better choice could
add, and nothing else is computed from it. Helpers whose table names the tasks cannot be deployed on new tasks and are
left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfreg_gym.evaluation.result import Evaluation

__all__ = ["oracle_knobs", "selections"]


def selections(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For each split and budget: the helper chosen on calibration, the oracle's, and their shares of the gap.

    Returns:
        Dicts ``{"split", "budget", "among", "selected", "calibrated_success", "share", "oracle", "oracle_share",
        "lost"}``. Empty where fewer than two helpers have a calibrated success and a share.
    """
    success = {
        (row["split"], row["key"]): row["calibrated_success"]
        for row in evaluation.rows
        if (row["kind"], row["seed"]) == ("all", None)
    }
    found: dict[tuple[str, float], list[tuple[float, float, str]]] = {}
    for item in evaluation.comparisons:
        privileged = evaluation.meta.get(item["split"], {}).get("knows_tasks", ())
        told, share = success.get((item["split"], item["key"])), item["share"]["value"]
        if item["budget"] is not None and item["key"] not in privileged and told is not None and share is not None:
            found.setdefault((item["split"], item["budget"]), []).append((told, share, item["helper"]))
    result = []
    for (split, budget), choices in found.items():
        if len(choices) < 2:
            continue
        told, share, name = max(choices, key=lambda one: one[0])
        _, most, best = max(choices, key=lambda one: one[1])
        result.append({
            "split": split,
            "budget": budget,
            "among": sorted(one[2] for one in choices),
            "selected": name,
            "calibrated_success": told,
            "share": share,
            "oracle": best,
            "oracle_share": most,
            "lost": most - share,
        })  # fmt: skip
    return result


def oracle_knobs(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For each point at a budget: its share of the gap, and that of its own curve at C, had the test set the knob.

    Returns:
        Dicts ``{"split", "key", "budget", "usage", "share", "oracle_share"}``.
    """
    result = []
    for item in evaluation.comparisons:
        if item["budget"] is None or item["share"]["value"] is None:
            continue
        curve = evaluation.curve(item["helper"], split=item["split"])
        if not curve.gap:
            continue
        result.append({
            "split": item["split"],
            "key": item["key"],
            "budget": item["budget"],
            "usage": item["usage"],
            "share": item["share"]["value"],
            "oracle_share": curve.recovered(item["budget"]),
        })  # fmt: skip
    return result
