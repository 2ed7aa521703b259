"""The training of a helper on labels with the settings of a run, for experiments that change the labels."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from selfreg_gym import registry
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import Helper
from selfreg_gym.labels import Labels
from selfreg_gym.pipeline.candidates import interventions_of
from selfreg_gym.pipeline.checkpoints import actor_checkpoint
from selfreg_gym.types import optional_member

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
    return registry.load("helpers", helper).train(
        labels,
        backbone=c.backbone,
        actor=actor_checkpoint(run.config),
        epochs=c.epochs,
        lora=c.lora_rank,
        lr=c.lr or None,
        batch_size=c.batch_size,
        accumulate=c.accumulate,
        patience=c.patience or None,
        dtype=c.dtype,
        device=c.device,
        seed=c.seed,
        max_labels=c.max_labels if max_labels is None else max_labels,
        help_weight=c.help_weight,
        costs=[cost for _, cost in interventions_of(run)],
        augment=_augment(trial) if c.augment else None,
        features=_features(trial) if c.features else None,
        resume=trial.work(name),
        progress=trial.progress,
    )


def _augment(trial: Trial) -> Any:
    """The task's function that rewrites observations, or None."""
    kwargs = trial.run().env_kwargs()
    return optional_member(gym.make(kwargs["task"], **kwargs["task_kwargs"]), "augment")


def _features(trial: Trial) -> dict[str, str]:
    """The feature key of each collected observation that has one."""
    with trial.rollouts() as rollouts:
        columns: dict[str, Any] = rollouts.columns("observation", "feature_key")
    text, feature = columns["observation"], columns["feature_key"]
    pairs = dict(zip(text.codes.tolist(), feature.codes.tolist(), strict=True))
    return {text.values[one]: feature.values[key] for one, key in pairs.items() if key >= 0}
