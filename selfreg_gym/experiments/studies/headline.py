"""Headline: how many calls reach 95 % of the success of always asking, for each helper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym import registry
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.usage_needed import usage_reaching
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Headline"]

BUDGETS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)

STAGES = {
    "random": (),
    "prm-threshold": ("collect", "train-prm"),
    "actor-confidence": ("collect",),
    "dp-features": ("collect", "solve-features"),
    "actor-signals": ("collect", "fit-values"),
    "lm": ("collect", "fit", "solve", "fit-values", "label", "train-helper"),
    "fitted": ("collect", "fit-values"),
    "dp": ("collect", "fit", "solve"),
}
"""Compared helper -> the stages of a run that it needs. Helpers that are not registered are left out; if the config
names helpers (``evaluate.helpers``), those that it does not name are left out, too."""

KNOWS_TASKS = ("dp",)
"""Helpers that are evaluated on the collected tasks only, whose names they know."""


class Headline(Experiment):
    """The least usage at which a helper has 95 % of what always asking has."""

    title = "Headline: how many calls reach 95 % of always asking"
    question = """
Always asking succeeds most often and calls the intervention in every step. How many calls are enough for 95 % of its
success rate, and for 95 % of the gap between never and always asking? Each helper is calibrated to six budgets. Its
success as a function of usage is the isotonic regression of its points, from never to always asking; the table has
the usage at which it first reaches the wanted success.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The ends of the usage axis once, random help once, every other helper for each seed."""
        known = set(registry.names("helpers")) & set(config.evaluate.helpers or STAGES)
        return [
            Cell("ends", shared=True),
            *(Cell(name, shared=not stages) for name, stages in STAGES.items() if name in known),
        ]

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Calibrate and evaluate a helper."""
        splits = ends_of(trial.config)
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        trial.run(*STAGES[cell])
        some = splits[:1] if cell in KNOWS_TASKS else splits
        return trial.compare([cell], splits=some, budgets=BUDGETS, seeded=bool(STAGES[cell]))

    def findings(self, results: Results) -> Findings:
        """Usages needed, and the curves."""
        splits = ends_of(results.config)
        rows = []
        for split in splits:
            found = results.evaluation.results(split)
            always = measure_of(results, split, "always", None, "usage")
            for helper in (name for name in STAGES if name in found.helpers):
                row: dict[str, Any] = {"split": split_title(results.config, split), "helper": f"`{helper}`"}
                for column, of_gap in (("success", False), ("gap", True)):
                    row[column] = results.estimate(lambda one: usage_reaching(one, split, helper, of_gap=of_gap))  # noqa: B023
                row["always"] = always.value
                row["saved"] = 1.0 - row["success"].value / always.value
                rows.append(row)
        columns = (
            Column("split", "split"),
            Column("helper", "helper"),
            Column("success", "calls for 95 % of the success of always"),
            Column("gap", "calls for 95 % of the gap"),
            Column("always", "calls of always"),
            Column("saved", "calls saved", "%", 0),
        )
        table = Table(
            "usage", "Calls needed", columns, rows, "Cost units per episode; one call costs one unit by default."
        )
        helpers = ["never", "always", *STAGES]
        figure = against_usage(results.evaluation, results.config, splits=splits, helpers=list(STAGES))
        return Findings(
            statements=[_statement(results, rows, split) for split in splits],
            tables=(table, comparison_table(results, splits=splits, helpers=helpers, budgets=BUDGETS)),
            plots=[Plot("curves", "Success rate against usage; means over seeds.", figure)],
            published=[
                Published(
                    "calls that reach about the success of always intervening",
                    "1.0 calls on average (62.5 % success), always about 8 calls",
                    _best(rows, split_title(results.config, splits[-1])),
                    "arXiv 2502.04576",
                )
            ],
        )


def _statement(results: Results, rows: Sequence[Mapping[str, Any]], split: str) -> str:
    title = split_title(results.config, split)
    own = sorted((row for row in rows if row["split"] == title), key=lambda row: row["success"].value)
    texts = [f"{row['helper']} {_number(row['success'])}" for row in own]
    always = own[0]["always"] if own else math.nan
    return f"{title}: calls for 95 % of the success of always asking ({always:.1f} calls): {', '.join(texts)}."


def _number(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}" if math.isfinite(estimate.value) else "not reached"


def _best(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The helper with the fewest calls on a split."""
    own = [row for row in rows if row["split"] == title]
    best = min(own, key=lambda row: row["success"].value)
    return (
        f"{best['helper']}: {_number(best['success'])} calls reach 95 % of the success of always asking, which makes "
        f"{best['always']:.1f} calls ({title})"
    )
