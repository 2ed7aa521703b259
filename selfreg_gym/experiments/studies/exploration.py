"""Exploration: a second round of collection where fitted values are uncertain, against random help at equal totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.exploring import RULES
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.second_round import RANDOM, second_round
from selfreg_gym.experiments.tables import comparison_table, difference_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.values import FITTED, fit_helper, values_of
from selfreg_gym.helper import HelperKey
from selfreg_gym.pipeline.candidates import build_helper
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Exploration"]

FIRST = "first-round"
SECOND = (RANDOM, *RULES)


class Exploration(Experiment):
    """Two rounds of collection; the second one is random, or directed by the values that the first one gave."""

    title = "Exploration: a second round of collection where the values are uncertain"
    question = """
Collection with random help is undirected. A second round can use what the first one taught: fitted values with an
ensemble of networks. *disagreement*: each episode draws a price of the grid; where the networks disagree about the
sign of the gain at this price, help is given with probability 1/2, elsewhere the best action is taken. *posterior*:
each episode draws a price and one network, and follows this network (posterior sampling). Both take a random action
in one step of ten, so that every action keeps support. They are compared with a second round of random help at an
equal *total* number of rollouts: values are fitted to both rounds together, and their helper is calibrated and
evaluated on new tasks. The helper of the first round alone shows what a second round is worth.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """References once; the first round and every second round for each seed."""
        return Cell("references", shared=True), *(Cell(name) for name in (FIRST, *SECOND))

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Collect the second round, fit to both rounds, calibrate and evaluate."""
        splits = ends_of(trial.config)[-1:]
        if cell == "references":
            return trial.compare(["never", "always", "random"], splits=splits, seeded=False)
        values, budgets = values_of(trial), trial.config.evaluate.budgets
        with trial.rollouts() as rollouts:
            first = list(rollouts.episodes())
        second = (
            []
            if cell == FIRST
            else second_round(trial, values, cell, actor=first[0].steps[0].actor_logprobs is not None)
        )
        if cell == FIRST:
            built = build_helper(trial.run("collect"), FITTED, budgets)
        else:
            built = dict.fromkeys(budgets, fit_helper(trial, [*first, *second], values))
        helpers = {HelperKey(cell, budget, trial.seed): helper for budget, helper in built.items()}
        used = second or first
        about = {
            "episodes": len(first) + len(second),
            "usage": float(np.mean([episode.cost for episode in used])),
            "help": float(np.mean([step.action > 0 for episode in used for step in episode.decisions])),
            "success": float(np.mean([episode.success for episode in used])),
        }
        return {**trial.played(trial.calibrated(helpers), splits=splits), "collected": about}

    def findings(self, results: Results) -> Findings:
        """Shares, and differences to a second round of random help."""
        budgets, split = results.config.evaluate.budgets, ends_of(results.config)[-1]
        names = (FIRST, *SECOND)
        rows = []
        for name in names:
            row: dict[str, Any] = {"helper": f"`{name}`"}
            for figure in ("episodes", "usage", "help"):
                row[figure] = results.values(name, "collected", figure)
            for budget in budgets:
                row[f"share_{budget:g}"] = share_of(results, split, name, budget)
                row[f"lead_{budget:g}"] = (
                    None if name == RANDOM else difference_of(results, split, name, RANDOM, budget)
                )
            rows.append(row)
        columns = [
            Column("helper", "second round"),
            Column("episodes", "rollouts in all", digits=0),
            Column("usage", "usage of the last round"),
            Column("help", "decisions with help", "%", 0),
            *(Column(f"share_{budget:g}", f"share of the gap, C = {budget:g}", "%", 0) for budget in budgets),
            *(Column(f"lead_{budget:g}", f"success minus random help, C = {budget:g}", "%", 0) for budget in budgets),
        ]
        note = "Differences in success are paired, at the usage of the helper in the row."
        figure = against_usage(results.evaluation, results.config, splits=[split], helpers=names)
        return Findings(
            statements=[_statement(results, split, budget) for budget in budgets],
            tables=(
                Table("rounds", "Two rounds of collection", columns, rows, note),
                comparison_table(results, splits=[split], helpers=["never", "always", *names], budgets=budgets),
            ),
            plots=[Plot("curves", "Success rate against usage; means over seeds.", figure)],
        )


def _statement(results: Results, split: str, budget: float) -> str:
    shares = ", ".join(
        f"{name} {100 * share_of(results, split, name, budget).value:.0f} %" for name in (FIRST, *SECOND)
    )
    return f"{split_title(results.config, split)}, C = {budget:g}: share of the gap by second round: {shares}."
