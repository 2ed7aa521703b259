"""A run directory, and how stages are run in it: skipped when current, atomic, resumable.

A stage is skipped when the manifest says that its output was made from the same settings and the same inputs. A stage
reads only inputs whose content, and whose own inputs, are those that the manifest records. Outputs appear whole or not
at all: they are written under ``.partial/`` and renamed. After Ctrl-C or a crash the same command continues where it
stopped: finished stages are kept, and an unfinished one finds its partial work in ``.partial/``. One process at a time
works in a directory (:mod:`selfreg_gym.pipeline.locking`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from selfreg_gym.errors import RunDirectoryError, UnknownNameError
from selfreg_gym.pipeline.config import FORMER_SECTIONS, RunConfig, material_config
from selfreg_gym.pipeline.locking import locked
from selfreg_gym.pipeline.manifest import Manifest
from selfreg_gym.playing.workers import background
from selfreg_gym.utils.files import remove, set_default_modes
from selfreg_gym.utils.printable import visible

__all__ = ["Run", "Stage", "is_current", "run_stages"]

FIGURES = 5
"""Number of a stage's figures that are printed; the manifest keeps all."""

IDENTITY = {new: old for old, new in FORMER_SECTIONS.items()}
"""Section -> its name in the hash of a stage's settings, so that a renamed section keeps the hash."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One arrow of the diagram.

    Attributes:
        name: as on the command line.
        function: does the work; reads and writes files of the run, and returns figures worth keeping in the manifest.
        inputs: artifacts that must be there.
        outputs: artifacts that it writes.
        sections: sections of the config that it depends on.
        in_place: its outputs grow where they lie and can be continued after any interruption (a rollout store); all
            other outputs appear at once, when they are whole.
        beside: it keeps one core busy for long, and the stages after it do not wait for it.
        more: what else it depends on, as plain values.
    """

    name: str
    function: Callable[[Run], dict[str, Any] | None]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sections: tuple[str, ...]
    in_place: bool = False
    beside: bool = False
    more: Callable[[Run], Any] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory with its config. Everything a stage needs to know.

    Attributes:
        path: the directory.
        config: what the run is.
        manifest: what is already there.
        progress: whether stages draw progress bars.
        say: called with each line for the person at the terminal.
        update: whether files that were changed since they were finished are accepted where they cannot be made again
            without loss (the rollout store).
    """

    path: Path
    config: RunConfig
    manifest: Manifest
    progress: bool = True
    say: Callable[[str], None] = print
    update: bool = False

    @classmethod
    def open(cls, path: str | Path, config: RunConfig | None = None, *, update: bool = False, **more: Any) -> Run:
        """Begin a run, or continue the one in ``path``. ``config=None`` takes the config that is there.

        Raises:
            RunDirectoryError: another run lives there, or none although ``config`` is None.
        """
        manifest = Manifest.load(path) if config is None else Manifest.open(path, config, update=update)
        return cls(Path(path), manifest.config, manifest, update=update, **more)

    def env_kwargs(self, split: str | None = None) -> dict[str, Any]:
        """Return plain keyword arguments of ``selfreg/Intervention-v0`` for a split; default: the collected one."""
        task, actor, asked = self.config.task, self.config.actor, self.config.interventions
        split = task.collected if split is None else split
        return {
            "task": task.id,
            "actor": actor.id,
            "interventions": list(asked.ids),
            "task_kwargs": {**task.kwargs, **task.splits[split]},
            **({"actor_kwargs": dict(actor.kwargs)} if actor.kwargs else {}),
            **({"intervention_kwargs": dict(asked.kwargs)} if asked.kwargs else {}),
        }

    def partial(self, stage: str) -> Path:
        """Return the folder for the unfinished work of a stage; it survives an interruption."""
        folder = self.path / ".partial" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def writing(self, stage: str, name: str) -> Iterator[Path]:
        """Give a path to write ``name`` at; what is there at the end becomes the artifact, atomically."""
        temporary = self.partial(stage) / name
        remove(temporary)
        yield temporary
        set_default_modes(temporary)
        final = self.path / name
        if final.is_dir():  # a folder cannot be replaced in one step; the manifest no longer vouches for the old one
            remove(final)
        temporary.replace(final)


def run_stages(run: Run, stages: Sequence[Stage], names: Sequence[str] | None = None, *, redo: bool = False) -> None:
    """Run stages in order, skipping what is already there.

    A stage that may run ``beside`` others is begun in a process of its own, and waited for before the first stage that
    reads what it writes (or at the end). An interruption ends both; each continues where it was.

    Args:
        run: the run.
        stages: all stages of the pipeline, in order.
        names: which of them (default: all). Their inputs must be there.
        redo: run them even if their output is current.

    Raises:
        UnknownNameError: no such stage.
        RunDirectoryError: an input is missing, or is not what the stages before it left there; or another process is
            working in the directory.
    """
    for name in names or ():
        if name not in (known := [stage.name for stage in stages]):
            raise UnknownNameError("stage", name, known)
    wanted = [stage for stage in stages if names is None or stage.name in names]
    current: set[str] = set()  # stages whose outputs have been found current, or were just made
    with locked(run.path), ExitStack() as processes:
        run.manifest.refresh()
        going: dict[str, Callable[[], None]] = {}  # stages in a process of their own, and what waits for each
        for stage in wanted:
            for other in stages:
                if other.name in going and set(other.outputs) & set(stage.inputs):
                    going.pop(other.name)()
                    current.add(other.name)
            place = f"{stages.index(stage) + 1}/{len(stages)} {stage.name}"
            settings = _settings(run, stage)
            _check_inputs(run, stage, stages, current)
            if not redo and is_current(run, stage, settings):
                run.say(f"{place}: already there")
                current.add(stage.name)
                continue
            if not redo:
                _check_in_place(run, stage)
            if not run.manifest.begin(stage.name, settings=settings, inputs=stage.inputs) or redo:
                _forget(run, stage)
            if stage.beside and len(wanted) > 1 and run.config.processes > 1:
                run.say(f"{place}, beside the next ones ...")
                result = processes.enter_context(background(_alone, (str(run.path), stage.function)))
                going[stage.name] = partial(_finish, run, stage, place, settings, result)
            else:
                run.say(f"{place} ...")
                _finish(run, stage, place, settings, partial(_timed, stage.function, run))
                current.add(stage.name)
        for wait in going.values():
            wait()


def is_current(run: Run, stage: Stage, settings: Any = None) -> bool:
    """Return whether a stage was finished from the run's settings and the inputs that are there."""
    return run.manifest.is_current(
        stage.name, settings=settings or _settings(run, stage), inputs=stage.inputs, outputs=stage.outputs
    )


