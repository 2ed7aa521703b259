"""Online: reinforcement learners that spend as many interventions as a collection, against fitted values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym import registry
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, difference_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.values import FITTED, values_of
from selfreg_gym.helper import HelperKey
from selfreg_gym.pipeline.candidates import build_helper
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Online"]

LEARNERS = ("ppo", "dqn", "maskable-ppo", "recurrent-ppo")
OFFLINE = FITTED


class Online(Experiment):
    """Reinforcement learning on the env, at an equal number of interventions spent."""

    title = "Online: reinforcement learning at equal numbers of interventions spent in training"
    question = """
Collection with random help spends interventions, and so does reinforcement learning, which asks while it learns. The
learners of Stable-Baselines3 read the same inputs as fitted values do (the encoder is fitted to the collected
decisions), play the same training tasks, and stop when they have spent as many cost units as the collection did, or
after `rl.steps` decisions. They are trained at one help cost, `rl.help_cost`; MaskablePPO has the hard budget
`rl.cap`. Then every helper is calibrated to the same budgets and evaluated on new tasks.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """References once; fitted values and every learner for each seed."""
        return Cell("references", shared=True), Cell(OFFLINE), *(Cell(name) for name in LEARNERS)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Train, calibrate and evaluate a helper."""
        splits = ends_of(trial.config)[-1:]
        if cell == "references":
            return trial.compare(["never", "always", "random"], splits=splits, seeded=False)
        encoder, run, c = values_of(trial).encoder, trial.run("collect"), trial.config
        collected = _cost(trial)
        if cell == OFFLINE:
            built = build_helper(run, OFFLINE, c.evaluate.budgets)
            training: dict[str, Any] = {"spent": float(collected.sum()), "decisions": len(collected)}
        else:
            learner = registry.load("helpers", cell)
            learned = learner.train(
                run.env_kwargs(),
                tasks=range(c.collect.tasks),
                help_cost=c.rl.help_cost,
                steps=c.rl.steps,
                cap=c.rl.cap if learner.needs_cap else None,
                spend=float(collected.sum()),
                encoder=encoder,
                seed=c.rl.seed,
                progress=trial.progress,
            )
            built = dict.fromkeys(c.evaluate.budgets, learned)
            training = {"spent": learned.info["spent"], "decisions": learned.info["steps"]}
        helpers = {HelperKey(cell, budget, trial.seed): helper for budget, helper in built.items()}
        played = trial.played(trial.calibrated(helpers), splits=splits)
        return {**played, "training": {**training, "inputs": list(encoder.names)}}

    def findings(self, results: Results) -> Findings:
        """What was spent, and shares and differences at equal usage."""
        budgets, split = results.config.evaluate.budgets, ends_of(results.config)[-1]
        learned = (OFFLINE, *LEARNERS)
        rows = []
        for name in learned:
            row: dict[str, Any] = {"helper": f"`{name}`"}
            for figure in ("spent", "decisions"):
                row[figure] = results.values(name, "training", figure)
            for budget in budgets:
                row[f"share_{budget:g}"] = share_of(results, split, name, budget)
                row[f"lead_{budget:g}"] = (
                    None if name == OFFLINE else difference_of(results, split, name, OFFLINE, budget)
                )
            rows.append(row)
        columns = [
            Column("helper", "helper"),
            Column("spent", "cost units spent in training", digits=0),
            Column("decisions", "decisions in training", digits=0),
            *(Column(f"share_{budget:g}", f"share of the gap, C = {budget:g}", "%", 0) for budget in budgets),
            *(Column(f"lead_{budget:g}", f"success minus `{OFFLINE}`, C = {budget:g}", "%", 0) for budget in budgets),
        ]
        inputs = results.of(OFFLINE)[0]["training"]["inputs"]
        note = (
            f"Inputs: {', '.join(inputs)}. Differences in success are paired, at the usage of the learner. A learner "
            "that spent less reached `rl.steps` first."
        )
        figure = against_usage(results.evaluation, results.config, splits=[split], helpers=["random", *learned])
        helpers = ["never", "always", "random", *learned]
        return Findings(
            statements=[_statement(results, split, budget) for budget in budgets],
            tables=(
                Table("training", "Equal numbers of interventions", columns, rows, note),
                comparison_table(results, splits=[split], helpers=helpers, budgets=budgets),
            ),
            plots=[Plot("curves", "Success rate against usage; means over seeds.", figure)],
            notes=[
                "Calibration plays the same number of episodes per tried knob for every helper; the interventions that "
                "it spends are not counted.",
            ],
        )


def _cost(trial: Trial) -> np.ndarray:
    """``(T,)`` cost units of each decision of the collection."""
    with trial.rollouts() as rollouts:
        columns: dict[str, Any] = rollouts.columns("cost")
    return np.asarray(columns["cost"])


def _statement(results: Results, split: str, budget: float) -> str:
    shares = {name: share_of(results, split, name, budget).value for name in (OFFLINE, *LEARNERS)}
    rest = ", ".join(f"`{name}` {100 * shares[name]:.0f} %" for name in LEARNERS)
    return (
        f"{split_title(results.config, split)}, C = {budget:g}: fitted values recover {100 * shares[OFFLINE]:.0f} % of "
        f"the gap, {rest}."
    )
