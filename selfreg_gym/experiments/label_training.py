"""The training of a helper on labels with the settings of a run, for experiments that change the labels."""

from __future__ import annotations

from selfreg_gym import registry
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import Helper
from selfreg_gym.labels import Labels
from selfreg_gym.pipeline.training import features_of, helper_arguments

__all__ = ["train_on_labels"]


def train_on_labels(trial: Trial, labels: Labels, *, helper: str, name: str, max_labels: int | None = None) -> Helper:
    """Train a helper on labels, with the settings of the section ``helper`` of the config.

    An interrupted training continues.

    Args:
        trial: its config, actor and rollouts are used.
        labels: the training set.
        helper: id of a helper whose class has ``train(labels, ...)``.
        name: name of this training, unique in the experiment.
        max_labels: number of drawn labels; None: ``helper.max_labels``.

    Raises:
        UnknownNameError: no such helper.
    """
    c, run = trial.config.helper, trial.run("collect")
    with helper_arguments(run) as common:
        return registry.load("helpers", helper).train(
            labels,
            **common,
            max_labels=c.max_labels if max_labels is None else max_labels,
            help_weight=c.help_weight,
            features=features_of(run) if c.features else None,
            resume=trial.work(name),
        )
