"""Checkpoint fingerprints of a run: a run is not continued with another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.intervention_env.building import build_actor
from selfreg_gym.intervention_env.interventions import build_interventions
from selfreg_gym.lm.backbone import AUTO, checkpoint_of, default_actor, find_backbone
from selfreg_gym.lm.prompts import PROMPT_DATE
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.manifest import fingerprint

__all__ = ["actor_checkpoint", "check_models", "models_of", "some_models"]


def models_of(config: RunConfig) -> dict[str, str]:
    """Return the SHA-256 of every checkpoint that the config names; actors without one are left out.

    For the backbone ``"auto"`` it is the checkpoint that is tried first (:mod:`selfreg_gym.lm.backbone`).

    Raises:
        UnknownNameError: an actor, intervention or backbone that does not exist.
        InvalidArgumentError: a backbone that is an actor without a checkpoint.
        CheckpointError: an actor whose checkpoint is missing.
    """
    found: dict[str, Any] = {"actor": actor_checkpoint(config)}
    names, ids = config.interventions.names, config.interventions.ids
    for name, intervention in zip(names, build_interventions(ids, config.interventions.kwargs), strict=True):
        found[f"intervention {name}"] = checkpoint_of(intervention.actor)
    for section in ("prm", "helper"):
        backbone: str | None = getattr(config, section).backbone
        if backbone == AUTO:  # every run of this version has the same default checkpoint; the actor's own may differ
            backbone = found["actor"] or default_actor()
        if backbone is not None:
            found[f"{section} backbone"] = find_backbone(backbone, what=f"{section}.backbone")
    if config.values.backbone not in (AUTO, "actor", "prm"):
        found["values backbone"] = find_backbone(config.values.backbone, what="values.backbone")
    return {name: fingerprint(folder) for name, folder in found.items() if folder is not None}


def actor_checkpoint(config: RunConfig) -> Path | None:
    """Return the checkpoint of the run's actor; None for an actor without one."""
    return checkpoint_of(build_actor(config.actor.id, config.actor.kwargs))


def some_models(run: Run, *prefixes: str) -> dict[str, str]:
    """Return those of :func:`models_of` whose names begin with one of ``prefixes``."""
    return {name: sha for name, sha in models_of(run.config).items() if name.startswith(prefixes)}


def check_models(run: Run, *, update: bool = False) -> None:
    """Raise if the checkpoints of a run have changed; with ``update`` the new ones are recorded instead.

    The date that chat templates print is compared too, because prompts depend on it.

    Raises:
        RunDirectoryError: a checkpoint, or the date of the prompts, differs from the one that the run began with.
    """
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
