"""Execution of stages in a run directory: up-to-date stages are skipped, interrupted ones are continued.

A stage is up to date if the manifest lists its outputs as made from the same settings and inputs. Before a stage runs,
its inputs, and the inputs of the stages that made them, are compared with the manifest. One process at a time works in
a directory (:mod:`selfreg_gym.pipeline.locking`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from selfreg_gym.errors import RunDirectoryError, SelfRegError, UnknownNameError
from selfreg_gym.pipeline.config import FORMER_SECTIONS, RunConfig, material_config
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.locking import locked
from selfreg_gym.playing.workers import background
from selfreg_gym.utils.files import remove
from selfreg_gym.utils.printable import visible

__all__ = ["Stage", "is_current", "renew_records", "run_stages"]

FIGURES = 5
"""Number of a stage's figures that are printed; the manifest keeps all."""

FORMER_NAMES = {new: old for old, new in FORMER_SECTIONS.items()}
"""Section -> its name in the hash of a stage's settings, which does not change when a section is renamed."""

Figures = dict[str, Any]
"""What a stage returns: numbers and texts for the manifest and the terminal; key ``"warnings"``: a list of texts."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: its name on the command line.
        function: does the work: reads and writes files of the run, and returns figures.
        inputs: artifacts that it reads.
        outputs: artifacts that it writes.
        sections: sections of the config on which it depends; of ``task.splits`` only on the collected split.
        in_place: its outputs grow in place and can be continued after an interruption (a rollout store); all other
            outputs appear when they are complete.
        background: it uses one core for long and runs in a process of its own, while the next stages run.
        more: other settings on which it depends, as plain values.
        reads: further artifacts that it reads with a given config.
        splits: whether it depends on all of ``task.splits``.
        needed: whether a stage of a run with a given config reads its outputs; if not, it is left out. None: always.
    """

    name: str
    function: Callable[[Run], Figures | None]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sections: tuple[str, ...]
    in_place: bool = False
    background: bool = False
    more: Callable[[Run], Any] | None = None
    reads: Callable[[RunConfig], tuple[str, ...]] | None = None
    splits: bool = False
    needed: Callable[[RunConfig], bool] | None = None

    def of(self, config: RunConfig) -> Stage:
        """The stage whose ``inputs`` are all artifacts that it reads with this config."""
        return self if self.reads is None else replace(self, inputs=(*self.inputs, *self.reads(config)), reads=None)


def run_stages(run: Run, stages: Sequence[Stage], names: Sequence[str] | None = None, *, redo: bool = False) -> None:
    """Run stages in order and skip those that are up to date or not needed.

    A background stage runs in a process of its own until the first stage that reads its outputs, or the end. An
    interruption ends both processes; each stage continues later.

    Args:
        run: the run.
        stages: all stages of the pipeline, in order.
        names: names of the stages to run; None: all.
        redo: run them even if they are up to date.

    Raises:
        UnknownNameError: no such stage.
        RunDirectoryError: an input is missing or was changed after the stage that made it; or another process works in
            the directory.
    """
    for name in names or ():
        if name not in (known := [stage.name for stage in stages]):
            raise UnknownNameError("stage", name, known)
    stages = [stage.of(run.config) for stage in stages]
    wanted = [stage for stage in stages if names is None or stage.name in names]
    checked: set[str] = set()  # stages whose outputs are up to date or have been checked
    with locked(run.path), ExitStack() as processes:
        run.manifest.refresh()
        renew_records(run, stages)
        waiting: dict[str, Callable[[], None]] = {}  # background stage -> function that waits for it
        for stage in wanted:
            for other in stages:
                if other.name in waiting and set(other.outputs) & set(stage.inputs):
                    waiting.pop(other.name)()
                    checked.add(other.name)
            label = f"{stages.index(stage) + 1}/{len(stages)} {stage.name}"
            if stage.needed is not None and not stage.needed(run.config):
                run.say(f"{label}: not needed, no stage of this run reads {' or '.join(stage.outputs)}")
                continue
            settings = _settings(run, stage)
            _check_inputs(run, stage, stages, checked)
            if not redo and is_current(run, stage, settings):
                run.say(f"{label}: up to date")
                checked.add(stage.name)
                continue
            if not redo:
                _check_in_place(run, stage)
            if not run.manifest.begin(stage.name, settings=settings, inputs=stage.inputs) or redo:
                _remove_unfinished(run, stage)
            if stage.background and len(wanted) > 1 and run.config.processes > 1:
                run.say(f"{label}, in the background ...")
                result = processes.enter_context(background(_in_process, (str(run.path), stage.function)))
                waiting[stage.name] = partial(_finish, run, stage, label, settings, result)
            else:
                run.say(f"{label} ...")
                _finish(run, stage, label, settings, partial(_timed, stage.function, run))
                checked.add(stage.name)
        for wait in waiting.values():
            wait()


def is_current(run: Run, stage: Stage, settings: Any = None) -> bool:
    """Return whether a stage was finished with the current settings and inputs, and its outputs are intact."""
    stage = stage.of(run.config)
    return run.manifest.is_current(
        stage.name, settings=settings or _settings(run, stage), inputs=stage.inputs, outputs=stage.outputs
    )


