"""The choice of a helper on validation tasks: success at a budget of several helpers, on one or more splits.

The success of a helper at C is read off as in :mod:`selfreg_gym.evaluation.comparison`: on the straight lines between
never, the helper's own points, and always. So a helper whose usage on these tasks differs from C has no advantage from
it. Splits have equal weight and are independent. Differences between helpers are paired, because all helpers play the
same episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate, Floats
from selfreg_gym.evaluation.curves import read_off
from selfreg_gym.evaluation.paired import Column, estimates, means
from selfreg_gym.evaluation.records import ValidatedHelper, plain
from selfreg_gym.evaluation.result import Evaluation
from selfreg_gym.evaluation.split_results import SplitResults

__all__ = ["rank_helpers"]


def rank_helpers(evaluation: Evaluation, helpers: Sequence[str], *, budget: float) -> list[ValidatedHelper]:
    """The helpers by success at a budget, the best first; of equal helpers the one that is named first.

    Args:
        evaluation: helpers with the ends of the usage axis, on validation tasks only.
        helpers: names of the compared helpers.
        budget: C, cost units per episode.

    Returns:
        One record per helper: success at C with its interval, the paired difference to the best helper, the mean usage
        of its point nearest to C, and its share of the gap on each split.

    Raises:
        InvalidArgumentError: no helpers.
        UnknownNameError: a helper or an end of the usage axis was not evaluated.
    """
    if not helpers:
        raise InvalidArgumentError("a choice needs at least one helper, received none.")
    splits = [evaluation.results(split) for split in evaluation.tables]
    success = [_success_at(one, helpers, budget) for one in splits]
    found = {name: _mean([one[i] for one in success]) for i, name in enumerate(helpers)}
    order = sorted(helpers, key=lambda name: -found[name].value)
    best = helpers.index(order[0])
    apart = [_success_at(one, helpers, budget, against=best) for one in splits]
    ranked: list[ValidatedHelper] = []
    for name in order:
        i = helpers.index(name)
        ranked.append({
            "helper": name,
            "success": plain(found[name].within(0.0, 1.0)),
            "difference": plain(_mean([one[i] for one in apart]) if i != best else Estimate(0.0, 0.0, 0.0)),
            "usage": float(np.mean([_usage(one, name, budget) for one in splits])),
            "shares": {one.table.split: plain(_share(one, success[j][i].value)) for j, one in enumerate(splits)},
        })  # fmt: skip
    return ranked


def _columns(results: SplitResults, helpers: Sequence[str]) -> tuple[list[Column], list[list[int]]]:
    """Usage and success of all points, and for each helper the positions of its own points and of both ends."""
    never, always = results.anchors
    points = [always, never]
    lines = []
    for name in helpers:
        own = results.points(name) or [results.keys(name)]
        lines.append([0, 1, *range(len(points), len(points) + len(own))])
        points += own
    return [(point, measure) for measure in ("usage", "success") for point in points], lines


def _success_at(
    results: SplitResults, helpers: Sequence[str], budget: float, against: int | None = None
) -> list[Estimate]:
    """Success of each helper at the budget; minus that of the helper ``against``, if given."""
    columns, lines = _columns(results, helpers)
    count = len(columns) // 2

    def read(found: Floats) -> Floats:
        usage, success = found[:, :count], found[:, count:]
        values = np.stack([read_off(usage[:, line], success[:, line], budget) for line in lines], axis=1)
        return values if against is None else values - values[:, against : against + 1]

    return estimates(results.table, columns, read)


def _mean(several: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates; the half-widths of their intervals add up in squares."""
    n = len(several)
    value = sum(one.value for one in several) / n
    low = np.sqrt(sum((one.value - one.low) ** 2 for one in several)) / n
    high = np.sqrt(sum((one.high - one.value) ** 2 for one in several)) / n
    return Estimate(value, float(value - low), float(value + high))


def _usage(results: SplitResults, name: str, budget: float) -> float:
    """Mean usage of the helper's point nearest to the budget."""
    used = [float(means(results.table, [(point, "usage")])[0, 0]) for point in results.points(name)]
    return min(used, key=lambda one: abs(one - budget))


def _share(results: SplitResults, success: float) -> float:
    """The share of the gap that a success rate is; NaN without a gap."""
    never, always = results.anchors
    bottom, top = means(results.table, [(never, "success"), (always, "success")])[0]
    return float((success - bottom) / (top - bottom)) if top > bottom else float("nan")
