"""Interventions that are asked at every step of new tasks: their success, beside that of the actor alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.evaluation.paired import estimates
from selfreg_gym.experiments.findings import Column
from selfreg_gym.experiments.packing import unpack
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import HelperKey
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.values import fit_settings

__all__ = ["COLUMNS", "Asked", "first_new_split", "percent", "play", "success_row"]

INPUTS = ("features", "steps_left")
"""Inputs of the fitted values. They need no call of the actor, which would be asked in every new state."""

COLUMNS = (
    Column("success", "success rate", "%", 1),
    Column("gain", "minus the actor alone", "%", 1),
    Column("steps", "steps per episode", digits=1),
    Column("episodes", "episodes"),
)
"""The columns of the measures of :func:`success_row`."""


@dataclass(frozen=True)
class Asked:
    """An intervention that is asked at every step.

    Attributes:
        intervention: its id.
        arguments: its arguments. With ``value`` "fitted" or "prm", the folder of the trial's model is added.
    """

    intervention: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def first_new_split(config: RunConfig) -> str:
    """The first split of new tasks; the collected one if there is no other."""
    others = [name for name in config.task.splits if name != config.task.collected]
    return others[0] if others else config.task.collected


def play(trial: Trial, asked: Mapping[str, Asked]) -> Evaluation:
    """The evaluation of the interventions on the first split of new tasks, one helper with the name of each."""
    always = registry.load("helpers", "always")()
    found = []
    for name, one in asked.items():
        arguments = dict(one.arguments)
        if "value" in arguments:
            arguments["folder"] = str(_folder(trial, arguments["value"]))
        played = trial.played(
            {HelperKey(name, None, trial.seed): always}, splits=[first_new_split(trial.config)],
            interventions=[one.intervention], intervention_kwargs={one.intervention: arguments},
        )  # fmt: skip
        found.append(unpack(played["evaluation"]))
    return Evaluation.merge(*found)


def _folder(trial: Trial, value: str) -> Path:
    """The folder of the process reward model, or of the fitted values, of the trial's rollouts."""
    if value == "prm":
        return trial.run("collect", "train-prm").path / "prm"
    from selfreg_gym.fitted import solve_fitted

    folder = (trial.work("values") or Path(tempfile.mkdtemp())) / "fitted"
    if not (folder / "fitted.json").is_file():
        trial.run("collect")
        with trial.rollouts() as rollouts:
            fitted = solve_fitted(rollouts, inputs=INPUTS, **fit_settings(trial.config), progress=trial.progress)
        fitted.save(folder)
    return folder


def success_row(results: Results, name: str) -> dict[str, Any]:
    """Success, its paired difference from the actor alone (the helper ``never``), steps and number of episodes."""
    split = first_new_split(results.config)
    found = results.evaluation.results(split)
    point = found.points(name)[0]
    played = found.table.column(point, "success")

    def gain(evaluation: Evaluation) -> Estimate:
        part = evaluation.results(split)
        return part.paired_difference(part.points(name)[0], part.points("never")[0])

    def steps(evaluation: Evaluation) -> Estimate:
        part = evaluation.results(split)
        return estimates(part.table, [(part.points(name)[0], "length")], lambda means: means)[0]

    return {
        "cell": name,
        "success": measure_of(results, split, name, None, "success_rate"),
        "gain": None if name == "never" else results.estimate(gain),
        "steps": results.estimate(steps),
        "episodes": int((played == played).sum()) * len(point),
    }


def percent(value: Estimate | float | None) -> str:
    """A share in percent with its interval, or a difference of shares in points."""
    if value is None:
        return "-"
    if isinstance(value, Estimate):
        return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{100 * value:.1f} points"
