"""Budget sweep: promised and observed usage at every budget, and one helper for all budgets against one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.label_training import train_on_labels
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results, over_seeds
from selfreg_gym.experiments.tables import comparison_table, measure_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.values import FITTED
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.labels import label
from selfreg_gym.pipeline.candidates import build_helper
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.solver import Frontier
from selfreg_gym.transitions import TransitionModel

__all__ = ["BudgetSweep"]

ONE, EACH = "one-for-all", "one-per-budget"

PROMISING = {"dp": ("collect", "fit", "solve"), FITTED: ("collect", "fit-values")}
"""Policy that expects a usage and a success -> the stages of a run that it needs."""

TRAINED = "lm-sft"
"""The helper that is trained on the labels."""


class BudgetSweep(Experiment):
    """The optimal policy of the fitted model at four budgets, and a trained helper with the budget in its prompt."""

    title = "Budget sweep: what is promised, what is used, and one helper for all budgets"
    question = """
The optimal policy of the fitted transition model promises an expected usage E[U] and an expected success E[SR] at
each budget C, and so do fitted values, from folds of tasks that they were not fitted to. Both policies are played on
the collected tasks with new seeds, without a calibration, and the promises are compared with what is observed.

Then a language-model helper is fine-tuned on the labels of the optimal policy in two ways: one helper with the budget
in its prompt, trained on the labels of all budgets, and one helper for each budget, trained on the labels of this
budget alone. They are evaluated on the last split (new tasks). Each of the helpers for one budget sees as many labels
of its budget as the common helper does.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """References once; for each seed the two policies, the common helper, and the helpers for one budget."""
        return Cell("references", shared=True), *(Cell(name) for name in PROMISING), Cell(ONE), Cell(EACH)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Train, calibrate and evaluate the helpers of a cell."""
        splits = ends_of(trial.config)
        if cell == "references":
            return trial.compare(["never", "always", "random"], splits=splits, seeded=False)
        if cell in PROMISING:
            return self._promised(trial, cell, splits)
        run, budgets = trial.run("collect", "fit", "solve"), trial.config.evaluate.budgets
        model = TransitionModel.load(run.path / "transitions.npz")
        frontier = Frontier.load(run.path / "solution.npz", model)
        helpers: dict[HelperKey, Helper] = {}
        trained: dict[str, Any] = {}
        c = trial.config
        with trial.rollouts() as rollouts:
            sets = {ONE: budgets} if cell == ONE else {f"{EACH}-{budget:g}": (budget,) for budget in budgets}
            for name, some in sets.items():
                labels = label(rollouts, frontier, model=model, budgets=some, scope=c.label.scope)
                share = -(-c.helper.max_labels * len(some) // len(budgets))
                helper: Any = train_on_labels(trial, labels, helper=TRAINED, name=name, max_labels=share)
                trained[name] = {
                    "labels": len(labels),
                    **{key: helper.info.get(key) for key in ("trained_on", "steps")},
                }
                for budget in some:
                    helpers[HelperKey(cell, budget, trial.seed)] = helper.with_budget(budget)
        return {**trial.played(trial.calibrated(helpers), splits=splits[-1:]), "trained": trained}

    def _promised(self, trial: Trial, name: str, splits: Sequence[str]) -> dict[str, Any]:
        """A policy at every budget, as solved, and what it expects."""
        run, budgets = trial.run(*PROMISING[name]), trial.config.evaluate.budgets
        built = build_helper(run, name, budgets)
        helpers = {HelperKey(name, budget, trial.seed): helper for budget, helper in built.items()}
        promised = {
            f"{budget:g}": {"usage": helper.expected_usage, "success": helper.expected_success}
            for budget, helper in built.items()
        }
        return {**trial.played(helpers, splits=splits[:1]), "promised": promised}

    def findings(self, results: Results) -> Findings:
        """E[U] and E[SR] against U and SR, and the two ways to train."""
        splits, budgets = ends_of(results.config), results.config.evaluate.budgets
        helpers = ["never", "always", "random", ONE, EACH, *PROMISING]
        promises = [self._promise(results, splits[0], name, budget) for name in PROMISING for budget in budgets]
        number = (
            Column("helper", "policy"),
            Column("budget", "C", digits=1),
            Column("promised_usage", "E[U]"),
            Column("usage", "U"),
        )
        shares = tuple(
            Column(name, title, "%", 0)
            for name, title in (("promised_success", "E[SR]"), ("success", "SR"), ("difference", "E[SR] - SR"))
        )
        tables = (
            Table(
                "promises",
                f"Promises: {split_title(results.config, splits[0])}",
                (*number, Column("over", "E[U] - U"), *shares),
                promises,
                "E[U] and E[SR] of `dp` are those of the model, on the rollouts to which it was fitted; those of "
                f"`{FITTED}` are held out.",
            ),
            comparison_table(results, splits=splits, helpers=helpers, budgets=budgets, title="All helpers"),
            self._trainings(results),
        )
        figure = against_usage(
            results.evaluation, results.config, splits=splits, helpers=helpers[2:],
            labels={ONE: "one helper for all budgets", EACH: "one helper per budget"},
        )  # fmt: skip
        statements = [
            f"{row['helper']} promises E[U] = {row['promised_usage'].value:.2f} at C = {row['budget']:g} and uses "
            f"{row['usage'].value:.2f}; it promises a success rate of {100 * row['promised_success'].value:.0f} % "
            f"and has {100 * row['success'].value:.0f} %."
            for row in promises
        ]
        for split in splits[-1:]:
            texts = []
            for budget in budgets:
                one, each = (100 * share_of(results, split, name, budget).value for name in (ONE, EACH))
                texts.append(f"{one:.0f} against {each:.0f} % at C = {budget:g}")
            statements.append(
                f"{split_title(results.config, split)}: one helper for all budgets recovers {', '.join(texts)} of the "
                "gap, compared with one helper per budget."
            )
        return Findings(
            statements=statements,
            tables=tables,
            plots=[Plot("curves", "Success rate against usage; means over seeds.", figure)],
            published=[
                Published(
                    "expected and observed usage of the DP policy",
                    "E[U] 0.76, U 0.69",
                    ", ".join(
                        f"E[U] {row['promised_usage'].value:.2f}, U {row['usage'].value:.2f} at C = {row['budget']:g}"
                        for row in promises[: len(budgets)]
                    ),
                    "arXiv 2502.04576",
                )
            ],
        )

    def _promise(self, results: Results, split: str, helper: str, budget: float) -> dict[str, Any]:
        """A row of the table of promises; differences are taken by seed."""
        found: dict[str, Any] = {"helper": f"`{helper}`", "budget": budget}
        for name, measure in (("usage", "usage"), ("success", "success_rate")):
            promised = [one["promised"][f"{budget:g}"][name] for one in results.of(helper)]
            found[name] = measure_of(results, split, helper, budget, measure)
            found[f"promised_{name}"] = over_seeds(promised)
            difference = found[f"promised_{name}"].value - found[name].value
            half = (found[name].high - found[name].low) / 2
            found["over" if name == "usage" else "difference"] = Estimate(
                difference, difference - half, difference + half
            )
        return found

    def _trainings(self, results: Results) -> Table:
        rows = []
        for cell in (ONE, EACH):
            names = list(results.of(cell)[0]["trained"])
            for name in names:
                row: dict[str, Any] = {"training": name}
                for figure in ("labels", "trained_on", "steps"):
                    values = [one["trained"][name][figure] for one in results.of(cell)]
                    row[figure] = None if None in values else round(sum(values) / len(values))
                rows.append(row)
        columns = (
            Column("training", "training"), Column("labels", "labels"), Column("trained_on", "drawn labels"),
            Column("steps", "steps"),
        )  # fmt: skip
        return Table("trainings", "Trainings", columns, rows, "Means over seeds.")
