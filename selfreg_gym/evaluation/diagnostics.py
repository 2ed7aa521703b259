"""Warnings of an evaluation about misleading results."""

from __future__ import annotations

from collections.abc import Sequence

from selfreg_gym.evaluation.comparison import OVERSPEND
from selfreg_gym.evaluation.records import Comparison, ResultRow
from selfreg_gym.evaluation.split_results import SplitResults
from selfreg_gym.helper import Reference

__all__ = ["DECISIVE", "EvaluationWarning", "find_warnings"]

DECISIVE = 500
"""Episodes that a row needs for conclusions."""

COMPARABLE = 30
"""Episodes that a row needs for a comparison with the coin line."""

RUNAWAY = 1.5
"""A usage is reported as unexpected above this multiple of E[U], if it exceeds E[U] by half the cost of a call."""

UNSEEN = 0.2
"""With a larger share of decisions in unknown states, the model does not control the usage."""

ENDS: tuple[tuple[Reference, str], ...] = (("lower", "never asking"), ("upper", "always asking"))


class EvaluationWarning(UserWarning):
    """A result that may be misleading."""


def find_warnings(results: SplitResults, rows: Sequence[ResultRow], comparisons: Sequence[Comparison]) -> list[str]:
    """The warnings about a split.

    Args:
        results: the results of the split.
        rows: its summary rows (all kinds and training seeds together).
        comparisons: the comparisons of its points.
    """
    split, found = results.table.split, []
    missing = [what for which, what in ENDS if results.reference(which) is None]
    if missing:
        found.append(
            f"{split}: the evaluation has no result of {' and '.join(missing)}, so shares of the gap and the coin line "
            "are unknown: evaluate these helpers, too (in a config: evaluate.helpers)."
        )
    else:
        never, always = results.anchors
        gap = results.paired_difference(always, never)
        if gap.low <= 0:
            found.append(
                f"{split}: success of always asking minus that of never asking: {gap.value:+.1%} [{gap.low:+.1%}, "
                f"{gap.high:+.1%}]. The gap is not clearly positive, so its shares are not meaningful: compare "
                "success at equal usage."
            )
    few = [row for row in rows if row["episodes"] < DECISIVE]
    if few:
        least, most_of_few = (edge(row["episodes"] for row in few) for edge in (min, max))
        count = str(least) if least == most_of_few else f"{least} to {most_of_few}"
        which_rows = "every row has" if len(few) == len(rows) else ", ".join(row["key"] for row in few) + " have"
        found.append(
            f"{split}: {which_rows} few episodes ({count}); rows with fewer than {DECISIVE} episodes are too noisy for "
            "conclusions."
        )
    over = [f"{row['key']} ({_units(row['usage'] or 0.0)})" for row in rows if _overspends(row)]
    if over:
        found.append(f"{split}: over budget are {', '.join(over)}; their shares of the gap are interpolated at C.")
    upper = results.reference("upper")
    most = next((row for row in rows if row["helper"] == upper), None)
    for row in rows:
        call = _cost_of_a_call(row) or _cost_of_a_call(most)
        found += _row_warnings(row, fixed_tasks=results.table.fixed_tasks, call=call)
    comparable = {row["key"] for row in rows if row["episodes"] >= COMPARABLE}
    for item in comparisons:
        high, is_random = item["over_coin"]["ci"][1], results.descriptions[item["helper"]].reference == "random"
        if item["key"] in comparable and not is_random and high is not None and high < 0:
            found.append(
                f"{split}, {item['key']}: below the coin line. One coin per episode between never and always asking "
                f"recovers {item['coin']:.0%} of the gap at this usage, the helper {item['share']['value']:.0%}."
            )
    return found


def _overspends(row: ResultRow) -> bool:
    """Whether usage is above the budget by more than the tolerance and by more than chance."""
    usage, budget, low = row["usage"], row["budget"], row["usage_ci"][0]
    return usage is not None and budget is not None and usage > OVERSPEND * budget and low is not None and low > budget


def _cost_of_a_call(row: ResultRow | None) -> float:
    """Mean cost units of a call; 0 where there was none."""
    return row["usage"] / row["calls"] if row and row["usage"] and row["calls"] else 0.0


def _units(number: float) -> str:
    """A usage in two decimals, or three digits if it is small."""
    return f"{number:.2f}" if number == 0 or number >= 0.1 else f"{number:.3g}"


def _row_warnings(row: ResultRow, *, fixed_tasks: bool, call: float) -> list[str]:
    found = []
    name = f"{row['split']}, {row['key']}"
    usage, budget, expected = row["usage"], row["budget"], row["expected_usage"]
    if row["errors"]:
        found.append(f"{name}: {row['errors']} episodes ended in an error and are excluded; run them again.")
    if usage is None:
        return found
    if expected is not None and usage > max(RUNAWAY * expected, expected + call / 2):
        found.append(
            f"{name}: used {_units(usage)} units per episode, {_units(expected)} were expected. In unknown states "
            "a helper asks too often: check the coverage of the rollouts, and calibrate."
        )
    unseen = row["unseen_state_rate"]
    if fixed_tasks and budget is not None and unseen is not None and unseen > UNSEEN:
        found.append(
            f"{name}: {unseen:.0%} of decisions are in states unknown to the model. The coverage is insufficient for "
            f"C = {budget:g}: collect more episodes per task, or use a coarser state key."
        )
    return found
