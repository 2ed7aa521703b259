"""What the numbers say, in words: the headline, the tiles, and lookups that the tables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.report.palette import style_of

__all__ = ["SPLITS", "comparison_of", "headline", "percent", "row_of", "splits_of", "tiles"]

SPLITS = {"collected": "Collected tasks", "seen": "New tasks, seen houses", "unseen": "New tasks, unseen houses"}
"""What the splits are called on paper, in their order."""


def splits_of(evaluation: Evaluation) -> list[str]:
    """The splits that were evaluated, the known ones first."""
    return [s for s in SPLITS if s in evaluation.tables] + [s for s in evaluation.tables if s not in SPLITS]


def row_of(evaluation: Evaluation, split: str, key: str, kind: str = "all") -> dict[str, Any] | None:
    """The row of a helper key, all training seeds together."""
    for row in evaluation.rows:
        if (row["split"], row["key"], row["kind"], row["seed"]) == (split, key, kind, None):
            return row
    return None


def comparison_of(evaluation: Evaluation, split: str, helper: str, budget: float | None) -> dict[str, Any] | None:
    """The comparison of a helper at a budget."""
    for item in evaluation.comparisons:
        if (item["split"], item["helper"], item["budget"]) == (split, helper, budget):
            return item
    return None


def percent(value: float | None, digits: int = 0) -> str:
    """0.473 as ``47 %``, nothing as an en dash."""
    return "\N{EN DASH}" if value is None else f"{100 * value:.{digits}f} %"


def _budget(evaluation: Evaluation, helper: str, split: str) -> float | None:
    """The budget that the headline speaks of: 1 if there is one, else the smallest."""
    known = sorted(
        item["budget"]
        for item in evaluation.comparisons
        if item["split"] == split and item["helper"] == helper and item["budget"] is not None
    )
    return 1.0 if 1.0 in known else next(iter(known), None)


def _subject(evaluation: Evaluation) -> tuple[str, str] | None:
    """Which helper and split the headline is about: the deployable one on the hardest split."""
    for helper, order in (("lm", ("unseen", "seen", "collected")), ("dp", ("collected", "seen", "unseen"))):
        for split in order:
            if split in evaluation.tables and _budget(evaluation, helper, split) is not None:
                return helper, split
    for item in evaluation.comparisons:
        if item["helper"] != "random":
            return item["helper"], item["split"]
    return None


def headline(evaluation: Evaluation) -> str:
    """One sentence, computed: what share of the gap, at what price, against chance."""
    subject = _subject(evaluation)
    if subject is None:
        return "Without the anchors never and always there is no gap to take a share of; see the rows below."
    helper, split = subject
    budget = _budget(evaluation, helper, split)
    item = comparison_of(evaluation, split, helper, budget)
    always, never = row_of(evaluation, split, "always"), row_of(evaluation, split, "never")
    if item is None or always is None or never is None or item["share"]["value"] is None:
        return "The helpers could not be compared: see the warnings."
    share, (low, high) = item["share"]["value"], item["share"]["ci"]
    where = SPLITS.get(split, split)
    where = where[0].lower() + where[1:]
    used = f"{item['usage']:.2f}".rstrip("0").rstrip(".")
    one = used == "1"
    name = style_of(helper).label.replace(" (privileged)", "")
    text = (
        f"On {where}, {used} {'call' if one else 'calls'} for help per episode, placed by the {name}, "
        f"{'recovers' if one else 'recover'} {percent(share)} (95 % interval {100 * low:.0f} to {100 * high:.0f}) of "
        f"what {always['usage']:.1f} calls would add to the {percent(never['success_rate'])} success of the actor alone"
    )
    if item["random"] is not None and item["random"]["value"] is not None:
        text += f"; as many calls at random recover {percent(item['random']['value'])}"
    return text + "."


def tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The few numbers to see first: (value, what it is, small print)."""
    found = []
    splits = splits_of(evaluation)
    first = splits[0] if splits else ""
    for key, what in (("never", "the actor alone"), ("always", "help at every step")):
        row = row_of(evaluation, first, key)
        if row is not None and row["success_rate"] is not None:
            low, high = row["success_rate_ci"]
            small = f"{100 * low:.0f} to {100 * high:.0f}; {row['usage']:.1f} units; {SPLITS.get(first, first).lower()}"
            found.append((percent(row["success_rate"]), what, small))
    for helper, wanted in (("dp", ("collected",)), ("lm", ("seen", "unseen"))):
        for split in (s for s in wanted if s in splits):
            item = comparison_of(evaluation, split, helper, _budget(evaluation, helper, split))
            if item is not None and item["share"]["value"] is not None:
                what = f"of the gap: {style_of(helper).label.replace(' (privileged)', '')}, {SPLITS[split].lower()}"
                found.append((percent(item["share"]["value"]), what, f"C = {item['budget']:g}; {_small(item)}"))
    return found


def _small(item: Mapping[str, Any]) -> str:
    low, high = item["share"]["ci"]
    text = f"{100 * low:.0f} to {100 * high:.0f}"
    if item["random"] is not None and item["random"]["value"] is not None:
        text += f"; random {percent(item['random']['value'])}"
    return text
