"""Checkpoint fingerprints of a run: a run is not continued with another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym

from selfreg_gym.collection.versions import check_versions, versions_of
from selfreg_gym.errors import RunDirectoryError, StoreError
from selfreg_gym.intervention_env.building import build_actor, build_task
from selfreg_gym.intervention_env.interventions import build_interventions, for_task
from selfreg_gym.lm.backbone import AUTO, checkpoint_of, default_actor, find_backbone
from selfreg_gym.lm.prompts import PROMPT_DATE
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.manifest import fingerprint

__all__ = ["actor_checkpoint", "check_models", "models_of", "on_task", "some_models"]


def models_of(config: RunConfig) -> dict[str, str]:
    """Return the SHA-256 of every checkpoint that the config names; actors without one are left out.

    For the backbone ``"auto"`` it is the checkpoint that is tried first (:mod:`selfreg_gym.lm.backbone`).

    Raises:
        UnknownNameError: an actor, intervention or backbone that does not exist.
        InvalidArgumentError: a backbone that is an actor without a checkpoint.
        CheckpointError: an actor whose checkpoint is missing.
    """
    task = config.task.id
    found: dict[str, Any] = {"actor": actor_checkpoint(config)}
    names, ids = config.interventions.names, config.interventions.ids
    for name, intervention in zip(names, build_interventions(ids, config.interventions.kwargs), strict=True):
        found[f"intervention {name}"] = checkpoint_of(for_task(intervention, _task(config)).actor)
    for section in ("prm", "helper"):
        backbone: str | None = getattr(config, section).backbone
        if backbone == AUTO:  # every run of this version has the same default checkpoint; the actor's own may differ
            backbone = found["actor"] or default_actor()
        if backbone is not None:
            found[f"{section} backbone"] = find_backbone(backbone, what=f"{section}.backbone", task=task)
    if config.values.backbone not in (AUTO, "actor", "prm"):
        found["values backbone"] = find_backbone(config.values.backbone, what="values.backbone", task=task)
    return {name: fingerprint(folder) for name, folder in found.items() if folder is not None}


def actor_checkpoint(config: RunConfig) -> Path | None:
    """Return the checkpoint of the run's actor on its task; None for an actor without one."""
    return checkpoint_of(for_task(build_actor(config.actor.id, config.actor.kwargs), _task(config)))


def on_task(config: RunConfig, *, backbone: str) -> dict[str, Any]:
    """Return the arguments ``backbone`` and ``actor`` of a training that does not know the task, as checkpoints for it.

    Args:
        config: the config of the run.
        backbone: ``"auto"``, an actor's id or a directory. For ``"auto"``, ``actor`` is the checkpoint of the actor, or
            else that of the default actor.
    """
    task, actor = config.task.id, actor_checkpoint(config)
    if backbone != AUTO:
        return {"backbone": find_backbone(backbone, task=task), "actor": actor}
    default = default_actor()
    return {"backbone": AUTO, "actor": actor or (None if default is None else find_backbone(default, task=task))}


def some_models(run: Run, *prefixes: str) -> dict[str, str]:
    """Return those of :func:`models_of` whose names begin with one of ``prefixes``."""
    return {name: sha for name, sha in models_of(run.config).items() if name.startswith(prefixes)}


def check_models(run: Run, *, update: bool = False) -> None:
    """Raise if the checkpoints of a run have changed; with ``update`` the new ones are recorded instead.

    The date that chat templates print is compared too, because prompts depend on it, and the versions of the packages
    whose code the task plays (:mod:`selfreg_gym.collection.versions`).

    Raises:
        RunDirectoryError: a checkpoint, the date of the prompts, or the version of one of the task's packages differs
            from the one that the run began with.
    """
    _check_task_versions(run)
    date, recorded_date = PROMPT_DATE.isoformat(), run.manifest.data.get("prompt_date")
    if recorded_date not in (None, date):
        raise RunDirectoryError(
            f"{str(run.path)!r} was begun with prompts dated {recorded_date}, and this version of selfreg_gym dates "
            f"them {date}: use the version that began it, or choose another directory with --out."
        )
    if recorded_date is None:
        run.manifest.note(prompt_date=date)
    models, recorded = models_of(run.config), run.manifest.data.get("models")
    if recorded is not None and models != recorded and not update:
        changed = sorted(name for name in models.keys() | recorded.keys() if models.get(name) != recorded.get(name))
        raise RunDirectoryError(
            f"{str(run.path)!r} was begun with other checkpoints: {', '.join(changed)}. Choose another directory with "
            "--out, or repeat the dependent stages with --update."
        )
    if models != recorded:
        run.manifest.note(models=models)


def _task(config: RunConfig) -> Any:
    """The run's task: its id, or for a function that makes it the env, closed."""
    if config.task.id in gym.registry:
        return config.task.id
    env = build_task(config.task.id, {**config.task.kwargs, **config.task.splits[config.task.collected]})
    env.close()
    return env


def _check_task_versions(run: Run) -> None:
    """Raise if a package of the task has another version than the run began with; the first time it is recorded."""
    versions, recorded = versions_of(run.config.task.id), run.manifest.data.get("task_versions")
    if recorded is None:
        run.manifest.note(task_versions=versions)
        return
    try:
        check_versions({"versions": recorded}, {"versions": versions}, str(run.path))
    except StoreError as error:
        raise RunDirectoryError(str(error)) from None
