"""The data of a report: the files of a run, read once, and the look-ups that its sections share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from selfreg_gym.errors import ConfigError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.records import Comparison, ResultRow
from selfreg_gym.helper import HelperDescription, HelperKey
from selfreg_gym.intervention_env.interventions import names_of
from selfreg_gym.report.styles import Style, styles_of
from selfreg_gym.utils.json_text import read_object
from selfreg_gym.utils.printable import visible

__all__ = ["ReportData"]

EQUAL = 1e-6
"""Calls and cost units per episode that differ by at most this are equal."""

ENDS = ("lower", "upper")
"""References that are the ends of the usage axis."""

HEADLINE_BUDGET = 1.0
"""The budget of the headline and of the tiles, if the helper was evaluated at it."""


@dataclass(frozen=True)
class ReportData:
    """An evaluation with the other records of its run.

    Attributes:
        evaluation: rows, comparisons, curves.
        manifest: ``manifest.json`` of the run, or empty.
        calibration: ``calibration.json`` of the run by helper key, or empty.
        selection: ``selection.json`` of the run, or empty.
        prm: the record of the process reward model (``info`` in ``prm/prm.json``), or empty.
        bag_of_words: the reliability table of the bag-of-words model (in ``prm/floor.json``), or None.
    """

    evaluation: Evaluation
    manifest: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    prm: Mapping[str, Any] = field(default_factory=dict)
    bag_of_words: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, run: Path) -> ReportData:
        """Read a run directory. Only ``evaluation.json`` is required.

        Raises:
            ConfigError: a file is malformed.
        """
        train = "selfreg train-prm --redo"
        return cls(
            Evaluation.load(run / "evaluation.json"),
            manifest=_read(run / "manifest.json", "selfreg run"),
            calibration=_mappings(_read(run / "calibration.json", "selfreg evaluate --redo")),
            selection=_read(run / "selection.json", "selfreg evaluate --redo"),
            prm=_mapping(_read(run / "prm" / "prm.json", train).get("info")),
            bag_of_words=_read(run / "prm" / "floor.json", train).get("bag_of_words"),
        )

    @classmethod
    def of(cls, source: ReportData | Evaluation) -> ReportData:
        """The data themselves, or those of an evaluation alone."""
        return source if isinstance(source, ReportData) else cls(source)

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the run's config; empty if it is not known."""
        return _mapping(_mapping(self.manifest.get("config")).get(name))

    @cached_property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """The records of the run's stages."""
        return _mappings(_mapping(self.manifest.get("stages")))

    @cached_property
    def splits(self) -> list[str]:
        """The evaluated splits, in the order of the config, else of the evaluation."""
        order = self.section("task").get("splits", ())
        tables = self.evaluation.tables
        return [split for split in order if split in tables] + [split for split in tables if split not in order]

    def title(self, split: str) -> str:
        """Heading of a split: its title in the config, else ``Split NAME``."""
        titles = _mapping(self.section("task").get("titles"))
        return visible(titles.get(split, f"Split {split}"), limit=80)

    def inline_title(self, split: str) -> str:
        """The heading in the middle of a sentence."""
        title = self.title(split)
        ordinary = title.partition(" ")[0][1:].islower()  # not a name such as "SWE-bench"
        return title[:1].lower() + title[1:] if ordinary else title

    @cached_property
    def _styles(self) -> dict[str, Style]:
        helpers = dict.fromkeys(helper for split in self.splits for helper in self.evaluation.helpers(split))
        return styles_of({helper: self._declared(helper) for helper in helpers})

    def _declared(self, helper: str) -> HelperDescription:
        """What a helper declares of itself.

        With several interventions, the usage axis ends at the helper that is evaluated under the plain name.
        """
        found = self.evaluation.description(helper)
        return replace(found, reference=None, minor=True) if ":" in helper and found.reference in ENDS else found

    def style(self, helper: str) -> Style:
        """How a helper is drawn, also one that was calibrated only."""
        return self._styles.get(helper) or styles_of({helper: self._declared(helper)})[helper]

    def identity(self, record: Mapping[str, Any]) -> HelperKey:
        """The helper and the budget of a trace."""
        return self.evaluation.results(record["split"]).identity(HelperKey.parse(record["key"]))

    def helpers(self, split: str) -> list[str]:
        """Helper ids of a split, by rank, then in the order of the evaluation."""
        return sorted(self.evaluation.helpers(split), key=lambda helper: self.style(helper).rank)

    def compared(self, split: str) -> list[str]:
        """:meth:`helpers` without the two ends of the usage axis."""
        return [one for one in self.helpers(split) if self.style(one).declared.reference not in ENDS]

    def end(self, split: str, which: str) -> ResultRow | None:
        """The row of the ``lower`` or ``upper`` end of the usage axis; None if it was not evaluated."""
        rows = [row for row in self.rows(split) if self.style(row["helper"]).declared.reference == which]
        return rows[0] if rows else None

    def has_gap(self, split: str) -> bool:
        """Whether both ends of the usage axis were evaluated."""
        return self.end(split, "lower") is not None and self.end(split, "upper") is not None

    def rows(self, split: str) -> list[ResultRow]:
        """The summary rows of a split, by rank, helper and budget."""
        rows = [row for row in self.evaluation.summary_rows if row["split"] == split]
        return sorted(rows, key=lambda row: (self.style(row["helper"]).rank, row["helper"], row["budget"] or 0))

    def row(self, split: str, key: str, kind: str = "all") -> ResultRow | None:
        """The row of a helper key, all training seeds together."""
        for row in self.evaluation.rows:
            if (row["split"], row["key"], row["kind"], row["seed"]) == (split, key, kind, None):
                return row
        return None

    @cached_property
    def _comparisons(self) -> dict[tuple[str, str, float | None], Comparison]:
        known = [item for item in self.evaluation.comparisons if item["share"]["value"] is not None]
        return {(item["split"], item["helper"], item["budget"]): item for item in reversed(known)}

    def comparison(self, split: str, helper: str, budget: float | None) -> Comparison | None:
        """The comparison of a helper at a budget, if its share of the gap is known."""
        return self._comparisons.get((split, helper, budget))

    def headline_comparison(self, split: str, helper: str) -> Comparison | None:
        """The comparison at a budget of 1 if there is one, else at the smallest budget, else without a budget."""
        budgets = [budget for one, name, budget in self._comparisons if (one, name) == (split, helper)]
        return self.comparison(split, helper, _headline_budget(budgets)) if budgets else None

    @cached_property
    def budgets(self) -> list[float]:
        """Every budget that a helper was evaluated at."""
        return sorted({row["budget"] for row in self.evaluation.rows if row["budget"] is not None})

    @property
    def validated(self) -> list[Mapping[str, Any]]:
        """The deployable helpers by success on the validation splits, best first; empty if they were not played."""
        found = self.selection.get("helpers") if self.selection.get("by") == "validation" else None
        return [one for one in found or () if isinstance(one, Mapping)]

    @property
    def validation_splits(self) -> list[str]:
        """Names of the splits on which a helper was selected."""
        return [visible(name, limit=40) for name in self.selection.get("splits") or ()] if self.validated else []

    @property
    def headline_budget(self) -> float | None:
        """Of :attr:`budgets`, 1 if there is one, else the smallest; None without any."""
        return _headline_budget(self.budgets)

    @cached_property
    def calls_are_units(self) -> bool:
        """Whether every call costs one unit, so that calls and cost units are the same number."""
        pairs = [(row["usage"], row["calls"]) for row in self.evaluation.summary_rows]
        known = [(usage, calls) for usage, calls in pairs if usage is not None and calls is not None]
        return any(calls for _, calls in known) and all(abs(usage - calls) <= EQUAL for usage, calls in known)

    @property
    def unit(self) -> str:
        """The unit of usage: "calls" where every call costs one unit, else "cost units"."""
        return "calls" if self.calls_are_units else "cost units"

    def amount(self, usage: float, calls: float | None = None) -> str:
        """A usage in words: ``"0.98 calls"``, or ``"0.98 cost units (3.27 calls)"``."""
        text = _counted(usage, self.unit)
        return text if self.calls_are_units or calls is None else f"{text} ({_counted(calls, 'calls')})"

    @cached_property
    def interventions(self) -> list[str]:
        """Names of the interventions, in the order of the actions 1 .. K."""
        given = self.section("interventions").get("ids") or ()
        names = [self.named(name) for name in names_of(list(map(str, given)))]
        count = max((len(row["usage_by_intervention"]) for row in self.evaluation.summary_rows), default=0)
        return names if len(names) == count else [f"intervention {k}" for k in range(1, count + 1)]

    def named(self, intervention: str) -> str:
        """The name of an intervention, with the mark of those that use facts which the actor cannot know."""
        marked = any(intervention in meta.get("privileged", ()) for meta in self.evaluation.meta.values())
        return f"{visible(intervention, limit=40)}{' (privileged)' if marked else ''}"

    def missed(self, key: str) -> str | None:
        """How a calibration missed its budget: "under", "over" or "unknown"; None if it met it or there was none."""
        found = self.calibration.get(key, {})
        if found.get("met", True):
            return None
        usage, budget = found.get("usage"), found.get("budget")
        return "unknown" if usage is None or budget is None else "under" if usage < budget else "over"

    @cached_property
    def warnings(self) -> list[str]:
        """The warnings of the stages, of the calibration and of the evaluation."""
        found = [f"{name}: {text}" for name, record in self.stages.items() for text in _warnings(record)]
        missed = {key: how for key in self.calibration if (how := self.missed(key))}
        if missed and not _warnings(self.stages.get("calibrate", {})):  # whose own warnings name the reason
            parts = []
            for key, how in missed.items():
                one = self.calibration[key]
                usage = "not met" if how == "unknown" else f"{one['usage']:.2f} of {one['budget']:g}, {how}"
                parts.append(f"{key} ({usage})")
            found.append(
                f"calibration: {', '.join(parts)} did not meet the budget on fresh training episodes. Shares of the "
                "gap at these budgets are not those of a helper that uses C."
            )
        return [*found, *self.evaluation.warnings]


def _headline_budget(budgets: Iterable[float | None]) -> float | None:
    known = sorted(budget for budget in budgets if budget is not None)
    return HEADLINE_BUDGET if HEADLINE_BUDGET in known else next(iter(known), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> dict[str, Mapping[str, Any]]:
    """The entries that are mappings."""
    return {key: one for key, one in _mapping(value).items() if isinstance(one, Mapping)}


def _warnings(record: Mapping[str, Any]) -> list[str]:
    warnings = record.get("warnings")
    return [str(one) for one in warnings] if isinstance(warnings, list) else []


def _counted(value: float, unit: str) -> str:
    """``"1 call"``, ``"0.98 calls"``: at most two decimals."""
    number = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{number} {unit[:-1] if number == '1' else unit}"


def _read(path: Path, command: str) -> dict[str, Any]:
    """Read a JSON object, whose file ``command`` writes; empty if there is no file."""
    if not path.exists():
        return {}
    remedy = f"restore it from a copy, or write it again: {command}"
    return read_object(path, what="the records of a run", remedy=remedy, error=ConfigError)
