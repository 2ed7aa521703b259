"""Search: the success of a tree search with the actor's probabilities, against the number of simulations."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.evaluation.paired import estimates
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.packing import pack, unpack
from selfreg_gym.experiments.plots import split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import HelperKey
from selfreg_gym.pipeline.config import RunConfig, from_dict, to_dict

__all__ = ["Search"]

SEARCH = "mcts"
SIMULATIONS = (1, 4, 16, 32, 128)
TARGET = 32
LARGE = 128
"""From this number of simulations on, a third of the tasks is played."""


def _cell(simulations: int) -> str:
    return f"fitted {simulations}"


SEARCHES: Mapping[str, Mapping[str, Any]] = {
    **{_cell(n): {"simulations": n} for n in SIMULATIONS},
    "prm 32": {"simulations": TARGET, "value": "prm"},
    "privileged 32": {"simulations": TARGET, "privileged": True},
}
"""The searches: name -> arguments."""

INPUTS = ("features", "steps_left")
"""Inputs of the fitted values. They need no call of the actor, which would be asked in every new state."""


class Search(Experiment):
    """The success of a search that is asked at every step."""

    title = "Search: success against the number of simulations"
    question = """
The paper's second kind of help is test-time compute. Here it is a tree search with the actor's probabilities as prior
(PUCT), which is asked at every step. New states are valued by fitted values: the success of the actor alone, regressed
on the rollouts of training tasks, without a name of the task among the inputs. A search with one simulation takes the
actor's most likely action, so it differs from the actor in not sampling.

The search knows what the actor knows: every simulation draws random events anew, and samples hidden facts from what was
observed. For comparison, a privileged search simulates the true episode, and another one values states by the process
reward model. Tasks are new ones in the houses of the training tasks. The actor alone plays the same episodes.
"""
    full = (*Experiment.full, "evaluate.tasks=168")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The actor alone, and all searches of a seed."""
        return Cell("actor", shared=True), Cell("searches")

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Play all tasks with each search at every step."""
        split = _split(trial.config)
        if cell == "actor":
            return trial.compare(["never"], splits=[split], seeded=False)
        folders = {"fitted": _fitted(trial), "prm": trial.run("collect", "train-prm").path / "prm"}
        always = registry.load("helpers", "always")()
        found = []
        for name, own in SEARCHES.items():
            arguments: dict[str, Any] = {"value": "fitted", **own}
            arguments["folder"] = str(folders[arguments["value"]])
            large = arguments["simulations"] >= LARGE
            part = replace(trial, config=_smaller(trial.config)) if large else trial
            played = part.played(
                {HelperKey(name, None, trial.seed): always}, splits=[split], interventions=[SEARCH],
                intervention_kwargs={SEARCH: arguments},
            )  # fmt: skip
            found.append(unpack(played["evaluation"]))
        return {"evaluation": pack(Evaluation.merge(*found))}

    def findings(self, results: Results) -> Findings:
        """Success, and its difference from the actor alone."""
        split = _split(results.config)
        rows = [_row(results, split, "never", "the actor alone", None)]
        rows += [_row(results, split, _cell(n), "fitted values", n) for n in SIMULATIONS]
        rows += [
            _row(results, split, "prm 32", "process reward model", TARGET),
            _row(results, split, "privileged 32", "fitted values, privileged", TARGET),
        ]
        columns = (
            Column("value", "value of new states"),
            Column("simulations", "simulations"),
            Column("success", "success rate", "%", 1),
            Column("gain", "minus the actor alone", "%", 1),
            Column("steps", "steps per episode", digits=1),
            Column("episodes", "episodes"),
        )
        by_cell = {row["cell"]: row for row in rows}
        target = by_cell[_cell(TARGET)]
        statements = [
            f"{split_title(results.config, split)}: with {TARGET} simulations per step the search succeeds in "
            f"{_percent(target['success'])} of the episodes, the actor alone in {_percent(rows[0]['success'])}; the "
            f"difference is {_percent(target['gain'])}.",
            f"The privileged search succeeds in {_percent(by_cell['privileged 32']['success'])}, so hidden facts and "
            f"chance cost the honest search {_percent(_minus(by_cell['privileged 32'], target))}.",
        ]
        note = (
            f"Differences are paired over the same episodes. With {LARGE} simulations a third of the tasks was played, "
            "and the difference is that of these tasks."
        )
        table = Table("search", "Success of the search", columns, rows, note)
        plot = Plot("success", "Success rate against simulations per step, with 95 % intervals.", _figure(rows))
        published = [
            Published(
                "success with a search as help, against the actor alone",
                "higher success with test-time compute as the intervention",
                f"{_percent(target['success'])} against {_percent(rows[0]['success'])} "
                f"({TARGET} simulations at every step, tiny actor, household tasks)",
                "arXiv 2502.04576",
            )
        ]
        return Findings(statements=statements, tables=[table], plots=[plot], published=published)


def _split(config: RunConfig) -> str:
    """The first split of new tasks."""
    others = [name for name in config.task.splits if name != config.task.collected]
    return others[0] if others else config.task.collected


def _fitted(trial: Trial) -> Path:
    """The folder of the fitted values, which are fitted to the rollouts of the trial's seed if there are none yet."""
    from selfreg_gym.fitted import solve_fitted

    folder = (trial.work("values") or Path(tempfile.mkdtemp())) / "fitted"
    if not (folder / "fitted.json").is_file():
        c = trial.config.values
        trial.run("collect")
        with trial.rollouts() as rollouts:
            fitted = solve_fitted(
                rollouts, inputs=INPUTS, prices=c.prices, folds=c.folds, members=c.members, hidden=c.hidden,
                rounds=c.rounds, seed=c.seed, progress=trial.progress,
            )  # fmt: skip
        fitted.save(folder)
    return folder


