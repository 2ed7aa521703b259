"""Shares of the gap, and comparisons at equal usage.

A success rate means little without the usage it was bought with: helpers are compared *at equal usage*. A helper with
a budget C is read at C: along the straight lines between never, its own points in the order of usage, and always,
which a coin per episode between two neighbours reaches. This holds for a helper that spent less than C as for one that
spent more. A helper without a budget is read at its own usage. Other helpers' curves (never, their points, always) are
read at the same usage. Everything, the usages included, is computed again in each resample, so the interval carries the
uncertainty of the adjustment too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.evaluation.bootstrap import Estimate, Floats
from selfreg_gym.evaluation.curves import read_off

if TYPE_CHECKING:
    from selfreg_gym.evaluation.result import Evaluation

__all__ = ["OVERSPEND", "TOLERANCE", "EqualUsage", "Recovery", "at_equal_usage", "compare_all", "recovery"]

OVERSPEND = 1.05
"""A helper that uses more than this times C is over its budget."""

AT_BUDGET = 0.05
"""A usage within this share of C is called C; a recovery read further away is marked as adjusted."""

THRESHOLD = "prm-threshold"
"""The helper that others' toggles are compared with. With several interventions there is one per intervention
(``prm-threshold:NAME``); the one whose evaluated usages come nearest is taken."""

TOLERANCE = 0.05
"""Usages that differ by at most this share of the compared helper's usage are called equal."""


@dataclass(frozen=True)
class Recovery:
    """How much of what help can add a helper gets at its budget.

    Attributes:
        share: (success - never) / (always - never), with its paired interval.
        usage: at which usage the success was read (cost units per episode): C, or the helper's own without a budget.
        measured_usage: the helper's own usage.
        adjusted: the helper's usage differs from C by more than 5 % of C, in either direction, so that its curve was
            read at some distance from its own point.
        coin: share of a coin per episode between never and always at this usage.
        random: share of random help at this usage, or None if it was not evaluated.
        over_coin, over_random: share minus the coin's and minus random's, paired.
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
    """A measure of one helper against another helper's curve at the same usage.

    Attributes:
        usage: the helper's usage; there the other's curve is read.
        value, other_value: the measure of either.
        difference: value minus other_value, paired, with its interval.
        distance: from ``usage`` to the nearest evaluated point of the other helper (cost units per episode).
        direct: that distance is at most 5 % of ``usage``, so that hardly anything had to be read between points.
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
    evaluation: Evaluation, helper: str, *, budget: float | None = None, split: str | None = None, kind: str = "all"
) -> Recovery:
    """Share of the gap that ``helper`` recovers; see :class:`Recovery`. Needs ``never`` and ``always``.

    Shares are NaN where ``always`` does not succeed more often than ``never``.

    Raises:
        UnknownNameError: the helper, at this budget, or an anchor was not evaluated.
    """
    keys = evaluation.keys(helper, budget=budget, split=split)
    name, cap, _ = evaluation.identity(keys[0])
    never, always = (evaluation.keys(anchor, split=split) for anchor in ("never", "always"))
    own = [point for point in evaluation.points(name, split=split) if point != keys]
    others = [] if name == "random" else evaluation.points("random", split=split)
    used = [always, never, keys, *own, *others]
    columns = [(point, measure) for measure in ("usage", "success") for point in used]
    line = list(range(3 + len(own)))  # always, never and the helper's own points
    points = [0, 1, *range(3 + len(own), len(used))]
    top, bottom = evaluation.means([(always, "success"), (never, "success")], split=split, kind=kind)[0]
    gap = top - bottom

    def read(means: Floats) -> Floats:
        """Share, share minus the coin's, random's share, share minus random's: ``(B, 4)``."""
        u, s = means[:, : len(used)], means[:, len(used) :]
        with np.errstate(invalid="ignore", divide="ignore"):
            s = (s - s[:, 1:2]) / (s[:, :1] - s[:, 1:2] if gap > 0 else np.nan)  # success as a share of the gap
            at = u[:, 2] if cap is None else np.full(len(u), float(cap))
            share = s[:, 2] if cap is None else read_off(u[:, line], s[:, line], at)
            coin = np.minimum((at - u[:, 1]) / (u[:, 0] - u[:, 1]), 1.0)
        chance = read_off(u[:, points], s[:, points], at)
        return np.stack([share, share - coin, chance, share - chance], axis=1)

    share, over_coin, chance, over_random = evaluation.estimates(columns, read, split=split, kind=kind)
    measured = float(evaluation.means([(keys, "usage")], split=split, kind=kind)[0, 0])
    return Recovery(
        helper=name,
        split=evaluation.table(split).split,
        kind=kind,
        budget=cap,
        share=share,
        usage=measured if cap is None else float(cap),
        measured_usage=measured,
        adjusted=cap is not None and abs(measured - cap) > AT_BUDGET * cap,
        coin=share.value - over_coin.value,
        over_coin=over_coin,
        random=chance if others else None,
        over_random=over_random if others else None,
    )


