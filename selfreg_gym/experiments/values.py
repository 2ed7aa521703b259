"""Fitted values in experiments: those of a run, and values fitted to other episodes with the same settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym import registry
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.helper import Helper
from selfreg_gym.inputs import InputEncoder
from selfreg_gym.pipeline.candidates import interventions_of
from selfreg_gym.pipeline.values import fit_settings
from selfreg_gym.types import Episode

__all__ = ["FITTED", "fit_helper", "fit_values", "values_of"]

FITTED = "fitted"
"""The helper that follows fitted values."""


def values_of(trial: Trial) -> FittedFrontier:
    """The fitted values of the trial's run, with their encoder of the inputs."""
    return FittedFrontier.load(trial.run("collect", "fit-values").path / "values" / "teacher")


def fit_values(trial: Trial, episodes: Sequence[Episode], encoder: InputEncoder) -> FittedFrontier:
    """Values fitted to other episodes than those of the run.

    Args:
        trial: the section ``values`` of its config has the settings of the fit.
        episodes: the episodes.
        encoder: the encoder of the inputs; it is not fitted again.
    """
    from selfreg_gym.fitted.settings import Settings
    from selfreg_gym.fitted.solve import fit_decisions, logged_decisions
    from selfreg_gym.inputs import DecisionTable

    settings = Settings(**fit_settings(trial.config))
    x = encoder.encode(DecisionTable.from_rollouts(episodes))
    return fit_decisions(logged_decisions(episodes, x), settings, encoder=encoder, progress=trial.progress)


def fit_helper(trial: Trial, episodes: Sequence[Episode], values: FittedFrontier) -> Helper:
    """The helper that follows values fitted to other episodes.

    Args:
        trial: the section ``values`` of its config has the settings of the fit.
        episodes: the episodes.
        values: fitted values whose encoder is used; the encoder is not fitted again.
    """
    frontier = fit_values(trial, episodes, values.encoder)
    costs = [cost for _, cost in interventions_of(trial.run("collect"))]
    made: Any = registry.load("helpers", FITTED)
    return made(frontier, costs=costs)
