"""``Evaluation``: the measured episodes of all splits, and the rows, comparisons, curves and warnings made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from selfreg_gym.errors import ConfigError, InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.evaluation.comparison import EqualUsage, Recovery, at_equal_usage, compare_all, recovery
from selfreg_gym.evaluation.curve_estimates import describe_all
from selfreg_gym.evaluation.curves import Curve
from selfreg_gym.evaluation.diagnostics import find_warnings
from selfreg_gym.evaluation.records import Comparison, CurveRecord, Expectation, ResultRow, Selections, Trace
from selfreg_gym.evaluation.rows import result_rows
from selfreg_gym.evaluation.selection import helper_selections, knob_selections
from selfreg_gym.evaluation.split_results import SplitResults, registered_description
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.helper import HelperDescription, HelperKey
from selfreg_gym.utils.arguments import check_name, is_number
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, finite, read_object

__all__ = ["Evaluation"]

FORMAT = {"format": "selfreg_gym.evaluation", "version": 1}


@dataclass(frozen=True)
class Evaluation:
    """Helpers compared on the same episodes of one or more splits.

    Methods take helper keys as text too. ``split`` may be omitted if there is only one; ``kind`` is a kind of tasks, or
    ``"all"``. Budgets are in cost units per episode.

    Attributes:
        tables: the measured episodes, by split.
        budgets: C by helper key, in cost units per episode.
        expected: expected usage and success, by split and helper key.
        traces: the steps of selected episodes.
        meta: by split, the settings of the evaluation and the descriptions of its helpers (``"helpers"``, by name).
    """

    tables: dict[str, EpisodeTable]
    budgets: dict[HelperKey, float] = field(default_factory=dict)
    expected: dict[str, dict[HelperKey, Expectation]] = field(default_factory=dict)
    traces: list[Trace] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = {split: _by_key(several) for split, several in self.expected.items()}
        object.__setattr__(self, "budgets", _by_key(self.budgets))
        object.__setattr__(self, "expected", expected)

    def __repr__(self) -> str:
        splits = [f"{name}: {len(table.seeds)} episodes" for name, table in self.tables.items()]
        names = dict.fromkeys(key.name for table in self.tables.values() for key in table.columns)
        return f"Evaluation({', '.join(splits)}; helpers {', '.join(names)})"

    @cached_property
    def _results(self) -> dict[str, SplitResults]:
        return {
            split: SplitResults(table, self.budgets, self.expected.get(split, {}), self.meta.get(split, {}))
            for split, table in self.tables.items()
        }

    def results(self, split: str | None = None) -> SplitResults:
        """The results of ``split``, which may be omitted if there is only one.

        Raises:
            UnknownNameError: no such split.
            InvalidArgumentError: no split was given, and there are several.
        """
        if split is None:
            if len(self.tables) != 1:
                raise InvalidArgumentError(f"give a split: this evaluation has {', '.join(self.tables)}.")
            return next(iter(self._results.values()))
        check_name("split", split, self.tables)
        return self._results[split]

    def table(self, split: str | None = None) -> EpisodeTable:
        """The measured episodes of a split."""
        return self.results(split).table

    def helpers(self, split: str | None = None) -> list[str]:
        """Helper names, in the order of evaluation."""
        return self.results(split).helpers

    def description(self, helper: str) -> HelperDescription:
        """The description of a helper, see :attr:`SplitResults.descriptions`."""
        known = (one.descriptions[helper] for one in self._results.values() if helper in one.descriptions)
        return next(known, None) or registered_description(helper)

    def curve(self, helper: str, *, split: str | None = None, kind: str = "all") -> Curve:
        """The curve of a helper, success against usage: see :meth:`SplitResults.curve`."""
        return self.results(split).curve(helper, kind=kind)

    def paired_difference(
        self, a: str, b: str, *, measure: str = "success", split: str | None = None, kind: str = "all"
    ) -> Estimate:
        """Mean of a measure under helper ``a`` minus that under ``b``, on the same episodes, with its interval.

        Args:
            a, b: names or keys of helpers.
            measure: name of the measure (:mod:`selfreg_gym.evaluation.measures`), such as ``"success"``.
            split, kind: as for all methods.

        Raises:
            UnknownNameError: a helper or the split was not evaluated.
        """
        results = self.results(split)
        return results.paired_difference(results.keys(a), results.keys(b), measure=measure, kind=kind)

    def recovery(
        self, helper: str, *, budget: float | None = None, split: str | None = None, kind: str = "all"
    ) -> Recovery:
        """The share of the gap that a helper recovers, see :func:`selfreg_gym.evaluation.comparison.recovery`."""
        return recovery(self.results(split), helper, budget=budget, kind=kind)

    def at_equal_usage(
        self,
        helper: str,
        *,
        budget: float | None = None,
        other: str | None = None,
        measure: str = "success",
        split: str | None = None,
        kind: str = "all",
    ) -> EqualUsage:
        """A helper and another at equal usage, see :func:`selfreg_gym.evaluation.comparison.at_equal_usage`."""
        return at_equal_usage(self.results(split), helper, budget=budget, other=other, measure=measure, kind=kind)

    @cached_property
    def rows(self) -> list[ResultRow]:
        """One row per split, helper, budget, training seed and kind."""
        return [row for results in self._results.values() for row in result_rows(results)]

    @cached_property
    def summary_rows(self) -> list[ResultRow]:
        """The rows of all kinds and training seeds together: one per split, helper and budget."""
        return [row for row in self.rows if (row["kind"], row["seed"]) == ("all", None)]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The comparison of every point between the anchors: share of the gap, random help, toggles."""
        return [item for results in self._results.values() for item in compare_all(results)]

    @cached_property
    def curves(self) -> list[CurveRecord]:
        """The estimates of each helper's curve: area, usage needed, best lift, and usages to evaluate next."""
        return [item for results in self._results.values() for item in describe_all(results)]

    @cached_property
    def selection(self) -> Selections:
        """Selections of helpers and of knobs, by calibration and by an oracle."""
        found: Selections = {"helpers": [], "knobs": []}
        for split, results in self._results.items():
            comparisons = [item for item in self.comparisons if item["split"] == split]
            found["helpers"] += helper_selections(results, comparisons)
            found["knobs"] += knob_selections(results, comparisons)
        return found

    @cached_property
    def warnings(self) -> list[str]:
        """What would mislead a reader of the rows."""
        found = []
        for split, results in self._results.items():
            rows = [row for row in self.summary_rows if row["split"] == split]
            found += find_warnings(results, rows, [item for item in self.comparisons if item["split"] == split])
        return found

    @classmethod
    def merge(cls, *evaluations: Evaluation) -> Evaluation:
        """The splits of all evaluations, with the helpers of those that have the same split.

        Raises:
            InvalidArgumentError: a helper key is twice in a split, or has two budgets.
        """
        tables: dict[str, EpisodeTable] = {}
        budgets: dict[HelperKey, float] = {}
        expected: dict[str, dict[HelperKey, Expectation]] = {}
        traces: list[Trace] = []
        meta: dict[str, Any] = {}
        for evaluation in evaluations:
            for split, table in evaluation.tables.items():
                tables[split] = tables[split].join(table) if split in tables else table
                expected.setdefault(split, {}).update(evaluation.expected.get(split, {}))
            for key, budget in evaluation.budgets.items():
                if budgets.setdefault(key, budget) != budget:
                    raise InvalidArgumentError(f"helper {str(key)!r} has two budgets: {budgets[key]:g} and {budget:g}.")
            former, meta = meta, meta | evaluation.meta
            for split in former.keys() & evaluation.tables.keys():
                declared = {**former[split].get("helpers", {}), **meta[split].get("helpers", {})}
                meta[split] = {**meta[split], "helpers": declared}
            traces += evaluation.traces
        return cls(tables, budgets, expected, traces, meta)

    def save(self, path: str | Path) -> Path:
        """Write ``evaluation.json``: the records, and the episodes that they are computed from."""
        path = Path(path)
        lists = {name: getattr(self, name) for name in ("rows", "comparisons", "curves", "warnings", "traces")}
        expected = {split: _by_text(several) for split, several in self.expected.items()}
        plain = FORMAT | {"meta": self.meta, "budgets": _by_text(self.budgets), "expected": expected}
        plain |= {"selection": self.selection}
        parts = [f"{json.dumps(name)}: {dumps(value)}" for name, value in plain.items()]
        parts += [f"{json.dumps(name)}: {_lines(items)}" for name, items in lists.items()]
        parts.append(f'"episodes": {_lines(table.to_json() for table in self.tables.values())}')
        write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what :meth:`save` wrote; the records are computed from the episodes when they are used.

        Raises:
            ConfigError: the file is missing, is not an evaluation of this version, or is damaged.
        """
        data = read_object(path, what="an evaluation", remedy="evaluate the run again", error=ConfigError)
        again = "Evaluate the run again."
        received = {name: data.get(name) for name in FORMAT}
        if received != FORMAT:
            raise ConfigError(f"an evaluation has {FORMAT}, {path} has {received}. {again}")
        try:
            tables = [EpisodeTable.from_json(table) for table in data["episodes"]]
            budgets = {key: _finite(f"the budget of {key}", value) for key, value in data["budgets"].items()}
            expected: dict[str, Any] = {
                split: {
                    key: {name: _finite(f"{name} of {key}", value) for name, value in numbers.items()}
                    for key, numbers in several.items()
                }
                for split, several in data["expected"].items()
            }
            traces, meta = finite(data["traces"]), finite(data["meta"])  # earlier versions wrote NaN
            if not (isinstance(traces, list) and isinstance(meta, dict)):
                raise ValueError("traces must be a list, and meta an object")
            return cls({table.split: table for table in tables}, budgets, expected, traces, meta)
        except KeyError as error:
            raise ConfigError(f"{path} is damaged: it lacks {error}. {again}") from error
        except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ConfigError(f"{path} is damaged: {error}. {again}") from error


def _by_key(values: Mapping[Any, Any]) -> dict[HelperKey, Any]:
    """The values by helper key, which may be given as text."""
    return {HelperKey.parse(key): value for key, value in values.items()}


def _by_text(values: Mapping[HelperKey, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in values.items()}


def _lines(items: Iterable[Any]) -> str:
    """A JSON list with one item per line, for people and for ``diff``."""
    return "[\n" + ",\n".join("  " + dumps(item) for item in items) + "\n]"


def _finite(what: str, value: Any) -> float:
    if not is_number(value):
        raise ValueError(f"{what} must be a finite number, received {value!r}")
    return value
