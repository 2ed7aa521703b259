"""Shares of the gap, and comparisons at equal usage.

A success rate is not informative without the usage, so helpers are compared *at equal usage*. A helper with a
budget C is read at C, on the straight lines between never, its own points in the order of usage, and always; a coin per
episode between two neighbouring points attains them. Helpers that use less than C and more than C are adjusted alike. A
helper without a budget is read at its own usage. The curves of other helpers (never, their points, always) are read at
the same usage. All of this, usages included, is computed again in each resample, so that the intervals include the
uncertainty of the adjustment.

With success ``s`` at the usage u, the share of the gap is ``(s - s_never) / (s_always - s_never)``. The coin between
never and always has the share ``(u - u_never) / (u_always - u_never)``, at most 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from selfreg_gym.errors import UnknownNameError
from selfreg_gym.evaluation.bootstrap import Estimate, Floats
from selfreg_gym.evaluation.curves import read_off
from selfreg_gym.evaluation.paired import estimates, means
from selfreg_gym.evaluation.records import Comparison, plain
from selfreg_gym.evaluation.rows import point_key
from selfreg_gym.evaluation.split_results import Point, SplitResults
from selfreg_gym.helper import HelperKey

__all__ = ["OVERSPEND", "TOLERANCE", "EqualUsage", "Recovery", "at_equal_usage", "compare_all", "recovery"]

OVERSPEND = 1.05
"""A helper that uses more than this times C is over its budget."""

AT_BUDGET = 0.05
"""A usage within this share of C counts as C; read further away, a share is marked as adjusted."""

TOLERANCE = 0.05
"""Usages that differ by at most this share of the helper's usage count as equal."""


@dataclass(frozen=True)
class Recovery:
    """The share of the gap that a helper recovers.

    Attributes:
        share: with its paired interval.
        usage: at which it is read (cost units per episode): C, or the helper's own usage if it has no budget.
        measured_usage: the helper's own usage.
        adjusted: the helper's own usage differs from C by more than 5 % of C.
        coin: the share of the coin at ``usage``.
        random: the share of random help at ``usage``; None if it was not evaluated.
        over_coin, over_random: ``share`` minus that of the coin and of random help, paired.
    """

    helper: str
    split: str
    kind: str
    budget: float | None
    share: Estimate
    usage: float
    measured_usage: float
    adjusted: bool
    coin: float
    over_coin: Estimate
    random: Estimate | None
    over_random: Estimate | None


@dataclass(frozen=True)
class EqualUsage:
    """A measure of a helper, and of another helper's curve at the same usage.

    Attributes:
        usage: the helper's own, at which the other curve is read (cost units per episode).
        value, other_value: the measure of either.
        difference: ``value - other_value``, paired.
        distance: from ``usage`` to the nearest point of the other helper (cost units per episode).
        direct: the distance is at most 5 % of ``usage``, so that hardly anything is interpolated.
    """

    helper: str
    other: str
    measure: str
    split: str
    kind: str
    usage: float
    value: float
    other_value: float
    difference: Estimate
    distance: float
    direct: bool


def recovery(
    results: SplitResults, helper: str | HelperKey, *, budget: float | None = None, kind: str = "all"
) -> Recovery:
    """The share of the gap that a helper recovers; NaN if always asking does not succeed more often than never asking.

    Args:
        results: of the split.
        helper: its name, or its key.
        budget: C in cost units per episode, if the helper was evaluated at several; None: that of the key.
        kind: a kind of tasks, or ``"all"``.

    Raises:
        UnknownNameError: the helper, at this budget, or an anchor was not evaluated.
    """
    point = results.keys(helper, budget=budget)
    key = results.identity(point[0])
    never, always = results.anchors
    own = [other for other in results.points(key.name) if other != point]
    chance = results.reference("random")
    others = results.points(chance) if chance and chance != key.name else []
    used = [always, never, point, *own, *others]
    columns = [(one, measure) for measure in ("usage", "success") for one in used]
    line = list(range(3 + len(own)))  # always, never and the helper's own points
    random_line = [0, 1, *range(3 + len(own), len(used))]
    top, bottom = means(results.table, [(always, "success"), (never, "success")], kind)[0]
    gap = top - bottom

    def read(found: Floats) -> Floats:
        """Share, share minus the coin's, random's share, share minus random's: ``(B, 4)``."""
        u, s = found[:, : len(used)], found[:, len(used) :]
        with np.errstate(invalid="ignore", divide="ignore"):
            s = (s - s[:, 1:2]) / (s[:, :1] - s[:, 1:2] if gap > 0 else np.nan)  # success as a share of the gap
            at = u[:, 2] if key.budget is None else np.full(len(u), float(key.budget))
            share = s[:, 2] if key.budget is None else read_off(u[:, line], s[:, line], at)
            coin = np.minimum((at - u[:, 1]) / (u[:, 0] - u[:, 1]), 1.0)
        random = read_off(u[:, random_line], s[:, random_line], at)
        return np.stack([share, share - coin, random, share - random], axis=1)

    share, over_coin, random, over_random = estimates(results.table, columns, read, kind)
    measured = float(means(results.table, [(point, "usage")], kind)[0, 0])
    return Recovery(
        helper=key.name,
        split=results.table.split,
        kind=kind,
        budget=key.budget,
        share=share,
        usage=measured if key.budget is None else float(key.budget),
        measured_usage=measured,
        adjusted=key.budget is not None and abs(measured - key.budget) > AT_BUDGET * key.budget,
        coin=share.value - over_coin.value,
        over_coin=over_coin,
        random=random if others else None,
        over_random=over_random if others else None,
    )


