"""Means of several helpers over the same episodes, and functions of these means, with paired intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from selfreg_gym.evaluation.bootstrap import (
    EXTRA_EVENTS,
    Estimate,
    Floats,
    percentile_interval,
    resampled_means,
    widening,
)
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.helper import HelperKey

__all__ = ["Column", "column_values", "estimates", "means"]

Column = tuple[Sequence[HelperKey], str]
"""A point (the keys of its training seeds, which are averaged) and a measure."""

Function = Callable[[Floats], Floats]
"""From ``(B, m)`` means to ``(B, q)`` values."""


def column_values(table: EpisodeTable, columns: Sequence[Column], kind: str = "all") -> Floats:
    """The columns of the episodes of a kind: ``(n, m)``."""
    return np.stack([table.column(keys, measure) for keys, measure in columns], axis=1)[table.restrict(kind)]


def means(table: EpisodeTable, columns: Sequence[Column], kind: str = "all") -> Floats:
    """Means of m columns over the same episodes, then those of B resamples: ``(1 + B, m)``.

    An episode without a value in one column is left out of all. NaN if no episode remains.
    """
    values = column_values(table, columns, kind)
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        return np.full((1 + table.resamples, len(columns)), np.nan)
    weights = table.weights(kind) if known.all() else table.weights(kind)[:, known]
    return np.concatenate([values[known].mean(axis=0)[None], resampled_means(weights, values[known])])


def estimates(table: EpisodeTable, columns: Sequence[Column], function: Function, kind: str = "all") -> list[Estimate]:
    """The q values of a function of m means, with paired intervals.

    The intervals are widened for few effective units, see :mod:`selfreg_gym.evaluation.bootstrap`. If all episodes of
    the helpers end alike, so that no unit contributes, the half-width is ``1.96 sqrt(3)`` times the effect of one unit
    on the mean success of one helper. An interval contains its value, also where few units make a function of means
    so skewed that the central resamples do not.
    """
    drawn = means(table, columns, kind)
    found = function(drawn)
    if not np.isfinite(drawn[0]).all():
        return [Estimate(float(value), float("nan"), float("nan")) for value in found[0]]
    influence, least = _influence(table, columns, function, drawn[0], kind)
    freedom = table.design(kind).freedom
    result = []
    for j, value in enumerate(found[0].tolist()):
        wider = widening(influence[:, j], freedom)
        low, high = (value + wider * (end - value) for end in percentile_interval(found[1:, j]))
        if high - low <= 1e-9:
            low, high = value - least[j], value + least[j]
        result.append(Estimate(value, min(float(low), value), max(float(high), value)))
    return result


def _influence(
    table: EpisodeTable, columns: Sequence[Column], function: Function, centre: Floats, kind: str
) -> tuple[Floats, Floats]:
    """The contributions of the units to the values ``(units, q)``, and the least half-widths ``(q,)``.

    A contribution is the change of the value when the means move by the contribution of the unit to them.
    """
    values = column_values(table, columns, kind)
    known = np.asarray(np.isfinite(values).all(axis=1))
    design = table.design(kind).take(known)
    units = len(design.members)
    labels = [(tuple(keys), measure) for keys, measure in columns]
    helpers = list(dict.fromkeys(label for label in labels if label[1] == "success"))
    alone = np.array([[label == other for label in labels] for other in helpers], dtype=np.float64)
    moves = np.concatenate([design.contributions(values[known]), alone.reshape(-1, len(columns)) / units])
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = function(np.concatenate([centre[None], centre + moves]))
        changes = np.nan_to_num(moved[1:] - moved[0], nan=0.0, posinf=0.0, neginf=0.0)
    return changes[:units], np.abs(changes[units:]).max(axis=0, initial=0.0) * 1.96 * np.sqrt(EXTRA_EVENTS)
