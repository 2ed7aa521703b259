"""The main results in words: the headline and the tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.report.material import Material
from selfreg_gym.report.palette import style_of

__all__ = ["headline", "percent", "tiles"]


def percent(value: float | None, digits: int = 0) -> str:
    """0.473 as ``47 %``, nothing as an en dash."""
    return "\N{EN DASH}" if value is None else f"{100 * value:.{digits}f} %"


def _budget(material: Material, helper: str, split: str) -> float | None:
    """The budget that the headline speaks of: 1 if there is one, else the smallest."""
    known = sorted(
        item["budget"]
        for item in material.evaluation.comparisons
        if (item["split"], item["helper"]) == (split, helper) and item["budget"] is not None
    )
    return 1.0 if 1.0 in known else next(iter(known), None)


def _deployable(material: Material, split: str) -> list[str]:
    """Helpers that may be used on new tasks, the first of them the one that the report is about."""
    helpers = [name for name in material.evaluation.helpers(split) if style_of(name).deployable]
    return sorted(helpers, key=lambda name: -style_of(name).order)


def _subject(material: Material) -> tuple[str, str] | None:
    """Which helper and split the headline is about: the deployable one on the last split, which is the hardest."""
    for split in reversed(material.splits):
        for helper in _deployable(material, split):
            if material.comparison(split, helper, _budget(material, helper, split)):
                return helper, split
    for item in sorted(material.evaluation.comparisons, key=lambda one: -style_of(one["helper"]).order):
        if item["helper"] != "random":
            return item["helper"], item["split"]
    return None


def headline(source: Material | Evaluation) -> str:
    """One sentence, computed: what share of the gap, at what usage, against random help."""
    material = Material.of(source)
    subject = _subject(material)
    if subject is None:
        return "Without the anchors never and always there is no gap to take a share of; see the rows below."
    helper, split = subject
    item = material.comparison(split, helper, _budget(material, helper, split))
    always, never = material.row(split, "always"), material.row(split, "never")
    if item is None or always is None or never is None or item["share"]["value"] is None:
        return "The helpers could not be compared: see the warnings."
    share, (low, high) = item["share"]["value"], item["share"]["ci"]
    row = material.row(split, item["key"])
    calls = material.calls(row) if row is not None and not item["adjusted"] else None
    used = material.amount(item["usage"], calls)
    one = used in ("1 call", "1 cost unit")
    everything = material.amount(round(always["usage"], 1), _rounded(material.calls(always)))
    text = (
        f"On {material.lower_title(split)}, {used} {'for' if material.calls_are_units else 'of'} help per episode, "
        f"placed by the {style_of(helper).short}, {'recovers' if one else 'recover'} {percent(share)} (95 % interval "
        f"{100 * low:.0f} to {100 * high:.0f}) of what {everything} would add to the "
        f"{percent(never['success_rate'])} success of the actor alone"
    )
    if item["random"] is not None and item["random"]["value"] is not None:
        text += f"; as many {material.unit} at random recover {percent(item['random']['value'])}"
    return text + "."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def tiles(source: Material | Evaluation) -> list[tuple[str, str, str]]:
    """The few numbers to see first: (value, what it is, small print)."""
    material = Material.of(source)
    found = []
    first = material.splits[0] if material.splits else ""
    for key, what in (("never", "the actor alone"), ("always", "help at every step")):
        row = material.row(first, key)
        if row is not None and row["success_rate"] is not None:
            low, high = row["success_rate_ci"]
            used = material.amount(round(row["usage"], 1), _rounded(material.calls(row))) if row["usage"] else "no help"
            found.append(
                (
                    percent(row["success_rate"]),
                    what,
                    f"{100 * low:.0f} to {100 * high:.0f}; {used}; {material.lower_title(first)}",
                )
            )
    shown = [("dp", split) for split in material.splits if material.evaluation.tables[split].fixed_tasks]
    new = [split for split in material.splits if ("dp", split) not in shown] or material.splits
    shown += [(helper, split) for split in new for helper in _deployable(material, split)[:2]]
    for helper, split in shown:
        item = material.comparison(split, helper, _budget(material, helper, split))
        if item is not None and item["share"]["value"] is not None:
            what = f"of the gap: {style_of(helper).short}, {material.lower_title(split)}"
            at = "" if item["budget"] is None else f"C = {item['budget']:g}; "
            found.append((percent(item["share"]["value"]), what, at + _small(item)))
    return found


def _small(item: Mapping[str, Any]) -> str:
    low, high = item["share"]["ci"]
    text = f"{100 * low:.0f} to {100 * high:.0f}"
    if item["random"] is not None and item["random"]["value"] is not None:
        text += f"; random {percent(item['random']['value'])}"
    return text
