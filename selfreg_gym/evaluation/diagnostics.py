"""Warnings that an evaluation gives by itself: what would mislead a reader of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selfreg_gym.evaluation.comparison import OVERSPEND

if TYPE_CHECKING:
    from selfreg_gym.evaluation.result import Evaluation

__all__ = ["DECISIVE", "EvaluationWarning", "find_warnings"]

DECISIVE = 500
"""Episodes that a row needs before anything is decided by it."""

SOME = 30
"""Episodes below which a row is too small to be compared with the coin line."""

RUNAWAY = 1.5
"""Usage is far above what was expected if it exceeds this times E[U], and E[U] by at least half the cost of a call."""

UNSEEN = 0.2
"""With a larger share of decisions in states the model never saw, its budget is not kept by design but by luck."""


class EvaluationWarning(UserWarning):
    """A result that must not be read at face value."""


def find_warnings(evaluation: Evaluation) -> list[str]:
    """All warnings about an evaluation, in the order of its rows."""
    found = []
    for split in evaluation.tables:
        rows = [row for row in evaluation.rows if (row["split"], row["kind"], row["seed"]) == (split, "all", None)]
        missing = [anchor for anchor in ("never", "always") if anchor not in {row["helper"] for row in rows}]
        if missing:
            found.append(
                f"{split}: {' and '.join(missing)} not evaluated, so shares of the gap and the coin line are unknown."
            )
        elif (gap := evaluation.paired_difference("always", "never", split=split)).low <= 0:
            found.append(
                f"{split}: success of always minus that of never: {gap.value:+.1%} [{gap.low:+.1%}, {gap.high:+.1%}]. "
                "The gap is not clearly positive, so shares of it say nothing here: compare success at equal usage."
            )
        few = [row for row in rows if row["episodes"] < DECISIVE]
        if few:
            least = min(row["episodes"] for row in few)
            who = "every row has" if len(few) == len(rows) else ", ".join(row["key"] for row in few) + " have"
            found.append(
                f"{split}: {who} few episodes ({least}); rows with fewer than {DECISIVE} episodes are too noisy for "
                "conclusions."
            )
        over = [row for row in rows if _overspends(row)]
        if over:
            told = ", ".join(f"{row['key']} ({_units(row['usage'])})" for row in over)
            found.append(
                f"{split}: over budget are {told}; their shares of the gap are read off their own curves at C."
            )
        always = next((row for row in rows if row["helper"] == "always"), {})
        for row in rows:
            call = _cost_of_a_call(row) or _cost_of_a_call(always)
            found += _row_warnings(row, collected=evaluation.tables[split].fixed_tasks, call=call)
        enough = {row["key"] for row in rows if row["episodes"] >= SOME}  # intervals of a handful are no intervals
        for item in (item for item in evaluation.comparisons if item["key"] in enough):
            high = item["over_coin"]["ci"][1]
            if item["split"] == split and item["helper"] != "random" and high is not None and high < 0:
                found.append(
                    f"{split}, {item['key']}: below the coin line. One coin per episode between never and always "
                    f"recovers {item['coin']:.0%} of the gap at this usage, the helper {item['share']['value']:.0%}."
                )
    return found


def _overspends(row: dict[str, Any]) -> bool:
    """Spent plainly more than its budget."""
    usage, budget = row["usage"], row["budget"]
    return None not in (usage, budget) and usage > OVERSPEND * budget and row["usage_ci"][0] > budget


def _cost_of_a_call(row: dict[str, Any]) -> float:
    """Mean cost units of a call; 0 where no call is known."""
    usage, calls = row.get("usage"), row.get("calls")
    return usage / calls if usage and calls else 0.0


def _units(number: float) -> str:
    """A usage for a reader: two decimals, or three digits where those would show nothing."""
    return f"{number:.2f}" if number == 0 or number >= 0.1 else f"{number:.3g}"


def _row_warnings(row: dict[str, Any], *, collected: bool, call: float) -> list[str]:
    found = []
    name = f"{row['split']}, {row['key']}"
    usage, budget, promised = row["usage"], row["budget"], row["expected_usage"]
    if row["errors"]:
        found.append(f"{name}: {row['errors']} episodes ended in an error and are left out; run them again.")
    if usage is None:
        return found
    if promised is not None and usage > max(RUNAWAY * promised, promised + call / 2):
        found.append(
            f"{name}: used {_units(usage)} units per episode where {_units(promised)} were expected. Unseen states "
            "make a helper ask too often; look at the coverage, and calibrate."
        )
    unseen = row["unseen_state_rate"]
    if collected and budget is not None and unseen is not None and unseen > UNSEEN:
        found.append(
            f"{name}: {unseen:.0%} of decisions fell in states that the model never saw. The coverage is too thin for "
            f"C = {budget:g}: collect more episodes per task, or use a coarser state key."
        )
    return found