def renew_records(run: Run, stages: Sequence[Stage]) -> None:
    """Replace the hashes of settings that earlier versions recorded, if the config has not changed since.

    They were made of all splits of the task, also for stages that depend on the collected split only. Without this, a
    rollout store of an earlier version would count as one with other settings.
    """
    if len(run.config.task.splits) == 1:
        return
    known = {*run.manifest.data["stages"], *run.manifest.data.get("unfinished", {})}
    splits = material_config(run.config).task.identity()["splits"]
    for stage in stages:
        if stage.name in known and "task" in stage.sections and not stage.splits:
            try:
                settings = _settings(run, stage)
            except SelfRegError:  # a checkpoint is missing: the stage cannot be continued either
                continue
            former = {**settings, "task": {**settings["task"], "splits": splits}}
            run.manifest.renew(stage.name, former, settings, inputs=stage.of(run.config).inputs)


def _timed(function: Callable[[Run], Figures | None], run: Run) -> tuple[Figures, float]:
    """The figures of a stage, and its duration in seconds."""
    start = time.monotonic()
    return function(run) or {}, time.monotonic() - start


def _in_process(work: tuple[str, Callable[[Run], Figures | None]]) -> tuple[Figures, float]:
    """Run a background stage. It prints nothing, because the terminal belongs to the main process."""
    path, function = work
    return _timed(function, Run.open(path, progress=False, say=_silent))


def _silent(line: str) -> None:
    """Print nothing."""


def _remove_unfinished(run: Run, stage: Stage) -> None:
    """Remove the work of an earlier attempt with other settings or inputs."""
    remove(run.path / ".partial" / stage.name)
    for name in stage.outputs if stage.in_place else ():
        for path in run.path.glob(f"{name}*"):  # with the -wal and -shm files of a database
            remove(path)


def _finish(run: Run, stage: Stage, label: str, settings: Any, result: Callable[[], tuple[Figures, float]]) -> None:
    """Wait for the result of a stage, record it in the manifest (figures, ``stages.NAME.warnings``) and print it."""
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
    shown = [
        f"{key} {value:.3g}"
        if isinstance(value, float)
        else f"{key} {'unknown' if value is None else visible(value, limit=80)}"
        for key, value in figures.items()
    ]
    run.say(f"{label}: done in {seconds:.0f} s{'; ' if shown else ''}{', '.join(shown[:FIGURES])}")
    for warning in warnings:
        run.say(f"    warning: {visible(warning)}")


def _settings(run: Run, stage: Stage) -> dict[str, Any]:
    """All settings outside the run directory on which a stage's outputs depend, as plain values."""
    config = material_config(run.config)
    settings = {FORMER_NAMES.get(name, name): getattr(config, name).identity() for name in stage.sections}
    if "task" in settings and config.task.collected != "collected":  # then it depends on the order of the splits
        settings["task"]["collected"] = config.task.collected
    if "task" in settings and not stage.splits:
        settings["task"]["splits"] = {config.task.collected: config.task.splits[config.task.collected]}
    if stage.more is not None:
        settings["more"] = stage.more(run)
    return settings


def _check_inputs(run: Run, stage: Stage, stages: Sequence[Stage], checked: set[str]) -> None:
    """Raise unless the inputs of a stage, and all that they were made from, are intact; extends ``checked``."""
    for name in stage.inputs:
        maker = next(other for other in stages if name in other.outputs)
        if maker.name in checked:
            continue
        command = f"selfreg run --out {run.path} --until {maker.name}"
        if maker.name not in run.manifest.data["stages"] or not (run.path / name).exists():
            raise RunDirectoryError(
                f"the stage {stage.name} reads {name}, which is missing or not finished in {str(run.path)!r}. "
                f"First run the stage that makes it: {command}"
            )
        _check_inputs(run, maker, stages, checked)
        if maker.in_place:
            _check_in_place(run, maker)
        changed = run.manifest.changed(maker.name)
        if outputs := [one for one in changed if one in maker.outputs]:
            raise RunDirectoryError(
                f"{_changed(run, maker, outputs)} Restore it from a copy, or make it again: {command}"
            )
        if inputs := [one for one in changed if one in maker.inputs]:
            raise RunDirectoryError(
                f"{' and '.join(maker.outputs)} in {str(run.path)!r} must be made from the current files, and the "
                f"stage {maker.name} made it from another {' and another '.join(inputs)}. Make it again: {command}"
            )
        if not is_current(run, maker):
            run.say(
                f"note: {' and '.join(maker.outputs)} was made with other settings, or by another version of a helper "
                f"or of this package, and is used unchanged. To make it again: {command}"
            )
        checked.add(maker.name)


def _check_in_place(run: Run, stage: Stage) -> None:
    """Raise if a finished output that grows in place, and is never replaced without ``--redo``, has been changed."""
    if not stage.in_place or stage.name not in run.manifest.data["stages"] or run.update:
        return
    changed = [name for name in run.manifest.changed(stage.name) if name in stage.outputs]
    if changed and all((run.path / name).exists() for name in changed):
        raise RunDirectoryError(
            f"{_changed(run, stage, changed)} Restore it from a copy; or make it again with `selfreg {stage.name} "
            f"--out {run.path} --redo`; or accept an intended change with `selfreg run --out {run.path} --update`."
        )


def _changed(run: Run, stage: Stage, names: Sequence[str]) -> str:
    """The rule and the observation of an error about changed outputs."""
    return (
        f"{' and '.join(names)} in {str(run.path)!r} must be as the stage {stage.name} left it, and its content has "
        "changed since (its SHA-256 differs from manifest.json)."
    )
