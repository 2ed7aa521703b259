"""The main results in words: the headline and the tiles below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.records import Comparison
from selfreg_gym.report.data import ReportData

__all__ = ["Tile", "headline", "percent", "tiles"]


class Tile(NamedTuple):
    """One number of the summary: ``"47 %"``, its meaning, and details in small print."""

    value: str
    meaning: str
    details: str


def percent(value: float | None, digits: int = 0) -> str:
    """0.473 as ``47 %``; a missing value as an en dash."""
    return "\N{EN DASH}" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def _deployable(data: ReportData, split: str) -> list[str]:
    """The deployable helpers of a split with a share of the gap, the most successful in the selection first.

    The selection is on validation tasks, or on the episodes of the calibration if the run has none. Success on the
    evaluated tasks is not used for the choice, since the best of several noisy results is optimistic.
    """
    order = [one.get("helper") for one in data.validated]

    def place(helper: str) -> tuple[int, float]:
        if helper in order:
            return order.index(helper), 0.0
        item = data.headline_comparison(split, helper)
        row = None if item is None else data.row(split, item["key"])
        success = None if row is None else row["calibrated_success"]
        return len(order), 1.0 if success is None else -success

    names = [one for one in data.helpers(split) if data.style(one).rank == 0]
    return sorted((one for one in names if data.headline_comparison(split, one)), key=place)


def _headline_item(data: ReportData) -> Comparison | None:
    """The comparison in the headline: the deployable helper on the last split that has one, else any other helper."""
    for split in reversed(data.splits):
        for helper in _deployable(data, split):
            return data.headline_comparison(split, helper)
    for split in data.splits:
        for helper in data.compared(split):
            item = data.headline_comparison(split, helper)
            if item is not None and data.style(helper).declared.reference != "random":
                return item
    return None


def headline(source: ReportData | Evaluation) -> str:
    """The main result: share of the gap, usage, random help at this usage, the gap, and how the helper was chosen."""
    data = ReportData.of(source)
    item = _headline_item(data)
    split = "" if item is None else item["split"]
    lower, upper = data.end(split, "lower"), data.end(split, "upper")
    if item is None or lower is None or upper is None:
        return (
            "There is no share of the gap, because it requires results of never, of always and of another helper. The "
            "tables below show success and usage."
        )
    row = data.row(split, item["key"])
    calls = row["calls"] if row is not None and not item["adjusted"] else None
    usage = f"{data.amount(item['usage'], calls)} {'for' if data.calls_are_units else 'of'} help per episode"
    if item["adjusted"]:
        usage += f" (interpolated: it used {item['measured_usage']:.2f})"
    low, high = item["share"]["ci"]
    style = data.style(item["helper"])
    name = style.short
    if not name.endswith("helper"):
        name = f'helper "{name}"' if style.declared.label else f"helper {name}"
    text = (
        f"On {data.inline_title(split)}, the {name} recovers "
        f"{percent(item['share']['value'])} (95\N{NO-BREAK SPACE}% interval {100 * low:.0f} to {100 * high:.0f}) of "
        f"the gap with {usage}"
    )
    if item["random"] is not None and item["random"]["value"] is not None:
        text += f"; random help recovers {percent(item['random']['value'])}"
    return (
        f"{text}. The gap is the increase in success from help at every step ({_amount(data, upper)} per "
        f"episode) over the {percent(lower['success_rate'])} of the actor alone.{_choice(data, item)}"
    )


def _choice(data: ReportData, item: Comparison) -> str:
    """On what the helper of the headline was chosen; empty if there was no other to choose from."""
    names = _deployable(data, item["split"])
    if len(names) < 2 or item["helper"] not in names:
        return ""
    text = f" The helper was chosen from {len(names)} helpers"
    if data.validation_splits:
        return f"{text} on validation tasks ({', '.join(data.validation_splits)})."
    return f"{text} by its success in calibration; there are no validation tasks."


def _amount(data: ReportData, row: Mapping[str, Any]) -> str:
    """The usage of a row in words, with one decimal."""
    calls = row["calls"]
    return data.amount(round(row["usage"], 1), None if calls is None else round(calls, 1))


def tiles(source: ReportData | Evaluation) -> list[Tile]:
    """The numbers to see first: both ends of the usage axis, yardsticks, and the two best deployable helpers."""
    data = ReportData.of(source)
    found = []
    for which, meaning in (("lower", "the actor alone"), ("upper", "help at every step")):
        row = data.end(data.splits[0], which) if data.splits else None
        if row is not None and row["success_rate"] is not None:
            low, high = row["success_rate_ci"]
            used = _amount(data, row) if row["usage"] else "no help"
            details = f"{100 * low:.0f} to {100 * high:.0f}; {used}; {data.inline_title(row['split'])}"
            found.append(Tile(percent(row["success_rate"]), meaning, details))
    fixed = [split for split in data.splits if data.evaluation.tables[split].fixed_tasks]
    shown = [
        (one, split) for split in fixed for one in data.helpers(split) if data.style(one).declared.role == "yardstick"
    ]
    others = [split for split in data.splits if split not in {split for _, split in shown}] or data.splits
    shown += [(helper, split) for split in others for helper in _deployable(data, split)[:2]]
    for helper, split in shown:
        item = data.headline_comparison(split, helper)
        if item is not None:
            meaning = f"of the gap: {data.style(helper).short}, {data.inline_title(split)}"
            found.append(Tile(percent(item["share"]["value"]), meaning, _details(item)))
    return found


def _details(item: Mapping[str, Any]) -> str:
    low, high = item["share"]["ci"]
    parts = [] if item["budget"] is None else [f"C = {item['budget']:g}"]
    parts.append(f"{100 * low:.0f} to {100 * high:.0f}")
    if item["random"] is not None and item["random"]["value"] is not None:
        parts.append(f"random help {percent(item['random']['value'])}")
    return "; ".join(parts)
