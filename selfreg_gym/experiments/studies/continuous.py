"""Continuous states: a table of keys, fitted values and deep averagers, against the number of episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from selfreg_gym import registry
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.experiments.plots import ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, measure_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import fit_decisions, logged_decisions
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.inputs import DecisionTable, InputEncoder
from selfreg_gym.pipeline.candidates import interventions_of
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.schema import ValuesConfig
from selfreg_gym.solver import solve_frontier
from selfreg_gym.store.columns import Coded
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode

__all__ = ["Continuous"]

BUDGETS = (0.5, 1.0, 1.5, 2.0, 3.0)
SHOWN = (1.0, 2.0)
FEWEST = 40
"""Smallest number of episodes that is fitted to."""

METHODS = {
    "table": "table of feature keys and steps left",
    "fitted": "fitted values",
    "averagers": "deep averagers on fitted values",
    "averagers-inputs": "deep averagers on the inputs",
}
"""Prefix of a helper's name -> its description. The table reads keys; the others read the vector and steps left."""


class Continuous(Experiment):
    """What replaces a table where the state is a vector of numbers."""

    title = "Continuous states: a table of keys, fitted values and deep averagers"
    question = """
A task with continuous states has no keys to count. The household task can also report what the robot knows as a
vector of positions, distances, clocks and beliefs. From this vector and the number of steps left, *fitted values*
regress success and usage at all prices, and *deep averagers* solve a finite model over the collected decisions
exactly: what follows a decision is an average over its nearest neighbours, either in the values of the fitted
networks or in the standardised inputs. The *table* counts transitions between feature keys and steps left, which are
made by hand for this task, and is the reference. All are fitted to the same random subsets of the rollouts. They are
played at the budgets 0.5, 1, 1.5, 2 and 3 without a calibration; shares of the gap are read at usage C between these
points.
"""
    full = (*Experiment.full, "task.kwargs={vector=true}")
    quick = (*Experiment.quick, "task.kwargs={vector=true}")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """Never and always once; a cell for each number of episodes."""
        return Cell("ends", shared=True), *(Cell(f"episodes-{count}") for count in sizes(config))

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Fit all methods to some of the episodes, and play their policies."""
        splits = ends_of(trial.config)
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        count = int(cell.rpartition("-")[2])
        with trial.rollouts() as rollouts:
            rollouts.require_complete()
            episodes = [one for one in rollouts.episodes() if one.error is None and one.steps]
        chosen = np.sort(np.random.default_rng(trial.seed).permutation(len(episodes))[:count])
        some = [episodes[i] for i in chosen.tolist()]
        costs = [cost for _, cost in interventions_of(trial.run("collect"))]
        promised: dict[str, dict[str, list[float]]] = {}
        helpers: dict[HelperKey, Helper] = {}
        for method, helper in fitted_helpers(some, costs, trial.config.values, progress=trial.progress):
            promised[method] = {"usage": [], "success": []}
            for budget in BUDGETS:
                own: Any = helper(budget)
                helpers[HelperKey(f"{method}-{count}", budget, trial.seed)] = own
                promised[method]["usage"].append(float(own.expected_usage))
                promised[method]["success"].append(float(own.expected_success))
        return {**trial.played(helpers, splits=splits), "promised": promised}

    def findings(self, results: Results) -> Findings:
        """Shares against episodes, and promises against what was played."""
        splits, counts = ends_of(results.config), sizes(results.config)
        methods = [one for one in METHODS if one in results.of(f"episodes-{counts[-1]}")[0]["promised"]]
        shares = []
        for split in splits:
            for method in methods:
                for count in counts:
                    row: dict[str, Any] = {"split": split_title(results.config, split), "method": METHODS[method]}
                    row |= {f"at {c:g}": share_of(results, split, f"{method}-{count}", c) for c in SHOWN}
                    shares.append({**row, "episodes": count, "name": method, "of": split})
        columns = (
            Column("split", "split"), Column("method", "method"), Column("episodes", "episodes"),
            *(Column(f"at {c:g}", f"share of the gap at C = {c:g}", "%", 0) for c in SHOWN),
        )  # fmt: skip
        names = [f"{method}-{counts[-1]}" for method in methods]
        return Findings(
            statements=[
                f"{split_title(results.config, split)}, {counts[-1]} episodes, C = 1: "
                + ", ".join(
                    f"{METHODS[row['name']]} {100 * row['at 1'].value:.0f} %"
                    for row in shares
                    if row["of"] == split and row["episodes"] == counts[-1]
                )
                + " of the gap."
                for split in splits
            ],
            tables=(
                Table("shares", "Shares of the gap", columns, shares),
                _promises(results, splits[0], methods, counts[-1]),
                comparison_table(
                    results,
                    splits=splits,
                    helpers=["never", "always", *names],
                    budgets=BUDGETS,
                    note="In this experiment no helper is calibrated.",
                ),
            ),
            plots=[Plot("shares", "Share of the gap at C = 1 against episodes; means over seeds.", _plot(shares))],
        )


def sizes(config: RunConfig) -> list[int]:
    """Numbers of episodes: a ninth of the collection, a third, and all of it."""
    total = config.collect.tasks * config.collect.episodes
    return [count for count in (total // 9, total // 3, total) if count >= FEWEST] or [total]


def fitted_helpers(
    episodes: Sequence[Episode], costs: Sequence[float], c: ValuesConfig, *, progress: bool
) -> list[Any]:
    """Fit every method; returns pairs of its prefix and a function from a budget to its helper."""
    table = DecisionTable.from_rollouts(episodes)
    found: list[Any] = []
    if (table.feature_key.codes >= 0).all():
        model = TransitionModel.fit(
            episodes, key="feature", backoff=None, time_buckets=12 if (table.steps_left >= 0).all() else None
        )
        frontier = solve_frontier(model)
        follow = registry.load("helpers", "dp-features")
        found.append(("table", lambda budget: follow(frontier, budget=budget)))
    if table.feature_vector is not None:  # the vector alone: no decision has a key
        table = replace(table, feature_key=Coded(np.full(len(table), -1), []))
    encoder = InputEncoder.fit(table, ("features", "steps_left"))
    decisions = logged_decisions(episodes, encoder.encode(table))
    settings = Settings(
        prices=c.prices, folds=c.folds, members=c.members, hidden=c.hidden, rounds=c.rounds, seed=c.seed
    )
    values = fit_decisions(decisions, settings, encoder=encoder, progress=progress)
    averagers = registry.load("helpers", "averagers")
    options = {"costs": costs, "seed": c.seed, "progress": progress}
    made = {
        "fitted": registry.load("helpers", "fitted").train(episodes, values, costs=costs, progress=progress),
        "averagers": averagers.train(episodes, values, **options),
        "averagers-inputs": averagers.train(episodes, inputs=encoder, **options),
    }
    return found + [(name, helper.with_budget) for name, helper in made.items()]


def _promises(results: Results, split: str, methods: Sequence[str], count: int) -> Table:
    """Expected and played usage and success of the policies for a budget."""
    rows = []
    for method in methods:
        for budget in SHOWN:
            at, cell, helper = BUDGETS.index(budget), f"episodes-{count}", f"{method}-{count}"
            rows.append(
                {
                    "method": METHODS[method],
                    "budget": budget,
                    "promised_usage": results.values(cell, "promised", method, "usage", at),
                    "usage": measure_of(results, split, helper, budget, "usage"),
                    "promised_success": results.values(cell, "promised", method, "success", at),
                    "success": measure_of(results, split, helper, budget, "success_rate"),
                }
            )
    columns = (
        Column("method", "method"), Column("budget", "C", digits=1), Column("promised_usage", "E[U]"),
        Column("usage", "U"), Column("promised_success", "E[SR]", "%", 0), Column("success", "SR", "%", 0),
    )  # fmt: skip
    note = (
        "E[U] and E[SR] of fitted values and deep averagers are held-out estimates; those of the table are the values "
        "of its own model."
    )
    return Table("promises", f"Promised and played: {split_title(results.config, split)}", columns, rows, note)


def _plot(shares: Sequence[Mapping[str, Any]]) -> Any:
    """Share of the gap against episodes, a panel per split."""
    from selfreg_gym.report.styles import PALETTE
    from selfreg_gym.report.svg import figure, style

    splits = list(dict.fromkeys(row["split"] for row in shares))
    drawn, axes = figure(1, len(splits), size=(3.7 * len(splits) + 1.6, 3.2), sharey="row")
    colours = dict(zip(METHODS, ("orange", "pink", "teal", "olive"), strict=True))
    with style():
        for axis, split in zip(axes[0], splits, strict=True):
            for name in dict.fromkeys(row["name"] for row in shares):
                own = [row for row in shares if (row["split"], row["name"]) == (split, name)]
                share = [row["at 1"] for row in own]
                axis.errorbar(
                    [row["episodes"] for row in own], [one.value for one in share], marker="o", ms=4, lw=1.3,
                    yerr=np.abs([[one.value - one.low, one.high - one.value] for one in share]).T,
                    color=PALETTE[colours[name]][0], label=METHODS[name], capsize=2,
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_xlabel("episodes collected")
            axis.set_title(split)
        axes[0, 0].set_ylabel("share of the gap at C = 1")
        drawn.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside right upper")
    return drawn
