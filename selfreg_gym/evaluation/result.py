"""What an evaluation found: rows, comparisons, warnings, and the episodes that all of them are computed from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import ConfigError, InvalidArgumentError, UnknownNameError
from selfreg_gym.evaluation.bootstrap import Estimate, Floats, estimate_mean, estimate_rate
from selfreg_gym.evaluation.curves import Curve
from selfreg_gym.evaluation.measures import EpisodeTable, parse_key
from selfreg_gym.evaluation.paired import Column, estimates, means
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps

__all__ = ["Evaluation"]

FORMAT = {"format": "selfreg_gym.evaluation", "version": 1}


@dataclass(frozen=True)
class Evaluation:
    """Helpers compared on the same episodes of one or more splits.

    Attributes:
        tables: the episodes, by split.
        budgets: C of each helper key that has one (cost units per episode).
        expected: what was promised for a key on a split: ``{split: {key: {"usage": E[U], "success": E[SR]}}}``.
        traces: step records of chosen episodes, for looking at.
        meta: how it was made.
    """

    tables: dict[str, EpisodeTable]
    budgets: dict[str, float] = field(default_factory=dict)
    expected: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    traces: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)

    # -- looking things up ------------------------------------------------------------------------------------------

    def identity(self, key: str) -> tuple[str, float | None, int | None]:
        """``(helper id, budget, training seed)`` of a helper key."""
        name, budget, seed = parse_key(key)
        return name, self.budgets.get(key, budget), seed

    def table(self, split: str | None = None) -> EpisodeTable:
        """The episodes of ``split``; without one, of the only split there is."""
        if split is None:
            if len(self.tables) != 1:
                raise InvalidArgumentError(f"say which split: this evaluation holds {', '.join(self.tables)}.")
            return next(iter(self.tables.values()))
        if split not in self.tables:
            raise UnknownNameError("split", split, self.tables)
        return self.tables[split]

    def keys(self, helper: str, *, budget: float | None = None, split: str | None = None) -> list[str]:
        """All keys of a helper at a budget: one for each training seed. ``helper`` may be a key itself.

        Raises:
            UnknownNameError: no such helper was evaluated, or not at this budget.
        """
        table = self.table(split)
        if helper in table.columns and budget is None:
            return [helper]
        name, own, _ = self.identity(helper)
        wanted = (name, own if budget is None else budget)
        found = [key for key in table.columns if self.identity(key)[:2] == wanted]
        if not found:
            what = "helper" if wanted[1] is None else f"helper at budget {wanted[1]:g}"
            raise UnknownNameError(what, helper, table.columns)
        return found

    def points(self, helper: str, *, split: str | None = None) -> list[list[str]]:
        """The keys of every point of a helper's curve, by budget; training seeds of one budget together."""
        grouped: dict[str, list[str]] = {}
        for key in self.table(split).columns:
            if self.identity(key)[0] == helper:
                grouped.setdefault(key.partition("#")[0], []).append(key)
        return list(grouped.values())

    def helpers(self, split: str | None = None) -> list[str]:
        """Helper ids, in the order in which they were evaluated."""
        return list(dict.fromkeys(self.identity(key)[0] for key in self.table(split).columns))

    # -- computing on paired episodes -------------------------------------------------------------------------------

    def means(self, columns: Sequence[Column], *, split: str | None = None, kind: str = "all") -> Floats:
        """Means of several columns over the same episodes, and of each resample of them.

        Args:
            columns: m pairs of helper keys and measure; episodes that are no data for one of them are left out for all.
            split, kind: which episodes.

        Returns:
            ``(1 + B, m)``: the means, then those of B paired resamples. NaN if there are no such episodes.
        """
        return means(self.table(split), columns, kind)

    def estimate(
        self,
        columns: Sequence[Column],
        function: Callable[[Floats], Floats],
        *,
        split: str | None = None,
        kind: str = "all",
    ) -> Estimate:
        """A function of several means, from ``(B, m)`` to ``(B,)``, with its paired bootstrap interval."""
        several = self.estimates(columns, lambda found: function(found)[:, None], split=split, kind=kind)
        return several[0]

    def estimates(
        self,
        columns: Sequence[Column],
        function: Callable[[Floats], Floats],
        *,
        split: str | None = None,
        kind: str = "all",
    ) -> list[Estimate]:
        """Several functions of the same means, from ``(B, m)`` to ``(B, q)``: q estimates with paired intervals.

        See :func:`selfreg_gym.evaluation.paired.estimates`.
        """
        return estimates(self.table(split), columns, function, kind)

    def paired_difference(
        self, a: str, b: str, *, measure: str = "success", split: str | None = None, kind: str = "all"
    ) -> Estimate:
        """Mean of ``measure`` under helper ``a`` minus that under ``b``, on the same episodes, with its interval."""
        columns = [(self.keys(a, split=split), measure), (self.keys(b, split=split), measure)]
        return self.estimate(columns, lambda found: found[:, 0] - found[:, 1], split=split, kind=kind)

    def recovery(self, helper: str, *, budget: float | None = None, split: str | None = None, kind: str = "all") -> Any:
        """Share of the gap between never and always that ``helper`` recovers at ``budget``.

        See :class:`selfreg_gym.evaluation.comparison.Recovery`.
        """
        from selfreg_gym.evaluation.comparison import recovery

        return recovery(self, helper, budget=budget, split=split, kind=kind)

    def at_equal_usage(
        self,
        helper: str,
        *,
        budget: float | None = None,
        other: str = "random",
        measure: str = "success",
        split: str | None = None,
        kind: str = "all",
    ) -> Any:
        """Compare ``helper`` with the curve of ``other`` at the same usage.

        See :class:`selfreg_gym.evaluation.comparison.EqualUsage`.
        """
        from selfreg_gym.evaluation.comparison import at_equal_usage

        return at_equal_usage(self, helper, budget=budget, other=other, measure=measure, split=split, kind=kind)

    def curve(self, helper: str, *, split: str | None = None, kind: str = "all") -> Curve:
        """The helper's points between the anchors ``never`` and ``always``, which must have been evaluated."""
        from selfreg_gym.evaluation.curves import curve_of

        def point(keys: Sequence[str]) -> tuple[float, float]:
            table = self.table(split)
            usage, success = (table.column(keys, m)[table.restrict(kind)] for m in ("usage", "success"))
            return float(np.nanmean(usage)), float(np.nanmean(success))

        groups = self.points(helper, split=split)
        if not groups:
            raise UnknownNameError("helper", helper, self.helpers(split))
        never, always = (point(self.keys(anchor, split=split)) for anchor in ("never", "always"))
        return curve_of([point(keys) for keys in groups], never, always)

    # -- what is reported -------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One row per helper, budget, training seed, kind and split; ``seed`` None is all training seeds together."""
        rows = []
        for split, table in self.tables.items():
            kinds = ["all", *sorted({kind for kind in table.kinds if kind} - {"all"})]  # that name means every kind
            groups: dict[tuple[str, int | None], list[str]] = {}
            for key in table.columns:
                seed = self.identity(key)[2]
                groups.setdefault((key.partition("#")[0], None), []).append(key)
                if seed is not None:
                    groups[key.partition("#")[0], seed] = [key]
            rows += [self._row(table, split, keys, seed, kind) for (_, seed), keys in groups.items() for kind in kinds]
        return rows

    def _row(self, table: EpisodeTable, split: str, keys: Sequence[str], seed: int | None, kind: str) -> dict[str, Any]:
        helper, budget, _ = self.identity(keys[0])
        chosen = table.restrict(kind)
        weights, design = table.weights(kind), table.design(kind)

        def column(name: str) -> Floats:
            return table.column(keys, name)[chosen]

        def per_episode(over: Floats, under: Floats) -> float | None:
            known = np.isfinite(over) & np.isfinite(under)
            return float(over[known].sum() / under[known].sum()) if known.any() and under[known].sum() else None

        success = estimate_rate(column("success"), weights, design=design)
        usage, length, helped = column("usage"), column("length"), column("helped")
        used, calls = (estimate_mean(values, weights, design=design) for values in (usage, helped))
        each = [table.columns[key]["usage"][chosen] for key in keys]
        known = np.concatenate([values[np.isfinite(values)] for values in each])
        promised = self.expected.get(split, {}).get(keys[0], {}) if kind == "all" else {}
        names = {name for key in keys for name in table.columns[key]}
        count = sum(name.startswith("usage_") for name in names)

        def by_intervention(what: str) -> list[float | None]:
            found = [_mean(column(f"{what}_{k}")) for k in range(1, count + 1)]
            return [_number(calls.value)] if what == "calls" and found == [None] else found  # of an older version

        return {
            "helper": helper,
            "intervention": self.meta.get(split, {}).get("interventions", {}).get(keys[0]),
            "kind": kind,
            "split": split,
            "seed": seed,
            "budget": budget,
            "episodes": int(known.size),
            "success_rate": _number(success.value),
            "success_rate_ci": [_number(x) for x in success.ci],
            "usage": _number(used.value),
            "usage_ci": [_number(x) for x in used.ci],
            "expected_usage": promised.get("usage"),
            "expected_success": promised.get("success"),
            "invalid_rate": _mean(column("invalid")),
            "toggles": _mean(column("toggles")),
            "unseen_state_rate": per_episode(column("unseen"), length),
            "calibrated_usage": promised.get("calibrated_usage"),
            "calibrated_success": promised.get("calibrated_success"),
            "key": keys[0] if len(keys) == 1 else keys[0].partition("#")[0],
            "switches": _mean(column("switches")),
            "invalid_after_help": _mean(column("invalid_after_help")),
            "step_share": per_episode(helped, length),
            "episode_share": _mean(np.where(np.isfinite(helped), helped > 0, np.nan)),
            "p_over_budget": None if budget is None or not known.size else float((known > budget * (1 + 1e-9)).mean()),
            "length": _mean(length),
            "spl": _mean(column("spl")),
            "calls": _number(calls.value),
            "calls_ci": [_number(x) for x in calls.ci],
            "usage_by_intervention": by_intervention("usage"),
            "calls_by_intervention": by_intervention("calls"),
            "errors": int(sum(np.nansum(table.columns[key]["error"][chosen]) for key in keys)),
        }

    @cached_property
    def comparisons(self) -> list[dict[str, Any]]:
        """Every point between the anchors: share of the gap, the coin's, random at equal usage, toggles."""
        from selfreg_gym.evaluation.comparison import compare_all

        return compare_all(self)

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        """Each helper's curve between the anchors: area, usage needed for shares of the gap, lift, what is missing."""
        from selfreg_gym.evaluation.curve_estimates import describe_all

        return describe_all(self)

    @cached_property
    def selection(self) -> dict[str, list[dict[str, Any]]]:
        """What choosing on calibration gave and, apart from it, an oracle: among ``helpers``, and of ``knobs``."""
        from selfreg_gym.evaluation.selection import oracle_knobs, selections

        return {"helpers": selections(self), "knobs": oracle_knobs(self)}

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the rows."""
        from selfreg_gym.evaluation.diagnostics import find_warnings

        return find_warnings(self)

    # -- files ------------------------------------------------------------------------------------------------------

    @classmethod
    def merge(cls, *evaluations: Evaluation) -> Evaluation:
        """Put splits, and helpers evaluated on the same episodes of a split, together."""
        tables: dict[str, EpisodeTable] = {}
        budgets: dict[str, float] = {}
        expected: dict[str, dict[str, dict[str, float]]] = {}
        traces: list[dict[str, Any]] = []
        meta: dict[str, Any] = {}
        for evaluation in evaluations:
            for split, table in evaluation.tables.items():
                tables[split] = tables[split].join(table) if split in tables else table
                expected.setdefault(split, {}).update(evaluation.expected.get(split, {}))
            for key, budget in evaluation.budgets.items():
                if budgets.setdefault(key, budget) != budget:
                    raise InvalidArgumentError(f"helper {key!r} has two budgets: {budgets[key]:g} and {budget:g}.")
            traces += evaluation.traces
            meta |= evaluation.meta
        return cls(tables, budgets, expected, traces, meta)

    def save(self, path: str | Path) -> Path:
        """Write ``evaluation.json``: rows, comparisons, curves, warnings to read, episodes to compute from."""
        path = Path(path)
        lists = {name: getattr(self, name) for name in ("rows", "comparisons", "curves", "warnings", "traces")}
        plain = FORMAT | {"meta": self.meta, "budgets": self.budgets, "expected": self.expected}
        plain |= {"selection": self.selection}
        parts = [f"{json.dumps(name)}: {dumps(value)}" for name, value in plain.items()]
        parts += [f"{json.dumps(name)}: {_lines(items)}" for name, items in lists.items()]
        parts.append(f'"episodes": {_lines(table.to_json() for table in self.tables.values())}')
        write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what :meth:`save` wrote; rows and intervals are computed anew from the episodes.

        Raises:
            ConfigError: no such file, not an evaluation of this version, or a damaged one.
        """
        again = "Evaluate the run again."
        try:
            # Earlier versions wrote NaN where a number is missing.
            data = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=lambda _: None)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not an evaluation: it is not valid JSON ({error}). {again}") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{path} is not an evaluation: it holds a {type(data).__name__}, not an object. {again}")
        received: Mapping[str, Any] = {name: data.get(name) for name in FORMAT}
        if received != FORMAT:
            raise ConfigError(f"an evaluation says {FORMAT}, {path} says {dict(received)}. {again}")
        try:
            tables = [EpisodeTable.from_json(table) for table in data["episodes"]]
            budgets = {key: _finite(f"the budget of {key}", value) for key, value in data["budgets"].items()}
            expected = {
                split: {
                    key: {name: _finite(f"{name} of {key}", value) for name, value in said.items()}
                    for key, said in promised.items()
                }
                for split, promised in data["expected"].items()
            }
            traces, meta = data["traces"], data["meta"]
            if not (isinstance(traces, list) and isinstance(meta, dict)):
                raise ValueError("traces is a list and meta an object")
        except KeyError as error:
            raise ConfigError(f"{path} is damaged: it lacks {error}. {again}") from error
        except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ConfigError(f"{path} is damaged: {error}. {again}") from error
        return cls({table.split: table for table in tables}, budgets, expected, traces, meta)


def _lines(items: Iterable[Any]) -> str:
    """A JSON list with one item per line, so that a person can read it and ``diff`` can compare it."""
    return "[\n" + ",\n".join("  " + dumps(item) for item in items) + "\n]"


def _finite(what: str, value: Any) -> float:
    if not is_number(value):
        raise ValueError(f"{what} is a finite number, received {value!r}")
    return value


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
