"""Whole runs: begin or continue one, and run its stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfreg_gym.errors import UnknownNameError
from selfreg_gym.pipeline.checkpoints import check_models
from selfreg_gym.pipeline.config import RunConfig, load_config, override, to_dict
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import renew_records, run_stages
from selfreg_gym.pipeline.locking import locked
from selfreg_gym.pipeline.stages import STAGES
from selfreg_gym.pipeline.validation import validate
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

    Args:
        out: the run directory.
        preset, path, overrides: the config (:func:`selfreg_gym.pipeline.config.load_config`). Without a preset and a
            path, that of the run in ``out``; if there is none, the preset ``tiny``.
        update: accept a config other than that of the run in ``out``; stages that depend on the difference run again.
        **more: ``progress`` and ``say`` of :class:`selfreg_gym.pipeline.directory.Run`.

    Raises:
        ConfigError, UnknownNameError, InvalidArgumentError: an invalid config.
        RunDirectoryError: ``out`` holds another run.
    """
    continued = (Path(out) / "manifest.json").exists()
    if preset is not None or path is not None:
        config = load_config(preset=preset, path=path, overrides=overrides)
    elif continued:
        config = override(to_dict(Run.open(out).config), overrides)
    else:
        config = load_config(preset="tiny", overrides=overrides)
    validate(config)  # now, and not when the first stage needs it, which may be after an hour
    if continued and update:  # with the config of the records, which is replaced now
        before = Run.open(out, progress=False)
        with locked(before.path):
            renew_records(before, STAGES)
    opened = Run.open(out, config, update=update, **more)
    if preset is None and path is None and not continued:  # the directory may be misspelt
        opened.say(f"{visible(str(out))} has no run yet: starting a new run of the preset tiny")
    with locked(opened.path):
        check_models(opened, update=update)
    return opened


def advance(run: Run, names: Sequence[str] | None = None, *, redo: bool = False) -> None:
    """Run the stages, or those of ``names``, that are not up to date.

    The arguments and errors are those of :func:`selfreg_gym.pipeline.execution.run_stages`.
    """
    with locked(run.path):
        if names is None or set(names) - {"report"}:  # a report needs no model, so it can be made with changed ones
            check_models(run)
        run_stages(run, STAGES, names, redo=redo)


def run(out: str | Path, config: RunConfig | None = None, **more: Any) -> Path:
    """Run the whole pipeline and return the run directory.

    Examples:
        >>> from selfreg_gym.pipeline.config import load_config
        >>> run("runs/try", load_config(preset="smoke"))     # doctest: +SKIP
    """
    opened = Run.open(out, config, **more)
    advance(opened)
    return opened.path
