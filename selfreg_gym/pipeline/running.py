"""The whole method: begin or continue a run, and bring it as far as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper_class
from selfreg_gym.errors import UnknownNameError
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.pipeline.checkpoints import check_models, models_of
from selfreg_gym.pipeline.checks import check_candidates
from selfreg_gym.pipeline.config import RunConfig, load_config, override, to_dict
from selfreg_gym.pipeline.directory import Run, run_stages
from selfreg_gym.pipeline.locking import locked
from selfreg_gym.pipeline.stages import STAGES
from selfreg_gym.utils.printable import visible

__all__ = ["STAGES", "advance", "open_run", "run", "stages_until"]


def stages_until(last: str) -> list[str]:
    """Return the names of all stages up to and including ``last``.

    Raises:
        UnknownNameError: no such stage.
    """
    names = [stage.name for stage in STAGES]
    if last not in names:
        raise UnknownNameError("stage", last, names)
    return names[: names.index(last) + 1]


def open_run(
    out: str | Path,
    *,
    preset: str | None = None,
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    update: bool = False,
    **more: Any,
) -> Run:
    """Begin or continue the run in ``out``.

    Without a preset, a file and overrides, the config of the run that is there is taken; if none is there, the preset
    ``tiny``. ``more``: ``progress`` and ``say`` of :class:`selfreg_gym.pipeline.directory.Run`.

    Raises:
        ConfigError, UnknownNameError, InvalidArgumentError: a bad config, or a task that cannot be made from it.
        RunDirectoryError: another run lives in ``out``.
    """
    continued = (Path(out) / "manifest.json").exists()
    if preset is None and path is None:
        if continued:
            base = Run.open(out).config
            config = override(to_dict(base), overrides)
        else:
            config = load_config(preset="tiny", overrides=overrides)
    else:
        config = load_config(preset=preset, path=path, overrides=overrides)
    _check_names(config)
    opened = Run.open(out, config, update=update, **more)
    if preset is None and path is None and not continued:  # a misspelt directory must not begin a run unnoticed
        opened.say(f"{visible(str(out))} holds no run yet: a new run of the preset tiny begins")
    with locked(opened.path):
        check_models(opened, update=update)
    return opened


def _check_names(config: RunConfig) -> None:
    """Say at once that a name does not exist or a task cannot be made, and not after an hour of work."""
    import gymnasium as gym

    if config.task.id not in gym.registry:
        raise UnknownNameError("task", config.task.id, registry.names("envs"))
    for group, names in (
        ("actors", (config.actor.id,)),
        ("interventions", config.interventions.ids),
        ("helpers", (*config.evaluate.helpers, *config.evaluate.decisive)),
    ):
        known = registry.names(group)
        for name in names:
            if name not in known:
                raise UnknownNameError(group.removesuffix("s"), name, known)
    for name in config.rl.algorithms:
        learners = [one for one in known if as_helper_class(registry.load("helpers", one)).needs_cap is not None]
        if name not in learners:
            raise UnknownNameError("reinforcement learner", name, learners)
    for split in config.task.splits.values():
        build_task(config.task.id, {**config.task.kwargs, **split}).close()
    check_candidates(config)
    models_of(config)


def advance(run: Run, names: Sequence[str] | None = None, *, redo: bool = False) -> None:
    """Run the stages (or those of ``names``) that are not done yet; see
    :func:`selfreg_gym.pipeline.directory.run_stages`.
    """
    with locked(run.path):
        if names is None or set(names) - {"report"}:  # a report reads no model: one of an older version can be written
            check_models(run)
        run_stages(run, STAGES, names, redo=redo)


def run(out: str | Path, config: RunConfig | None = None, **more: Any) -> Path:
    """Run the whole pipeline from Python and return the run directory.

    Examples:
        >>> from selfreg_gym.pipeline.config import load_config
        >>> run("runs/try", load_config(preset="smoke"))     # doctest: +SKIP
    """
    opened = Run.open(out, config, **more)
    advance(opened)
    return opened.path
