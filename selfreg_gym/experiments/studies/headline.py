"""Headline: how many calls reach 95 % of the success of always asking, for each helper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym import registry
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate, Floats
from selfreg_gym.evaluation.curve_estimates import isotonic
from selfreg_gym.evaluation.paired import means
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.pipeline import STAGES as ALL_STAGES
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Headline", "usage_reaching"]

BUDGETS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
ENOUGH = 0.95

STAGES = {
    "random": (),
    "prm-threshold": ("collect", "train-prm"),
    "actor-confidence": ("collect",),
    "dp-features": ("collect", "fit", "solve"),
    "actor-signals": ("collect", "train-prm", "fit", "solve", "fit-values"),
    "lm": ("collect", "train-prm", "fit", "solve", "fit-values", "label", "train-helper"),
    "fitted": ("collect", "train-prm", "fit", "solve", "fit-values"),
    "dp": ("collect", "fit", "solve"),
}
"""Compared helper -> the stages of a run that it needs. Helpers that are not registered are left out."""

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
        known = registry.names("helpers")
        return [
            Cell("ends", shared=True),
            *(Cell(name, shared=not stages) for name, stages in STAGES.items() if name in known),
        ]

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Calibrate and evaluate a helper."""
        splits = ends_of(trial.config)
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        known = [stage.name for stage in ALL_STAGES]
        trial.run(*(stage for stage in STAGES[cell] if stage in known))
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


def usage_reaching(evaluation: Evaluation, split: str, helper: str, *, of_gap: bool = False) -> Estimate:
    """The least usage at which a helper's isotonic curve reaches 95 % of the success of always asking, or of the gap.

    Args:
        evaluation: has never and always asking, and the helper, on the split.
        split: its name.
        helper: the helper's name.
        of_gap: 95 % of the gap, in place of 95 % of the success of always asking.
    """
    results = evaluation.results(split)
    never, always = results.anchors
    points = [never, *results.points(helper), always]
    found = means(results.table, [(one, measure) for measure in ("usage", "success") for one in points])
    draws = _crossing(found[:, : len(points)], found[:, len(points) :], of_gap=of_gap)
    low, high = np.quantile(draws[1:], [0.025, 0.975], method="inverted_cdf")  # interpolates no infinite value
    return Estimate(float(draws[0]), float(low), float(high))


def _crossing(usage: Floats, success: Floats, *, of_gap: bool) -> Floats:
    """``(B,)`` usages at which curves ``(B, m)`` from never to always first reach the wanted success.

    Infinite where always asking has no success, or does not help.
    """
    never, always = success[:, 0], success[:, -1]
    wanted = never + ENOUGH * (always - never) if of_gap else ENOUGH * always
    order = np.argsort(usage, axis=1, kind="stable")
    x = np.take_along_axis(usage, order, axis=1)
    y = isotonic(np.take_along_axis(success, order, axis=1))
    enough = y >= wanted[:, None] - 1e-12
    right = np.argmax(enough, axis=1)
    left = np.maximum(right - 1, 0)
    each = np.arange(len(x))
    x0, x1, y0, y1 = x[each, left], x[each, right], y[each, left], y[each, right]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.where(y1 > y0, x0 + (x1 - x0) * (wanted - y0) / (y1 - y0), x1)
    return np.where(enough.any(axis=1) & (always > 0), at, np.inf)


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
