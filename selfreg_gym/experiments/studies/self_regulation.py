"""Self-regulation: thresholds on p(s) that are applied at each state, or once per task, against the optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, difference_of, measure_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.values import FITTED
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["SelfRegulation"]

PER_STATE, PER_TASK, OPTIMUM, RANDOM = "prm-threshold", "prm-per-task", "dp", "random"

NAMES = {
    PER_STATE: "the threshold per state",
    PER_TASK: "the threshold once per task",
    OPTIMUM: "the optimal policy of the fitted model",
    FITTED: "fitted values",
}

PAIRS = (
    (PER_STATE, PER_TASK),
    (PER_STATE, RANDOM),
    *((a, b) for a in (PER_STATE, PER_TASK) for b in (OPTIMUM, FITTED)),
)
"""Helpers that are compared at equal usage."""


class SelfRegulation(Experiment):
    """Help where p(s) is below a threshold: decided at each state, or once per task."""

    title = "Self-regulation: a threshold on p(s), per state and per task"
    question = """
A process reward model predicts p(s), the probability that the actor succeeds alone from state s. The simplest helper
asks where p(s) is below a threshold. Applied at each state it toggles: help raises p(s) above the threshold, help
stops, and p(s) falls again. Applied once per task, at the first observation, it gives help in all steps of an episode
or in none.

Both are compared, at the same budgets C, with random help, with the optimal policy of the fitted transition model,
and with fitted values. The optimal policy knows the collected tasks by the keys of their states, so it is evaluated
on these alone: on new tasks it exceeds its budget. Fitted values do not read the name of the task.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The references are measured once; thresholds, optimum and fitted values for each seed."""
        return Cell("references", shared=True), Cell("thresholds"), Cell("optimum"), Cell("values")

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Calibrate and evaluate the helpers of a cell."""
        splits = ends_of(trial.config)
        if cell == "references":
            return trial.compare(["never", "always", RANDOM], splits=splits, seeded=False)
        if cell == "thresholds":
            trial.run("collect", "train-prm")
            return trial.compare([PER_STATE, PER_TASK], splits=splits)
        if cell == "values":
            trial.run("collect", "fit-values")
            return trial.compare([FITTED], splits=splits)
        trial.run("collect", "fit", "solve")
        return trial.compare([OPTIMUM], splits=splits[:1])

    def findings(self, results: Results) -> Findings:
        """Shares, switches, and differences at equal usage."""
        budgets, splits = results.config.evaluate.budgets, ends_of(results.config)
        helpers = ["never", "always", RANDOM, *NAMES]
        differences = []
        for split in splits:
            for helper, other in PAIRS:
                if not {helper, other} <= set(results.evaluation.results(split).helpers):
                    continue
                for budget in budgets:
                    row = {
                        "split": split_title(results.config, split),
                        "pair": f"`{helper}` minus `{other}`",
                        "budget": budget,
                    }
                    for measure in ("success", "switches"):
                        row[measure] = difference_of(results, split, helper, other, budget, measure=measure)
                    differences.append(row)
        columns = (
            Column("split", "split"),
            Column("pair", "difference"),
            Column("budget", "C", digits=1),
            Column("success", "success rate", "%", 0),
            Column("switches", "switches per episode"),
        )
        tables = (
            comparison_table(results, splits=splits, helpers=helpers, budgets=budgets),
            Table(
                "differences",
                "Differences at equal usage",
                columns,
                differences,
                "Paired over the same episodes; the second helper is read at the usage of the first one.",
            ),
        )
        figure = against_usage(
            results.evaluation, results.config, splits=splits, helpers=helpers[2:], measures=("success", "switches")
        )
        return Findings(
            statements=[_statement(results, split, budget) for split in splits for budget in budgets],
            tables=tables,
            plots=[Plot("curves", "Success rate and switches against usage; means over seeds.", figure)],
            published=_published(results, splits),
        )


def _statement(results: Results, split: str, budget: float) -> str:
    """One sentence about a budget."""
    parts = []
    for helper, name in NAMES.items():
        if helper not in results.evaluation.results(split).helpers:
            continue
        share = share_of(results, split, helper, budget)
        switches = measure_of(results, split, helper, budget, "switches")
        parts.append(f"{name} {_percent(share.value)} ({switches.value:.1f})")
    title = split_title(results.config, split)
    return f"{title}, C = {budget:g}: share of the gap (and switches per episode): {', '.join(parts)}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == share else "unknown"


def _published(results: Results, splits: Sequence[str]) -> list[Published]:
    """The published usage and success of the optimal policy at C = 1."""
    budget = 1.0
    if budget not in results.config.evaluate.budgets:
        return []
    success = measure_of(results, splits[0], OPTIMUM, budget, "success_rate")
    usage = measure_of(results, splits[0], OPTIMUM, budget, "usage")
    always = measure_of(results, splits[0], "always", None, "success_rate")
    most = measure_of(results, splits[0], "always", None, "usage")
    return [
        Published(
            "success at about one intervention per task, against always intervening",
            "62.5 % at 1.0 calls, comparable to intervening at every step (about 8 calls)",
            f"{100 * success.value:.1f} % at {usage.value:.2f} calls, {100 * always.value:.1f} % at {most.value:.2f} "
            "calls (optimal policy of the fitted model, collected tasks)",
            "arXiv 2502.04576",
        )
    ]
