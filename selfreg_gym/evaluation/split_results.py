"""The results of one split: its episodes, and which helpers, points and curves they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper_class
from selfreg_gym.errors import RegistryError, UnknownNameError
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.evaluation.curves import Curve, curve_of
from selfreg_gym.evaluation.paired import estimates
from selfreg_gym.evaluation.records import Expectation
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.helper import HelperDescription, HelperKey, Reference

__all__ = ["Point", "SplitResults", "registered_description"]

Point = list[HelperKey]
"""A point of a helper's curve: the keys of its training seeds."""


@dataclass(frozen=True)
class SplitResults:
    """The results of one split.

    Attributes:
        table: the measures of all helpers on the same episodes.
        budgets: C of the keys without a budget, in cost units per episode.
        expected: what helpers are expected to use and to reach.
        meta: how the split was evaluated, and what its helpers declare.
    """

    table: EpisodeTable
    budgets: Mapping[HelperKey, float]
    expected: Mapping[HelperKey, Expectation]
    meta: Mapping[str, Any]

    def identity(self, key: HelperKey) -> HelperKey:
        """The key with the budget of the helper, also if the key itself has none."""
        return replace(key, budget=self.budgets.get(key, key.budget))

    @property
    def helpers(self) -> list[str]:
        """Helper names, in the order of evaluation."""
        return list(dict.fromkeys(key.name for key in self.table.columns))

    def keys(self, helper: str | HelperKey, *, budget: float | None = None) -> Point:
        """The keys of a helper at a budget, one for each training seed. ``helper`` may be a key.

        Raises:
            UnknownNameError: the helper was not evaluated, or not at this budget.
        """
        wanted = HelperKey.parse(helper)
        if wanted in self.table.columns and budget is None:
            return [wanted]
        budget = self.identity(wanted).budget if budget is None else budget
        found = [key for key in self.table.columns if key.name == wanted.name and self.identity(key).budget == budget]
        if not found:
            what = "helper" if budget is None else f"helper at budget {budget:g}"
            raise UnknownNameError(what, str(helper), map(str, self.table.columns))
        return found

    def points(self, helper: str) -> list[Point]:
        """The points of a helper's curve."""
        grouped: dict[HelperKey, Point] = {}
        for key in self.table.columns:
            if key.name == helper:
                grouped.setdefault(replace(key, seed=None), []).append(key)
        return list(grouped.values())

    @cached_property
    def descriptions(self) -> dict[str, HelperDescription]:
        """What each helper declares of itself; in files of earlier versions, what the registered helper declares."""
        found = {}
        for name in self.helpers:
            recorded = self.meta.get("helpers", {}).get(name)
            if recorded is None:
                found[name] = registered_description(name)
            else:
                known = {field: recorded[field] for field in HelperDescription.__slots__ if field in recorded}
                found[name] = HelperDescription(**known)
        return found

    def reference(self, which: Reference) -> str | None:
        """The helper that declares this ``reference``; variants for one of several interventions do not count."""
        descriptions = self.descriptions.items()
        return next((name for name, info in descriptions if info.reference == which and ":" not in name), None)

    @property
    def anchors(self) -> tuple[Point, Point]:
        """The points of never asking and of always asking, the ends of the usage axis.

        Raises:
            UnknownNameError: one of them was not evaluated.
        """
        return self._reference_point("lower"), self._reference_point("upper")

    def _reference_point(self, which: Reference) -> Point:
        name = self.reference(which)
        if name is None:
            raise UnknownNameError("reference helper", which, self.helpers)
        return self.keys(name)

    def between(self) -> list[str]:
        """The helpers that are not anchors; empty without both anchors, because there is no gap then."""
        ends = (self.reference("lower"), self.reference("upper"))
        return [] if None in ends else [name for name in self.helpers if name not in ends]

    def curve(self, helper: str, *, kind: str = "all") -> Curve:
        """The points of a helper between the anchors.

        Raises:
            UnknownNameError: the helper or an anchor was not evaluated.
            InvalidArgumentError: always asking does not use more than never asking.
        """

        def mean(point: Sequence[HelperKey]) -> tuple[float, float]:
            chosen = self.table.restrict(kind)
            usage, success = (self.table.column(point, measure)[chosen] for measure in ("usage", "success"))
            return float(np.nanmean(usage)), float(np.nanmean(success))

        points = self.points(helper)
        if not points:
            raise UnknownNameError("helper", helper, self.helpers)
        return curve_of([mean(point) for point in points], *map(mean, self.anchors))

    def paired_difference(
        self, a: Sequence[HelperKey], b: Sequence[HelperKey], *, measure: str = "success", kind: str = "all"
    ) -> Estimate:
        """Mean of a measure at point ``a`` minus that at point ``b``, on the same episodes, with its interval.

        The interval of a difference of success rates is within [-1, 1].

        Args:
            a, b: the keys of two points (:meth:`keys`).
            measure: name of the measure (:mod:`selfreg_gym.evaluation.measures`).
            kind: a kind of tasks, or ``"all"``.
        """
        columns = [(a, measure), (b, measure)]
        found = estimates(self.table, columns, lambda means: means[:, :1] - means[:, 1:], kind)[0]
        return found.within(-1.0, 1.0) if measure == "success" else found


@cache
def registered_description(helper: str) -> HelperDescription:
    """What the registered helper of this name declares; the defaults if there is none, or it cannot be imported."""
    name = HelperKey(helper).helper_id
    if name not in registry.names("helpers"):
        return HelperDescription()
    try:
        declared = as_helper_class(registry.load("helpers", name))
    except RegistryError:
        return HelperDescription()
    return HelperDescription(**{name: getattr(declared, name) for name in HelperDescription.__slots__})