def _timed(function: Callable[[Run], dict[str, Any] | None], run: Run) -> tuple[dict[str, Any], float]:
    """The figures of a stage, and the seconds it took."""
    begun = time.monotonic()
    return function(run) or {}, time.monotonic() - begun


def _alone(work: tuple[str, Callable[[Run], dict[str, Any] | None]]) -> tuple[dict[str, Any], float]:
    """A stage in a process of its own: it draws and says nothing, for the terminal belongs to the other one."""
    path, function = work
    return _timed(function, Run.open(path, progress=False, say=_silent))


def _silent(line: str) -> None:
    """Say nothing."""


def _forget(run: Run, stage: Stage) -> None:
    """Remove what an earlier attempt at other settings or inputs has left."""
    remove(run.path / ".partial" / stage.name)
    for name in stage.outputs if stage.in_place else ():
        for path in run.path.glob(f"{name}*"):  # a database has companions: -wal, -shm
            remove(path)


def _finish(
    run: Run,
    stage: Stage,
    place: str,
    settings: Any,
    result: Callable[[], tuple[dict[str, Any], float]],
) -> None:
    """Get the figures of a stage, note in the manifest that it is done, and say so.

    Texts under the key ``"warnings"`` are shown, and kept beside the figures (``stages.NAME.warnings``).
    """
    figures, seconds = result()
    warnings = list(figures.pop("warnings", ()))
    run.manifest.finish(
        stage.name,
        settings=settings,
        inputs=stage.inputs,
        outputs=stage.outputs,
        seconds=seconds,
        figures=figures,
        **({"warnings": warnings} if warnings else {}),
    )
    remove(run.path / ".partial" / stage.name)
    told = [
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {visible(value, limit=80)}"
        for key, value in figures.items()
    ]
    run.say(f"{place}: done in {seconds:.0f} s{'; ' if told else ''}{', '.join(told[:FIGURES])}")
    for warning in warnings:
        run.say(f"    warning: {visible(warning)}")


