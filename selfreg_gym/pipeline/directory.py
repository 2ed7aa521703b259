"""A run directory, and how stages are run in it: skipped when current, atomic, resumable.

A stage is skipped when the manifest says that its output was made from the same settings and the same inputs. Outputs
appear whole or not at all: they are written under ``.partial/`` and renamed. After Ctrl-C or a crash the same command
goes on where it stopped: finished stages are kept, and an unfinished one finds what it had left in ``.partial/``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from selfreg_gym.errors import RunDirectoryError, UnknownNameError
from selfreg_gym.pipeline.config import RunConfig, material_config
from selfreg_gym.pipeline.manifest import Manifest
from selfreg_gym.workers import beside

__all__ = ["Run", "Stage", "run_stages"]

FIGURES = 5
"""So many of a stage's figures are told; the manifest keeps all."""


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
        say: takes a line for the person who waits.
    """

    path: Path
    config: RunConfig
    manifest: Manifest
    progress: bool = True
    say: Callable[[str], None] = print

    @classmethod
    def open(cls, path: str | Path, config: RunConfig | None = None, *, update: bool = False, **more: Any) -> Run:
        """Begin a run, or continue the one in ``path``. ``config=None`` takes the config that is there.

        Raises:
            RunDirectoryError: another run lives there, or none although ``config`` is None.
        """
        manifest = Manifest.load(path) if config is None else Manifest.open(path, config, update=update)
        return cls(Path(path), manifest.config, manifest, **more)

    def env_kwargs(self, split: str = "collected") -> dict[str, Any]:
        """Return plain keyword arguments of ``selfreg/Intervention-v0`` for one of the evaluation's splits."""
        task, actor, asked = self.config.task, self.config.actor, self.config.interventions
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
        _remove(temporary)
        yield temporary
        final = self.path / name
        if final.is_dir():  # a folder cannot be replaced in one step; the manifest no longer vouches for the old one
            _remove(final)
        temporary.replace(final)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
        RunDirectoryError: an input is missing, or is not what the stages before it left there.
    """
    for name in names or ():
        if name not in (known := [stage.name for stage in stages]):
            raise UnknownNameError("stage", name, known)
    wanted = [stage for stage in stages if names is None or stage.name in names]
    with ExitStack() as processes:
        going: dict[str, Callable[[], None]] = {}  # stages in a process of their own, and what waits for each
        for stage in wanted:
            for other in stages:
                if other.name in going and set(other.outputs) & set(stage.inputs):
                    going.pop(other.name)()
            place = f"{stages.index(stage) + 1}/{len(stages)} {stage.name}"
            settings = _settings(run, stage)
            _check_inputs(run, stage, stages)
            if not redo and run.manifest.is_current(
                stage.name, settings=settings, inputs=stage.inputs, outputs=stage.outputs
            ):
                run.say(f"{place}: already there")
                continue
            if not run.manifest.begin(stage.name, settings=settings, inputs=stage.inputs) or redo:
                _forget(run, stage)
            if stage.beside and len(wanted) > 1 and run.config.processes > 1:
                run.say(f"{place}, beside the next ones ...")
                result = processes.enter_context(beside(_alone, (str(run.path), stage.function)))
                going[stage.name] = partial(_finish, run, stage, place, settings, result)
            else:
                run.say(f"{place} ...")
                _finish(run, stage, place, settings, partial(_timed, stage.function, run))
        for wait in going.values():
            wait()


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
    _remove(run.path / ".partial" / stage.name)
    for name in stage.outputs if stage.in_place else ():
        for path in run.path.glob(f"{name}*"):  # a database has companions: -wal, -shm
            _remove(path)


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
    _remove(run.path / ".partial" / stage.name)
    told = [f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()]
    run.say(f"{place}: done in {seconds:.0f} s{'; ' if told else ''}{', '.join(told[:FIGURES])}")
    for warning in warnings:
        run.say(f"    warning: {warning}")


def _settings(run: Run, stage: Stage) -> dict[str, Any]:
    """Everything outside the run directory that a stage's output depends on, as plain values."""
    settings: dict[str, Any] = {}
    config = material_config(run.config)
    for section in stage.sections:
        part = getattr(config, section)
        speed = {spec.name for spec in fields(part) if spec.metadata.get("speed")}
        settings[section] = {key: value for key, value in asdict(part).items() if key not in speed}
    if stage.more is not None:
        settings["more"] = stage.more(run)
    return settings


def _check_inputs(run: Run, stage: Stage, stages: Sequence[Stage]) -> None:
    for name in stage.inputs:
        maker = next(other for other in stages if name in other.outputs)
        if maker.name not in run.manifest.data["stages"] or not (run.path / name).exists():
            raise RunDirectoryError(
                f"the stage {stage.name} reads {name}, which is not there or not finished in {str(run.path)!r}. "
                f"First run the stage that makes it: selfreg run --out {run.path} --until {maker.name}"
            )
