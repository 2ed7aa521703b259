"""Durations: help for one step, for several, or to the end of the episode, at equal cost per step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from selfreg_gym import registry
from selfreg_gym.experiments.always_asked import first_new_split, percent
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Table
from selfreg_gym.experiments.plots import split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import difference_of, measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.pipeline.candidates import interventions_of
from selfreg_gym.pipeline.config import RunConfig, from_dict, to_dict
from selfreg_gym.pipeline.values import fit_settings, known_inputs

__all__ = ["Durations"]

DURATIONS: tuple[int | str, ...] = (1, 2, 4, "end")
HELPERS = ("random", "fitted")


class Durations(Experiment):
    """The success of calls of several durations at equal budgets, with the cost of a call proportional to its steps."""

    title = "Durations: calls of one step, of several steps, and to the end of the episode"
    question = """
A call of an intervention can last several steps. Is it better to buy help for one step at a time, or for longer? Every
step of a call costs one unit, so a budget C buys the same number of steps of help for all durations. For each duration,
rollouts with random help are collected, values are fitted to them, and two helpers are calibrated to the budgets on
training tasks: random help, and the helper that follows the fitted values. All play the same new tasks. The best policy
with calls of one step is at least as good as the best one with longer calls, because it can ask again at every step.
"""
    full = (*Experiment.full, "evaluate.tasks=168", "evaluate.budgets=[1.0, 2.0]", "values.members=1")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The ends of the usage axis once, and each duration for each seed."""
        return Cell("ends", shared=True), *(Cell(_title(duration)) for duration in DURATIONS)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Collect, fit, calibrate and evaluate with calls of one duration."""
        splits = [first_new_split(trial.config)]
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        own = replace(trial, config=_lasting(trial.config, next(one for one in DURATIONS if _title(one) == cell)))
        made = {"random": registry.load("helpers", "random")(), "fitted": _fitted(own)}
        helpers: dict[HelperKey, Helper] = {
            HelperKey(_name(name, cell), budget, trial.seed): helper
            for name, helper in made.items()
            for budget in trial.config.evaluate.budgets
        }
        return own.played(own.calibrated(helpers), splits=splits)

    def findings(self, results: Results) -> Findings:
        """Success of each duration at each budget, and its difference from calls of one step."""
        config = results.config
        split = first_new_split(config)
        rows = [
            _row(results, split, helper, _title(duration), budget)
            for helper in HELPERS
            for budget in config.evaluate.budgets
            for duration in DURATIONS
        ]
        columns = (
            Column("helper", "helper"),
            Column("budget", "C", digits=1),
            Column("duration", "duration of a call"),
            Column("usage", "steps of help (usage)"),
            Column("calls", "calls", digits=2),
            Column("success", "success rate", "%", 1),
            Column("lead", "minus calls of one step", "%", 1),
        )
        statements = [
            f"{split_title(config, split)}, helper `{row['helper']}`, C = {row['budget']:g}: calls "
            f"{'to the end of the episode' if row['duration'] == _title('end') else 'of ' + row['duration']} succeed "
            f"in {percent(row['success'])} of the episodes, {percent(row['lead'])} more than calls of one step."
            for row in rows
            if row["lead"] is not None
        ]
        note = (
            "Differences are paired and at equal usage, that of the row; calls of one step are read between their own "
            "points."
        )
        return Findings(
            statements=statements,
            tables=[Table("durations", "Success by the duration of a call", columns, rows, note)],
        )


def _title(duration: int | str) -> str:
    if isinstance(duration, str):
        return "to the end"
    return f"{duration} step{'s' if duration > 1 else ''}"


def _name(helper: str, cell: str) -> str:
    return f"{helper}, {cell}"


def _lasting(config: RunConfig, duration: int | str) -> RunConfig:
    """The config in which calls of its interventions last so long, at their cost per step."""
    table = to_dict(config)
    kwargs = config.interventions.kwargs
    table["interventions"]["kwargs"] = {
        name: {**kwargs.get(name, {}), "duration": duration, "cost_per": "step"} for name in config.interventions.names
    }
    return from_dict(table)


def _fitted(trial: Trial) -> Helper:
    """The helper that follows values fitted to the rollouts of a trial."""
    from selfreg_gym.fitted import FittedFrontier, solve_fitted

    c, run, folder = (
        trial.config.values,
        trial.run("collect"),
        trial.work(f"values {trial.config.interventions.kwargs}"),
    )
    if folder is not None and (folder / "fitted.json").is_file():
        frontier = FittedFrontier.load(folder)
    else:
        with trial.rollouts() as rollouts:
            frontier = solve_fitted(
                rollouts,
                inputs=c.inputs or known_inputs(rollouts),
                **fit_settings(trial.config),
                progress=trial.progress,
            )
        if folder is not None:
            frontier.save(folder)
    made: Any = registry.load("helpers", "fitted")
    return made(frontier, costs=[cost for _, cost in interventions_of(run)])


def _row(results: Results, split: str, helper: str, duration: str, budget: float) -> dict[str, Any]:
    name, one = _name(helper, duration), _name(helper, _title(1))
    return {
        "helper": helper,
        "budget": budget,
        "duration": duration,
        "usage": measure_of(results, split, name, budget, "usage"),
        "calls": measure_of(results, split, name, budget, "calls"),
        "success": measure_of(results, split, name, budget, "success_rate"),
        "lead": None if name == one else difference_of(results, split, name, one, budget),
    }