def _settings(run: Run, stage: Stage) -> dict[str, Any]:
    """Everything outside the run directory that a stage's output depends on, as plain values."""
    settings: dict[str, Any] = {}
    config = material_config(run.config)
    for name in stage.sections:
        settings[IDENTITY.get(name, name)] = getattr(config, name).identity()
    if "task" in settings and config.task.collected != "collected":  # the order of splits says which one it is
        settings["task"]["collected"] = config.task.collected
    if stage.more is not None:
        settings["more"] = stage.more(run)
    return settings


def _check_inputs(run: Run, stage: Stage, stages: Sequence[Stage], current: set[str]) -> None:
    """Raise unless a stage's inputs, and what they were made from, are intact; adds their makers to ``current``."""
    for name in stage.inputs:
        maker = next(other for other in stages if name in other.outputs)
        if maker.name in current:
            continue
        again = f"selfreg run --out {run.path} --until {maker.name}"
        if maker.name not in run.manifest.data["stages"] or not (run.path / name).exists():
            raise RunDirectoryError(
                f"the stage {stage.name} reads {name}, which is not there or not finished in {str(run.path)!r}. "
                f"First run the stage that makes it: {again}"
            )
        _check_inputs(run, maker, stages, current)
        if maker.in_place:
            _check_in_place(run, maker)
        if changed := [one for one in run.manifest.changed(maker.name) if one in maker.outputs]:
            raise RunDirectoryError(
                f"{' and '.join(changed)} in {str(run.path)!r} must be what the stage {maker.name} left there, and the "
                f"content has changed since (its SHA-256 is not that of manifest.json). Restore it from a copy, or "
                f"make it anew: {again}"
            )
        if changed := [one for one in run.manifest.changed(maker.name) if one in maker.inputs]:
            raise RunDirectoryError(
                f"{' and '.join(maker.outputs)} in {str(run.path)!r} must be made from the files that are there, and "
                f"the stage {maker.name} made it from another {' and another '.join(changed)}. Make it anew: {again}"
            )
        if not is_current(run, maker):
            run.say(
                f"note: {' and '.join(maker.outputs)} was made with other settings, or by another version of a helper "
                f"or of this package, and is read as it is. To make it anew: {again}"
            )
        current.add(maker.name)


def _check_in_place(run: Run, stage: Stage) -> None:
    """Raise if a finished output that is never made again by itself has been changed."""
    if not stage.in_place or stage.name not in run.manifest.data["stages"] or run.update:
        return
    changed = [name for name in run.manifest.changed(stage.name) if name in stage.outputs]
    if changed and all((run.path / name).exists() for name in changed):
        raise RunDirectoryError(
            f"{' and '.join(changed)} in {str(run.path)!r} must be what the stage {stage.name} left there, and the "
            f"content has changed since (its SHA-256 is not that of manifest.json). Restore it from a copy; or make "
            f"it anew with `selfreg {stage.name} --out {run.path} --redo`; or, if the change is meant, take it as it "
            f"is with `selfreg run --out {run.path} --update`."
        )