def at_equal_usage(
    evaluation: Evaluation,
    helper: str,
    *,
    budget: float | None = None,
    other: str = "random",
    measure: str = "success",
    split: str | None = None,
    kind: str = "all",
) -> EqualUsage:
    """Compare a measure with the curve of ``other`` (never, its points, always) at the helper's own usage.

    Raises:
        UnknownNameError: ``helper`` or ``other`` was not evaluated, or an anchor is missing.
    """
    keys = evaluation.keys(helper, budget=budget, split=split)
    own = evaluation.points(other, split=split) or [evaluation.keys(other, split=split)]
    anchors = [evaluation.keys(anchor, split=split) for anchor in ("never", "always") if anchor != other]
    used = [keys, *own, *anchors]
    columns = [(point, name) for name in ("usage", measure) for point in used]
    n = len(used)

    def read(means: Floats) -> Floats:
        return (means[:, n] - read_off(means[:, 1:n], means[:, n + 1 :], means[:, 0]))[:, None]

    means = evaluation.means(columns, split=split, kind=kind)[:1]
    difference = evaluation.estimates(columns, read, split=split, kind=kind)[0]
    distance = float(np.abs(means[0, 1 : 1 + len(own)] - means[0, 0]).min())
    return EqualUsage(
        helper=keys[0] if len(keys) == 1 else keys[0].partition("#")[0],
        other=other,
        measure=measure,
        split=evaluation.table(split).split,
        kind=kind,
        usage=float(means[0, 0]),
        value=float(means[0, n]),
        other_value=float(means[0, n]) - difference.value,
        difference=difference,
        distance=distance,
        direct=distance <= TOLERANCE * float(means[0, 0]),
    )


def compare_all(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For every helper and split: recovery, random at equal usage, and toggles against the PRM threshold's.

    Empty for a split without the two anchors: there is no gap to take a share of.
    """
    found = []
    for split in evaluation.tables:
        helpers = evaluation.helpers(split)
        if not {"never", "always"} <= set(helpers):
            continue
        for name in helpers:
            if name in ("never", "always"):
                continue
            points = evaluation.points(name, split=split)
            found += [_compare(evaluation, keys, name, split, helpers) for keys in points]
    return found


def _compare(
    evaluation: Evaluation, keys: Sequence[str], name: str, split: str, helpers: Sequence[str]
) -> dict[str, Any]:
    key = keys[0].partition("#")[0]
    row = {"key": key, **asdict(recovery(evaluation, key, split=split))}
    thresholds = [one for one in helpers if one.partition(":")[0] == THRESHOLD]
    if thresholds and name.partition(":")[0] not in (THRESHOLD, "random"):
        found = [at_equal_usage(evaluation, key, other=one, measure="toggles", split=split) for one in thresholds]
        fewer = min(found, key=lambda one: one.distance)
        row["toggles_against_prm_threshold"] = {
            "other": fewer.other,
            "usage": fewer.usage,
            "difference": fewer.difference,
            "toggles": fewer.value,
            "prm_threshold_toggles": fewer.other_value,
            "direct": fewer.direct,
        }
    return {field: _plain(value) for field, value in row.items()}


def _plain(value: Any) -> Any:
    """Estimates as ``{"value", "ci"}``, NaN as None: what JSON can say."""
    if isinstance(value, Estimate):
        return {"value": _plain(value.value), "ci": [_plain(x) for x in value.ci]}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
