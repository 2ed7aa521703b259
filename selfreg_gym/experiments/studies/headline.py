"""Headline: how many calls reach 95 % of the success of always asking, for each helper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym import registry
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.plots import against_usage, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.second_round import second_round
from selfreg_gym.experiments.tables import comparison_table, difference_of, measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.usage_needed import usage_reaching
from selfreg_gym.experiments.values import FITTED, fit_helper, fit_values, values_of
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.types import Episode

__all__ = ["Headline"]

BUDGETS = (1.0, 1.5, 2.0, 3.0)

STAGES = {
    "random": (),
    "actor-confidence": ("collect",),
    "actor-signals": ("collect", "fit-values"),
    "fitted": ("collect", "fit-values"),
    "lm": ("collect", "fit-values", "train-helper"),
    "dp-features": ("collect", "solve-features"),
}
"""Compared helper -> the stages of a run that it needs. Helpers that are not registered are left out; if the config
names helpers (``evaluate.helpers``), those that it does not name are left out, too."""

TWO_ROUNDS = "two-rounds"
"""The helper of values fitted to two rounds of collection, with as many rollouts in all as the other helpers."""

HELPERS = (*STAGES, TWO_ROUNDS)

RIVALS = (
    (TWO_ROUNDS, "fitted"),
    ("fitted", "actor-confidence"),
    ("lm", "actor-confidence"),
    ("lm", "actor-signals"),
    ("fitted", "lm"),
)
"""Pairs of helpers that are compared at equal usage."""


class Headline(Experiment):
    """The least usage at which a helper has 95 % of what always asking has."""

    title = "Headline: how many calls reach 95 % of always asking"
    question = """
Always asking succeeds most often and calls the intervention in every step. How many calls are enough for 95 % of its
success rate, and for 95 % of the gap between never and always asking? Each helper is calibrated to four budgets. Its
success as a function of usage is the isotonic regression of its points, from never to always asking; the first table
has the usage at which it first reaches the wanted success. The rollouts are as many as those of the demo. Evaluated
are the collected tasks with new seeds, and tasks of the other splits from index 1000 on.

`two-rounds` is `fitted` with another collection of the same size: values are fitted to the first half of each task's
rollouts, and in the other half each episode follows one of their networks at a price of the grid (posterior sampling,
see the experiment `exploration`).
"""
    full = (
        "calibrate.tasks=200",
        "calibrate.episodes=120",
        "calibrate.max_episodes=600",
        "evaluate.tasks=168",
        "evaluate.episodes=3",
    )

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The ends of the usage axis once, random help once, every other helper for each seed."""
        known = set(registry.names("helpers")) & set(config.evaluate.helpers or STAGES)
        return [
            Cell("ends", shared=True),
            *(Cell(name, shared=not stages) for name, stages in STAGES.items() if name in known),
            *([Cell(TWO_ROUNDS)] if FITTED in known and config.collect.episodes > 1 else []),
        ]

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Calibrate and evaluate a helper."""
        splits = list(trial.config.task.splits)
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        if cell == TWO_ROUNDS:
            return trial.played(trial.calibrated(_two_rounds(trial)), splits=splits)
        trial.run(*STAGES[cell])
        return trial.compare([cell], splits=splits, budgets=BUDGETS, seeded=bool(STAGES[cell]))

    def findings(self, results: Results) -> Findings:
        """Usages needed, and the curves."""
        splits = list(results.config.task.splits)
        rows = []
        for split in splits:
            found = results.evaluation.results(split)
            always = measure_of(results, split, "always", None, "usage")
            for helper in (name for name in HELPERS if name in found.helpers):
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
        helpers = ["never", "always", *HELPERS]
        rivals = [
            {
                "split": split_title(results.config, split),
                "pair": f"`{helper}` minus `{other}`",
                "budget": budget,
                "difference": difference_of(results, split, helper, other, budget),
            }
            for split in splits
            for helper, other in RIVALS
            if {helper, other} <= set(results.evaluation.results(split).helpers)
            for budget in BUDGETS
        ]
        tables = [table, comparison_table(results, splits=splits, helpers=helpers, budgets=BUDGETS)]
        if rivals:
            tables.append(_table_of_rivals(rivals))
        if expected := _expectations(results, results.config.task.collected):
            tables.append(_table_of_expectations(expected))
        figure = against_usage(results.evaluation, results.config, splits=splits, helpers=list(HELPERS))
        return Findings(
            statements=[_statement(results, rows, split) for split in splits],
            tables=tables,
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


def _two_rounds(trial: Trial) -> dict[HelperKey, Helper]:
    """The helper of two rounds at every budget. The encoder of its inputs is that of the run; it reads no outcome."""
    values = values_of(trial)
    with trial.rollouts() as rollouts:
        of_task: dict[int, list[Episode]] = {}
        for episode in rollouts.episodes():
            of_task.setdefault(episode.task_index, []).append(episode)
    first = [episode for episodes in of_task.values() for episode in episodes[::2]]  # of all help probabilities
    second = second_round(
        trial,
        fit_values(trial, first, values.encoder),
        "posterior",
        episodes=trial.config.collect.episodes // 2,
        actor=first[0].steps[0].actor_logprobs is not None,
    )
    helper = fit_helper(trial, [*first, *second], values)
    return {HelperKey(TWO_ROUNDS, budget, trial.seed): helper for budget in BUDGETS}


def _statement(results: Results, rows: Sequence[Mapping[str, Any]], split: str) -> str:
    title = split_title(results.config, split)
    own = sorted((row for row in rows if row["split"] == title), key=lambda row: row["success"].value)
    texts = [f"{row['helper']} {_number(row['success'])}" for row in own]
    always = own[0]["always"] if own else math.nan
    return f"{title}: calls for 95 % of the success of always asking ({always:.1f} calls): {', '.join(texts)}."


def _table_of_rivals(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = (
        Column("split", "split"),
        Column("pair", "helpers"),
        Column("budget", "C", digits=1),
        Column("difference", "difference in success", "%", 1),
    )
    note = "At the usage of the first helper, calibrated to C; the other one is read between its own points."
    return Table("rivals", "Differences in success at equal usage", columns, rows, note)


def _expectations(results: Results, split: str) -> list[dict[str, Any]]:
    """Expected and observed usage and success of the helpers that expect any, calibrated to each budget."""
    rows: list[dict[str, Any]] = []
    for helper in (name for name in STAGES if name in results.evaluation.results(split).helpers):
        for budget in BUDGETS:
            measures = ("expected_usage", "usage", "expected_success", "success_rate")
            row = {name: measure_of(results, split, helper, budget, name) for name in measures}
            if not math.isnan(row["expected_usage"].value):
                rows.append({"helper": f"`{helper}`", "budget": budget, **row})
    return rows


def _table_of_expectations(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = (
        Column("helper", "helper"),
        Column("budget", "C", digits=1),
        Column("expected_usage", "E[U]"),
        Column("usage", "U"),
        Column("expected_success", "E[SR]", "%", 1),
        Column("success_rate", "SR", "%", 1),
    )
    note = "Expected on the tasks of the rollouts, from folds of tasks; observed on these tasks with new seeds."
    return Table("expectations", "Expected and observed: collected tasks", columns, rows, note)


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
