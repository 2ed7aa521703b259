"""Checkpoint fingerprints of a run: a run is not continued with another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.intervention_env.building import build_actor, build_interventions
from selfreg_gym.lm.backbone import AUTO, SHIPPED, actor_trunk, find_trunk
from selfreg_gym.lm.prompts import PROMPT_DATE
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.manifest import fingerprint

__all__ = ["actor_checkpoint", "check_models", "models_of", "some_models"]


def models_of(config: RunConfig) -> dict[str, str]:
    """Return the SHA-256 of every checkpoint that the config names; actors without one are left out.

    For the backbone ``"auto"`` it is that of the trunks from which one is chosen (:mod:`selfreg_gym.lm.backbone`).

    Raises:
        UnknownNameError: an actor, intervention or backbone that does not exist.
        InvalidArgumentError: a backbone that is an actor without a checkpoint.
        CheckpointError: an actor whose checkpoint is missing.
    """
    found: dict[str, Any] = {"actor": actor_checkpoint(config)}
    for one, name in zip(
        build_interventions(config.interventions.ids, config.interventions.kwargs),
        config.interventions.ids,
        strict=True,
    ):
        found[f"intervention {name}"] = actor_trunk(one.actor)
    for section in ("prm", "helper"):
        name = getattr(config, section).backbone
        if name == AUTO:  # every run of this version has the same shipped trunk; the actor's own may differ
            name = str(found["actor"] or SHIPPED)
        found[f"{section} backbone"] = find_trunk(name, what=f"{section}.backbone")
    return {name: fingerprint(folder) for name, folder in found.items() if folder is not None}


def actor_checkpoint(config: RunConfig) -> Path | None:
    """The checkpoint of the run's actor; None for an actor without one."""
    return actor_trunk(build_actor(config.actor.id, config.actor.kwargs))


def some_models(run: Run, *names: str) -> dict[str, str]:
    """Those of :func:`models_of` whose names begin with one of ``names``."""
    return {name: sha for name, sha in models_of(run.config).items() if name.startswith(names)}


def check_models(run: Run, *, update: bool = False) -> None:
    """Raise if the models of a run have changed; with ``update`` the new ones are noted instead.

    The date that chat templates print is noted too, because prompts depend on it.

    Raises:
        RunDirectoryError: a checkpoint or the prompts' date is not the one that the run was begun with.
    """
    date, begun = PROMPT_DATE.isoformat(), run.manifest.data.get("prompt_date")
    if begun not in (None, date):
        raise RunDirectoryError(
            f"{str(run.path)!r} was begun with prompts dated {begun}, and this version of selfreg_gym dates them "
            f"{date}: use the version that began it, or choose another directory with --out."
        )
    if begun is None:
        run.manifest.note(prompt_date=date)
    now, then = models_of(run.config), run.manifest.data.get("models")
    if then is not None and now != then and not update:
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        raise RunDirectoryError(
            f"{str(run.path)!r} was begun with other checkpoints: {', '.join(changed)}. Choose another directory with "
            "--out, or say --update to run again what depends on them."
        )
    if now != then:
        run.manifest.note(models=now)
