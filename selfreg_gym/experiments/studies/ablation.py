"""Ablation: the language-model helper without facts, without the actor's signals, and with its text alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.experiments.gain_training import train_on_gains
from selfreg_gym.experiments.plots import against_usage, ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, difference_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import HelperKey
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Ablation"]

BUDGETS = (1.0, 2.0, 3.0)

HELPER, SIGNALS = "lm", "actor-signals"
"""The helper whose inputs are left out, and the small network on the actor's signals."""

FULL = "full"

VARIANTS = {FULL: "all inputs", "no-facts": "no facts", "no-signals": "no signals", "text-only": "text only"}
"""Cell -> what the helper of the cell reads."""


class Ablation(Experiment):
    """What the language-model helper gains from the facts in its prompt and from the actor's distribution."""

    title = "Ablation: the language-model helper without facts and without signals"
    question = """
The language-model helper reads the observation, the steps left and the calls so far. It is also told the facts (the
task's feature key, in its prompt and as numbers) and the signals (the actor's distribution over the actions). Here it
is trained four times on the gains of the same fitted values: with all inputs, without the facts, without the signals,
and with its prompt alone (the text, the steps left and the calls so far). In all variants, predicting the feature key
is an auxiliary task of the training, if the config has it (`helper.features`). The small network on the actor's signals
and the steps left (`actor-signals`) reads no text. Differences are paired: all helpers play the same episodes.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """References once; for each seed the variants and the network on signals."""
        return Cell("references", shared=True), *(Cell(name) for name in (*VARIANTS, SIGNALS))

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Train, calibrate and evaluate the helper of a cell; nothing if the rollouts lack what it reads."""
        splits = ends_of(trial.config)
        if cell == "references":
            return trial.compare(["never", "always", "random"], splits=splits, budgets=BUDGETS, seeded=False)
        known = _known_numbers(trial)
        if cell == SIGNALS:
            if "actor" not in known:
                return {"known": known}
            trial.run("collect", "fit-values")
            return {"known": known, **trial.compare([SIGNALS], splits=splits, budgets=BUDGETS)}
        inputs = {
            FULL: None,  # the default, as in a run
            "no-facts": [name for name in known if name != "features"],
            "no-signals": [name for name in known if name != "actor"],
            "text-only": [],
        }[cell]
        facts = trial.config.helper.facts and cell in (FULL, "no-signals")
        helper: Any = train_on_gains(trial, helper=HELPER, name=f"ablation-{cell}", inputs=inputs, facts=facts)
        helpers = {HelperKey(cell, budget, trial.seed): helper for budget in BUDGETS}
        return {
            "known": known,
            "inputs": known if inputs is None else inputs,
            "facts": facts,
            "r2": helper.info.get("r2"),
            **trial.played(trial.calibrated(helpers), splits=splits),
        }

    def findings(self, results: Results) -> Findings:
        """Shares of the gap, and the difference of each variant to the helper with all inputs."""
        splits = ends_of(results.config)
        evaluated = [one for one in (*VARIANTS, SIGNALS) if any("evaluation" in part for part in results.of(one))]
        rows = [
            {
                "split": split_title(results.config, split),
                "helper": VARIANTS.get(name, f"`{name}`"),
                "budget": budget,
                "share": share_of(results, split, name, budget),
                "difference": difference_of(results, split, FULL, name, budget),
            }
            for split in splits
            for name in evaluated
            for budget in BUDGETS
            if name != FULL
        ]
        columns = (
            Column("split", "split"),
            Column("helper", "helper"),
            Column("budget", "C", digits=1),
            Column("share", "share of the gap at C", "%", 0),
            Column("difference", "success of all inputs minus this", "%", 1),
        )
        table = Table(
            "differences", "Differences to the helper with all inputs", columns, rows,
            "At equal usage, that of the helper with all inputs; positive: the left-out inputs help.",
        )  # fmt: skip
        known = results.of(FULL)[0]["known"]
        missing = [name for name in ("actor", "features") if name not in known]
        helpers = ["never", "always", "random", *evaluated]
        return Findings(
            statements=[
                *(self._statement(results, split, evaluated) for split in splits),
                *(f"The rollouts have no input `{name}`: leaving it out changes nothing." for name in missing),
            ],
            tables=(table, comparison_table(results, splits=splits, helpers=helpers, budgets=BUDGETS)),
            plots=[
                Plot(
                    "curves",
                    "Success rate against usage; means over seeds.",
                    against_usage(
                        results.evaluation, results.config, splits=splits, helpers=helpers[2:], labels=VARIANTS
                    ),
                )
            ],
        )

    @staticmethod
    def _statement(results: Results, split: str, names: Sequence[str]) -> str:
        parts = [
            f"{VARIANTS.get(name, f'`{name}`')} "
            + " / ".join(f"{100 * share_of(results, split, name, budget).value:.0f}" for budget in BUDGETS)
            for name in names
        ]
        budgets = " / ".join(f"{budget:g}" for budget in BUDGETS)
        return f"{split_title(results.config, split)}: share of the gap in % at C = {budgets}: {'; '.join(parts)}."


def _known_numbers(trial: Trial) -> list[str]:
    """The inputs that the rollouts have, of those that the helper reads by default."""
    from selfreg_gym.inputs import DecisionTable

    trial.run("collect")
    with trial.rollouts() as rollouts:
        table = DecisionTable.from_rollouts(rollouts)
    known = {
        "features": bool((table.feature_key.codes >= 0).any()),
        "actor": table.actor_logprobs is not None and all(one is not None for one in table.actor_logprobs),
        "steps_left": bool((table.steps_left >= 0).any()),
        "calls_so_far": table.interventions > 0,
    }
    return [name for name, has in known.items() if has]