def at_equal_usage(
    results: SplitResults,
    helper: str | HelperKey,
    *,
    budget: float | None = None,
    other: str | None = None,
    measure: str = "success",
    kind: str = "all",
) -> EqualUsage:
    """Compare a measure of a helper with the curve of ``other`` (default: random help) at the helper's own usage.

    Args:
        results: of the split.
        helper: its name, or its key.
        budget: C in cost units per episode, if the helper was evaluated at several; None: that of the key.
        other: name of the helper whose curve is read; None: random help.
        measure: name of the compared measure (:mod:`selfreg_gym.evaluation.measures`), such as ``"success"``.
        kind: a kind of tasks, or ``"all"``.

    Raises:
        UnknownNameError: ``helper``, ``other`` or an anchor was not evaluated.
    """
    other = other or results.reference("random")
    if other is None:
        raise UnknownNameError("reference helper", "random", results.helpers)
    point = results.keys(helper, budget=budget)
    own = results.points(other) or [results.keys(other)]
    used = [point, *own, *(anchor for anchor in results.anchors if anchor[0].name != other)]
    columns = [(one, name) for name in ("usage", measure) for one in used]
    n = len(used)

    def read(found: Floats) -> Floats:
        return (found[:, n] - read_off(found[:, 1:n], found[:, n + 1 :], found[:, 0]))[:, None]

    centre = means(results.table, columns, kind)[0]
    difference = estimates(results.table, columns, read, kind)[0]
    distance = float(np.abs(centre[1 : 1 + len(own)] - centre[0]).min())
    return EqualUsage(
        helper=str(point_key(point)),
        other=other,
        measure=measure,
        split=results.table.split,
        kind=kind,
        usage=float(centre[0]),
        value=float(centre[n]),
        other_value=float(centre[n]) - difference.value,
        difference=difference,
        distance=distance,
        direct=distance <= TOLERANCE * float(centre[0]),
    )


def compare_all(results: SplitResults) -> list[Comparison]:
    """The comparison of every point between the anchors; empty if an anchor is missing, because there is no gap then.

    Toggles are compared with the threshold on p(s) whose usage is nearest; with several interventions there is one
    threshold for each. Thresholds themselves and random help are not compared with it.
    """
    return [_compare(results, point) for name in results.between() for point in results.points(name)]


def _compare(results: SplitResults, point: Point) -> Comparison:
    key = replace(point[0], seed=None)
    found = {"key": str(key), **asdict(recovery(results, key))}
    thresholds = [name for name, one in results.descriptions.items() if one.reference == "threshold"]
    if thresholds and results.descriptions[key.name].reference not in ("threshold", "random"):
        compared = [at_equal_usage(results, key, other=name, measure="toggles") for name in thresholds]
        nearest = min(compared, key=lambda one: one.distance)
        found["toggles_against_prm_threshold"] = {
            "other": nearest.other,
            "usage": nearest.usage,
            "difference": nearest.difference,
            "toggles": nearest.value,
            "prm_threshold_toggles": nearest.other_value,
            "direct": nearest.direct,
        }
    return cast(Comparison, plain(found))
