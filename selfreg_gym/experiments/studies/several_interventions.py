"""Several interventions: do they beat the better one at equal cost? Complementarity, clash and estimation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from selfreg_gym.errors import ConfigError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.decomposition import PairForks, decomposition_tables, first_pairs
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.plots import against_usage, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import difference_of, measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.values import FITTED, fit_helper, values_of
from selfreg_gym.forks import choose_rows, fork, stored_states
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.pipeline.candidates import build_helper, interventions_of
from selfreg_gym.pipeline.config import RunConfig, from_dict, to_dict

__all__ = ["SeveralInterventions"]

TOGETHER, FORKS = "together", "forks"
HALF = " (half the rollouts)"
REPETITIONS = 12
"""Continuations of each state and pair of first actions."""


class SeveralInterventions(Experiment):
    """All interventions of the config together, and each of them alone, at equal cost."""

    title = "Several interventions: together against the better one at equal cost"
    question = """
Do several interventions beat the better one at equal cost? Values are fitted to as many rollouts of each set of
interventions: all together (random help asks each of them equally often), and each one alone. The helper that follows
them is calibrated to the same budgets, in cost units, and plays the same new tasks. The difference is decomposed.
*Complementarity*: at states where help is worth its price, episodes are continued with each first action, and then
without help. How much more is the best intervention of each state worth than the best single one? *Clash*: the value of
a call after a call of another intervention, minus its value after a call of the same one, from continuations of the
same state. *Estimation*: all actions share the rollouts; the same helpers from half of the rollouts show what more data
are worth.
"""
    defaults = ("interventions.ids=['expert', 'strong']", "interventions.kwargs={strong={cost=0.3}}")
    full = (*Experiment.full, "evaluate.budgets=[0.5, 1.0, 2.0]")
    quick = (*Experiment.quick, "evaluate.budgets=[1.0]")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The ends of the usage axis once; all interventions, each alone, and the forks for each seed.

        Raises:
            ConfigError: the config has one intervention.
        """
        names = config.interventions.names
        if len(names) < 2:
            raise ConfigError(
                f"this experiment compares several interventions, and the config has one ({names[0]}): name two or "
                "more in interventions.ids."
            )
        return Cell("ends", shared=True), Cell(TOGETHER), *(Cell(_alone(name)) for name in names), Cell(FORKS)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Fit, calibrate and evaluate a set of interventions; or continue states."""
        splits = _new_splits(trial.config)
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        if cell == FORKS:
            return _forks(trial)
        own = trial if cell == TOGETHER else replace(trial, config=_with_one(trial.config, cell))
        values, budgets = values_of(own), trial.config.evaluate.budgets
        with own.rollouts() as rollouts:
            episodes = list(rollouts.episodes())
        helpers: dict[HelperKey, Helper] = {}
        for budget, helper in build_helper(own.run("collect", "fit-values"), FITTED, budgets).items():
            helpers[HelperKey(cell, budget, trial.seed)] = helper
        half = fit_helper(own, episodes[::2], values)
        helpers |= {HelperKey(cell + HALF, budget, trial.seed): half for budget in budgets}
        expected = {f"{budget:g}": values.policy(budget).expected_success for budget in budgets}
        return {
            **own.played(own.calibrated(helpers), splits=splits),
            "rollouts": len(episodes),
            "held_out_success": expected,
        }

    def findings(self, results: Results) -> Findings:
        """The comparison at equal cost, and its three parts."""
        config = results.config
        names, budgets, splits = config.interventions.names, config.evaluate.budgets, _new_splits(config)
        sets = (TOGETHER, *map(_alone, names))
        comparison = _comparison(results, names, splits)
        tables = [
            comparison,
            _usage_table(results, names, splits),
            _estimation_table(results, sets, splits),
            *decomposition_tables(results.of(FORKS), names, budgets, repetitions=REPETITIONS),
        ]
        figure = against_usage(
            results.evaluation, config, splits=splits, helpers=sets, labels={one: one for one in sets}
        )
        statements = [_statement(results, names, split, budget) for split in splits for budget in budgets]
        return Findings(
            statements=statements,
            tables=tables,
            plots=[Plot("curves", "Success rate against usage in cost units; means over seeds.", figure)],
            published=[
                Published(
                    "do several interventions beat the better one at equal cost?",
                    "an open question",
                    statements[-1],
                    "arXiv 2502.04576",
                )
            ],
            notes=[
                "Values of calls in the last two tables are those of calls that are followed by no further help, at "
                "stored states where the fitted values of the whole set ask at the largest of the prices.",
                "A set with a cheap intervention alone cannot use up a budget above its cost of always asking.",
            ],
        )


def _alone(name: str) -> str:
    return f"{name} alone"


def _new_splits(config: RunConfig) -> list[str]:
    """The splits of new tasks; the collected one if there is no other."""
    return [split for split in config.task.splits if split != config.task.collected] or [config.task.collected]


def _with_one(config: RunConfig, cell: str) -> RunConfig:
    """The config with the intervention of a cell alone."""
    names = config.interventions.names
    i = [_alone(name) for name in names].index(cell)
    kwargs = config.interventions.kwargs
    table = to_dict(config)
    table["interventions"] = {
        "ids": [config.interventions.ids[i]],
        "kwargs": {names[i]: kwargs[names[i]]} if names[i] in kwargs else {},
    }
    table["collect"] = {**table["collect"], "help_shares": []}
    return from_dict(table)


def _forks(trial: Trial) -> dict[str, Any]:
    """Continue states where the values of all interventions ask at the smallest budget's price."""
    run, values, c = trial.run("collect", "fit-values"), values_of(trial), trial.config
    costs = [cost for _, cost in interventions_of(run)]
    prices = {f"{budget:g}": _price_at(values, budget) for budget in c.evaluate.budgets}
    with trial.rollouts() as rollouts:
        columns: dict[str, Any] = rollouts.columns("state_key", "steps_left", "continuation")
        advantage = values.advantage(values.encoder.encode(DecisionTable.from_rollouts(rollouts)), max(prices.values()))
        decisions = np.flatnonzero(~columns["continuation"])
        gain = np.full(len(columns["steps_left"]), np.nan)
        gain[decisions] = advantage.max(axis=1)
        count = max(4, c.evaluate.tasks // 2)
        least = 1e-6 if (advantage > 1e-6).any() else None
        rows = choose_rows(columns, count, seed=c.collect.seed, gain=gain, least=least)
        states = stored_states(rollouts, rows)
    folder = trial.work("forks")
    found = fork(
        run.env_kwargs(),
        states,
        first_actions=first_pairs(len(costs)),
        repetitions=REPETITIONS,
        seed=c.collect.seed,
        num_envs=c.collect.num_envs,
        workers=c.collect.workers,
        resume=None if folder is None else folder / "forks.json",
        progress=trial.progress,
    )
    asked = float((advantage.max(axis=1) > 1e-6).mean())
    return {"pairs": PairForks.of(found, costs).to_json(), "prices": prices, "asked": asked}


def _price_at(values: Any, budget: float) -> float:
    """The price at which the held-out usage is the budget, between the prices of the estimates."""
    e = values.estimates
    return float(np.interp(budget, e.usage[: e.never][::-1], e.prices[::-1]))


def _comparison(results: Results, names: Sequence[str], splits: Sequence[str]) -> Table:
    """Success of each set at each budget, and the differences at equal usage."""
    rows = []
    for split in splits:
        for budget in results.config.evaluate.budgets:
            row: dict[str, Any] = {"split": split_title(results.config, split), "budget": budget}
            row["usage"] = measure_of(results, split, TOGETHER, budget, "usage")
            row["together"] = measure_of(results, split, TOGETHER, budget, "success_rate")
            for i, name in enumerate(names):
                row[f"alone_{i}"] = measure_of(results, split, _alone(name), budget, "success_rate")
                row[f"usage_{i}"] = measure_of(results, split, _alone(name), budget, "usage")
                row[f"lead_{i}"] = difference_of(results, split, TOGETHER, _alone(name), budget)
            rows.append(row)
    columns = [
        Column("split", "split"),
        Column("budget", "C", digits=1),
        Column("usage", "usage together"),
        Column("together", "success together", "%", 1),
        *(
            column
            for i, name in enumerate(names)
            for column in (
                Column(f"usage_{i}", f"usage of {name} alone"),
                Column(f"alone_{i}", f"success of {name} alone", "%", 1),
            )
        ),
        *(Column(f"lead_{i}", f"together minus {name} alone", "%", 1) for i, name in enumerate(names)),
    ]
    note = (
        "Usage in cost units per episode. Differences are paired and at equal usage, that of all interventions "
        "together; the other set is read between its own points, and beyond the last of them on the line to always "
        "asking the most expensive intervention."
    )
    return Table("equal_cost", "Success at equal cost", columns, rows, note)


def _usage_table(results: Results, names: Sequence[str], splits: Sequence[str]) -> Table:
    """Calls and cost units of each intervention."""
    rows = []
    for split in splits:
        for budget in results.config.evaluate.budgets:
            row: dict[str, Any] = {"split": split_title(results.config, split), "budget": budget}
            for i in range(len(names)):
                for what in ("calls", "usage"):
                    row[f"{what}_{i}"] = results.estimate(
                        lambda found: _of_intervention(found, split, budget, what, i)  # noqa: B023
                    ).value
            rows.append(row)
    columns = [
        Column("split", "split"),
        Column("budget", "C", digits=1),
        *(Column(f"calls_{i}", f"calls of {name}") for i, name in enumerate(names)),
        *(Column(f"usage_{i}", f"cost units for {name}") for i, name in enumerate(names)),
    ]
    return Table("calls", "Whom the helper of all interventions asks", columns, rows, "Means per episode.")


def _of_intervention(found: Evaluation, split: str, budget: float, what: str, i: int) -> Estimate:
    rows = (
        one for one in found.summary_rows if (one["split"], one["helper"], one["budget"]) == (split, TOGETHER, budget)
    )
    values: Any = next(rows)[f"{what}_by_intervention"]  # type: ignore[literal-required]
    return Estimate(float(values[i]), np.nan, np.nan)


def _estimation_table(results: Results, sets: Sequence[str], splits: Sequence[str]) -> Table:
    """What the second half of the rollouts is worth to each set."""
    rows = [
        {
            "split": split_title(results.config, split),
            "set": name,
            "budget": budget,
            "rollouts": results.values(name, "rollouts").value,
            "half": measure_of(results, split, name + HALF, budget, "success_rate"),
            "all": measure_of(results, split, name, budget, "success_rate"),
            "more": difference_of(results, split, name, name + HALF, budget),
            "half_alone": None if name == TOGETHER else difference_of(results, split, TOGETHER, name + HALF, budget),
        }
        for split in splits
        for name in sets
        for budget in results.config.evaluate.budgets
    ]
    columns = (
        Column("split", "split"),
        Column("set", "interventions"),
        Column("budget", "C", digits=1),
        Column("rollouts", "rollouts", digits=0),
        Column("half", "success, half of them", "%", 1),
        Column("all", "success, all of them", "%", 1),
        Column("more", "all minus half", "%", 1),
        Column("half_alone", "all together minus this set from half", "%", 1),
    )
    note = (
        "Differences are paired and at equal usage. With two interventions, half of the rollouts of one alone have "
        "about as many calls of it as all rollouts together."
    )
    return Table("estimation", "Estimation: all actions share the rollouts", columns, rows, note)


def _statement(results: Results, names: Sequence[str], split: str, budget: float) -> str:
    """The answer at a budget; the better single intervention is that with the larger held-out success."""
    better = max(names, key=lambda name: results.values(_alone(name), "held_out_success", f"{budget:g}").value)
    lead = difference_of(results, split, TOGETHER, _alone(better), budget)
    verdict = "better" if lead.low > 0 else "worse" if lead.high < 0 else "no difference is shown"
    points = f"{100 * lead.value:+.1f} points [{100 * lead.low:.1f}, {100 * lead.high:.1f}]"
    return (
        f"{split_title(results.config, split)}, C = {budget:g}: success of all interventions together minus that of "
        f"{better} alone, the better one by held-out success: {points}, {verdict}."
    )
