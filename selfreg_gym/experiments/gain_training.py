"""Train a helper on the gains of a teacher, as the pipeline does, for experiments that change what it reads."""

from __future__ import annotations

from collections.abc import Sequence

from selfreg_gym import registry
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.experiments.values import values_of
from selfreg_gym.helper import Helper
from selfreg_gym.pipeline.training import helper_arguments

__all__ = ["train_on_gains"]


def train_on_gains(trial: Trial, *, helper: str, name: str, inputs: Sequence[str] | None, facts: bool) -> Helper:
    """Train a helper on the gains of the run's fitted values, with the settings of the section ``helper``.

    An interrupted training continues.

    Args:
        trial: gives config, actor, rollouts and fitted values.
        helper: id of a helper whose class has ``train(rollouts, teacher, ...)``.
        name: name of this training, different from those of others of the experiment.
        inputs: names of the numbers that it reads; None: its defaults.
        facts: whether its prompt states the feature key.

    Raises:
        UnknownNameError: no such helper or input.
        InvalidArgumentError: the rollouts lack an input.
    """
    c, run = trial.config.helper, trial.run("collect", "fit-values")
    with trial.rollouts() as rollouts, helper_arguments(run) as common:
        return registry.load("helpers", helper).train(
            rollouts,
            values_of(trial),
            **common,
            inputs=inputs,
            facts=facts,
            topics=c.features,
            max_decisions=c.max_decisions or None,
            resume=trial.work(name),
        )
