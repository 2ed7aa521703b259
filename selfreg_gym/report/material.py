"""The material of a report: the files of a run, read once, and the look-ups that the sections share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import ConfigError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.report.palette import style_of
from selfreg_gym.utils.json_text import read_object
from selfreg_gym.utils.printable import visible

__all__ = ["SPLITS", "Material", "read_json"]

SPLITS = {"collected": "Collected tasks", "seen": "New tasks, seen houses", "unseen": "New tasks, unseen houses"}
"""Headings of the splits of runs that were made before a config could say them (``task.titles``)."""

SAME = 1e-6
"""Calls and cost units per episode that differ by at most this are the same number."""


@dataclass(frozen=True)
class Material:
    """An evaluation with the other records of its run.

    Attributes:
        evaluation: rows, comparisons, curves.
        manifest: ``manifest.json`` of the run, or empty.
        calibration: ``calibration.json`` of the run, or empty: what was found for each helper key.
        prm: what the process reward model records of itself (``info`` in ``prm/prm.json``), or empty.
        floor: the reliability table of the bag of words (``prm/floor.json``), or None.
    """

    evaluation: Evaluation
    manifest: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prm: Mapping[str, Any] = field(default_factory=dict)
    floor: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, run: Path) -> Material:
        """Read a run directory, of which ``evaluation.json`` must be there.

        Raises:
            ConfigError: a file that cannot be read as what it should be.
        """
        calibration = read_json(run / "calibration.json", "selfreg evaluate --redo")
        found = {key: one for key, one in calibration.items() if isinstance(one, Mapping)}
        again = "selfreg train-prm --redo"
        info = read_json(run / "prm" / "prm.json", again).get("info")
        return cls(
            Evaluation.load(run / "evaluation.json"),
            manifest=read_json(run / "manifest.json", "selfreg run"),
            calibration=found,
            prm=info if isinstance(info, Mapping) else {},
            floor=read_json(run / "prm" / "floor.json", again).get("bag_of_words"),
        )

    @classmethod
    def of(cls, source: Material | Evaluation) -> Material:
        """The material, or an evaluation alone."""
        return source if isinstance(source, Material) else cls(source)

    # -- splits -------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's config as nested tables; empty if it is not known."""
        config = self.manifest.get("config")
        return config if isinstance(config, Mapping) else {}

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the config."""
        section = self.config.get(name)
        return section if isinstance(section, Mapping) else {}

    @cached_property
    def splits(self) -> list[str]:
        """The splits that were evaluated, in the order of the config (without one: the usual ones first)."""
        order = list(self.section("task").get("splits") or SPLITS)
        tables = self.evaluation.tables
        return [s for s in order if s in tables] + [s for s in tables if s not in order]

    def title(self, split: str) -> str:
        """Heading of a split: what the config says, else its name."""
        titles = self.section("task").get("titles", SPLITS)
        if split in titles:
            return visible(titles[split], limit=80)
        if split == "collected":
            return "Collected tasks"
        also = " (collected tasks)" if self.evaluation.tables[split].fixed_tasks else ""
        return f"Split {visible(split, limit=60)}{also}"

    def lower_title(self, split: str) -> str:
        """The heading for the middle of a sentence."""
        title = self.title(split)
        return title[:1].lower() + title[1:]

    # -- rows ---------------------------------------------------------------------------------------------------------

    @cached_property
    def whole(self) -> list[dict[str, Any]]:
        """The rows of all kinds and training seeds together."""
        return [row for row in self.evaluation.rows if (row["kind"], row["seed"]) == ("all", None)]

    def rows(self, split: str) -> list[dict[str, Any]]:
        """Those of one split, the ends of the scale first, then by order and budget."""
        first = {"never": 0, "always": 1}
        rows = [row for row in self.whole if row["split"] == split]
        return sorted(
            rows,
            key=lambda r: (first.get(r["helper"], 2), style_of(r["helper"]).order, r["helper"], r["budget"] or 0),
        )

    def row(self, split: str, key: str, kind: str = "all") -> dict[str, Any] | None:
        """The row of a helper key, all training seeds together."""
        for row in self.evaluation.rows:
            if (row["split"], row["key"], row["kind"], row["seed"]) == (split, key, kind, None):
                return row
        return None

    def comparison(
        self, split: str, helper: str, budget: float | None, key: str | None = None
    ) -> dict[str, Any] | None:
        """The comparison of a helper at a budget."""
        for item in self.evaluation.comparisons:
            if (item["split"], item["helper"], item["budget"]) == (split, helper, budget) and key in (
                None,
                item["key"],
            ):
                return item
        return None

    @cached_property
    def budgets(self) -> list[float]:
        """Every budget that some helper was evaluated at."""
        return sorted({row["budget"] for row in self.evaluation.rows if row["budget"] is not None})

    # -- calls and cost units -----------------------------------------------------------------------------------------

    def calls(self, row: Mapping[str, Any]) -> float | None:
        """Calls for help per episode of a row of all kinds (decisions with help, whatever each costs)."""
        if "calls" in row:
            return row["calls"]
        table = self.evaluation.tables[row["split"]]
        keys = [key for key in table.columns if key.partition("#")[0] == row["key"]] or [row["key"]]
        helped = table.column(keys, "helped")[table.restrict(row["kind"])]
        known = helped[np.isfinite(helped)]
        return float(known.mean()) if known.size else None

    @cached_property
    def calls_are_units(self) -> bool:
        """Whether every call costs one unit, so that calls and cost units are the same number."""
        pairs = [(row["usage"], self.calls(row)) for row in self.whole]
        known = [(usage, calls) for usage, calls in pairs if usage is not None and calls is not None]
        return any(calls for _, calls in known) and all(abs(usage - calls) <= SAME for usage, calls in known)

    @property
    def unit(self) -> str:
        """What usage is counted in: "calls" where every call costs one unit, else "cost units"."""
        return "calls" if self.calls_are_units else "cost units"

    def amount(self, usage: float, calls: float | None = None) -> str:
        """A usage in words: ``"0.98 calls"``, or ``"0.98 cost units (3.27 calls)"``."""
        one = _short(usage) == "1"
        text = f"{_short(usage)} {self.unit[:-1] if one else self.unit}"
        if self.calls_are_units or calls is None:
            return text
        return f"{text} ({_short(calls)} {'call' if _short(calls) == '1' else 'calls'})"

    @cached_property
    def interventions(self) -> list[str]:
        """Names of the interventions, in the order of the helper's actions 1 .. K."""
        ids = [visible(name, limit=40) for name in self.section("interventions").get("ids") or ()]
        count = max((len(self.by_intervention(row, "usage")) for row in self.whole), default=0)
        return ids if len(ids) == count else [f"intervention {k}" for k in range(1, count + 1)]

    def by_intervention(self, row: Mapping[str, Any], what: str) -> list[float | None]:
        """``usage`` or ``calls`` per episode of each intervention; empty if they were not counted."""
        return list(row.get(f"{what}_by_intervention") or ())

    # -- notes ---------------------------------------------------------------------------------------------------------

    def met(self, key: str) -> str | None:
        """How a calibration ended: "yes", "under", "over" or "no"; None for a helper that was not calibrated."""
        found = self.calibration.get(key)
        if found is None or "met" not in found:
            return None
        usage, budget = found.get("usage"), found.get("budget")
        if found["met"]:
            return "yes"
        if usage is None or budget is None:
            return "no"
        return "under" if usage < budget else "over"

    @cached_property
    def notes(self) -> list[str]:
        """The warnings of the stages, of the calibration and of the evaluation."""
        found: list[str] = []
        stages = self.manifest.get("stages")
        for name, record in stages.items() if isinstance(stages, Mapping) else ():
            found += [f"{name}: {text}" for text in _texts(record)]
        missed = [key for key in self.calibration if self.met(key) not in (None, "yes")]
        told = isinstance(stages, Mapping) and _texts(stages.get("calibrate"))  # by the stage itself, with the reason
        if missed and not told:
            parts = []
            for key in missed:
                one = self.calibration[key]
                usage, budget = one.get("usage"), one.get("budget")
                result = "not met" if usage is None or budget is None else f"{usage:.2f} of {budget:g}, {self.met(key)}"
                parts.append(f"{key} ({result})")
            found.append(
                f"calibration: the budget was not met on fresh training episodes by {', '.join(parts)}. Shares of the "
                "gap at these budgets are not those of a helper that spends C."
            )
        return [*found, *self.evaluation.warnings]


def _texts(record: Any) -> Sequence[str]:
    warnings = record.get("warnings") if isinstance(record, Mapping) else None
    return [str(one) for one in warnings] if isinstance(warnings, list) else []


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_json(path: Path, command: str) -> dict[str, Any]:
    """Read a JSON object; empty if the file is not there.

    Raises:
        ConfigError: the file cannot be read as a JSON object; the message names the ``command`` that writes it anew.
    """
    if not path.exists():
        return {}
    remedy = f"restore it from a copy, or write it anew: {command}"
    return read_object(path, what="the records of a run", remedy=remedy, error=ConfigError)