def _smaller(config: RunConfig) -> RunConfig:
    """The config with a third of the evaluated tasks."""
    table = to_dict(config)
    table["evaluate"]["tasks"] = max(1, table["evaluate"]["tasks"] // 3)
    return from_dict(table)


def _row(results: Results, split: str, cell: str, value: str, simulations: int | None) -> dict[str, Any]:
    found = results.evaluation.results(split)
    point = found.points(cell)[0]
    played = found.table.column(point, "success")

    def gain(evaluation: Evaluation) -> Estimate:
        part = evaluation.results(split)
        return part.paired_difference(part.points(cell)[0], part.points("never")[0])

    def steps(evaluation: Evaluation) -> Estimate:
        part = evaluation.results(split)
        return estimates(part.table, [(part.points(cell)[0], "length")], lambda means: means)[0]

    return {
        "cell": cell,
        "value": value,
        "simulations": simulations,
        "success": measure_of(results, split, cell, None, "success_rate"),
        "gain": None if cell == "never" else results.estimate(gain),
        "steps": results.estimate(steps),
        "episodes": int((played == played).sum()) * len(point),
    }


def _minus(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return float(one["success"].value - other["success"].value)


def _percent(value: Estimate | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, Estimate):
        return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{100 * value:.1f} points"


def _figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Success against simulations, with the actor alone as a line."""
    from selfreg_gym.report.svg import figure, style

    drawn, axes = figure(1, 1, size=(5.0, 3.2))
    with style():
        axis = axes.flat[0]
        part = [row for row in rows if row["cell"].startswith("fitted")]
        counts = [row["simulations"] for row in part]
        success = [row["success"] for row in part]
        axis.plot(counts, [one.value for one in success], marker="o", label="search")
        axis.fill_between(counts, [one.low for one in success], [one.high for one in success], alpha=0.2)
        axis.axhline(rows[0]["success"].value, linestyle="--", color="grey", label="the actor alone")
        axis.set(xscale="log", xlabel="simulations per step", ylabel="success rate", ylim=(0, 1.02))
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
        axis.legend(frameon=False)
    return drawn
