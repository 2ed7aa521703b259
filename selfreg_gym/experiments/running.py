"""``run_experiment``: measure all cells of an experiment for several seeds, and write its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import SelfRegError
from selfreg_gym.experiments.cpu_time import add_cpu_seconds, cpu_seconds, recorded_cpu_seconds
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.page import check_folder, write_page
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.trial import Trial, of_seed
from selfreg_gym.experiments.units import Unit
from selfreg_gym.pipeline.config import RunConfig, load_config, to_dict
from selfreg_gym.pipeline.locking import locked
from selfreg_gym.pipeline.manifest import provenance
from selfreg_gym.pipeline.validation import validate
from selfreg_gym.utils.arguments import check_count

__all__ = ["CACHE", "config_of", "run_experiment"]

CACHE = Path("runs/experiments")
"""Default directory of the runs and of the measured cells, which experiments share."""

COMMON = ("evaluate.seed=7001", "calibrate.seed=7002")
"""Changes of the config for all experiments: evaluation and calibration have seeds that no other command uses."""

UNUSED = ("select",)
"""Sections of the config that no cell uses: experiments do not run the stage ``select``."""


def run_experiment(
    name: str,
    *,
    out: str | Path | None = None,
    seeds: int | None = None,
    episodes: int | None = None,
    quick: bool = False,
    preset: str | None = None,
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    workers: int | None = None,
    cache: str | Path = CACHE,
    redo: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Run an experiment, or continue it, and write its page.

    Args:
        name: its id (``selfreg list experiments``).
        out: folder of the results. Default: ``docs/results/NAME``, for the quick version ``CACHE/quick/NAME``.
        seeds: number of training seeds; None: that of the experiment, mostly three.
        episodes: evaluation episodes per helper and split; None: ``evaluate.tasks`` x ``evaluate.episodes``.
        quick: the small version, which ends in less than two minutes; its results are noisy.
        preset, path, overrides: the config (:func:`config_of`). Without a preset and a path, all presets of the
            experiment are measured.
        workers: number of processes; None: those of the config. It does not change results.
        cache: directory of the runs and of the measured cells.
        redo: measure all cells again; finished stages of the runs are kept.
        progress: draw progress bars.
        say: called with each line of output.

    Returns:
        The folder of the results.

    Raises:
        UnknownNameError: no such experiment.
        InvalidArgumentError: a number of seeds or episodes below 1.
        ConfigError: an invalid config.
        RunDirectoryError: ``out`` holds other files.
    """
    kind = registry.load("experiments", name)
    experiment: Experiment = kind()
    seeds = check_count("the number of seeds", experiment.seeds if seeds is None else seeds)
    cache = Path(cache)
    folder = Path(out) if out is not None else (cache / "quick" / name if quick else Path("docs/results") / name)
    check_folder(folder, name)
    given: dict[str, Any] = {"quick": quick, "episodes": episodes, "overrides": overrides, "workers": workers}
    configs, unavailable = _configs(experiment, preset, path, given)
    trials: list[Trial] = []
    records: list[dict[str, Any]] = []
    results: dict[str, Results] = {}
    for title, config in configs.items():
        own = [
            Trial(seed, of_seed(config, seed), cache, progress, say, base=config, seeds=seeds) for seed in range(seeds)
        ]
        trials += own
        measured: dict[tuple[str, int], Mapping[str, Any]] = {}
        wanted = [(cell, trial) for trial in own for cell in _cells(experiment, config, trial.seed)]
        for number, (cell, trial) in enumerate(wanted, 1):
            label = f"{number}/{len(wanted)} {name}: {f'{title}, ' if len(configs) > 1 else ''}{cell.name}"
            label += "" if cell.shared else f", seed {trial.seed}"
            unit = Unit(cache / "units" / name, kind.__module__, cell.name, trial.seed, _identity(trial, cell))
            found = None if redo else unit.load()
            if found is None:
                say(f"{label} ...")
                found = _measure(experiment, cell, trial, unit, own, redo=redo)
                say(f"{label}: done in {found['cpu_seconds']:.0f} s of CPU time")
            else:
                say(f"{label}: measured before")
            measured[cell.name, trial.seed] = found["value"]
            records.append({"config": title} | {key: value for key, value in found.items() if key != "value"})
        results[title] = Results(config, tuple(range(seeds)), measured)
    [first, *others] = results.values()
    alone = not (others or unavailable)
    findings = experiment.findings(first) if alone else experiment.overview(results, unavailable)
    command = _command(name, seeds=seeds, quick=quick, episodes=episodes, preset=preset, path=path, overrides=overrides)
    manifest = {
        "experiment": name,
        "quick": quick,
        "command": command,
        "seeds": seeds,
        "seeds_of_trials": [_seeds(trial.config) for trial in trials],
        **({} if alone else {"configs": {name: to_dict(config) for name, config in configs.items()}}),
        **provenance(),
        "commits": list(dict.fromkeys(str(record["git"]) for record in records if record["git"])),
        "machines": _distinct([record["machine"] for record in records if "machine" in record]),
        "cpu_seconds": {
            "cells": round(sum(record["cpu_seconds"] for record in records), 1),
            "stages": round(_stage_seconds(trials), 1),
        },
        "units": [{key: value for key, value in record.items() if key != "machine"} for record in records],
    }
    write_page(folder, experiment, findings, configs, manifest)
    say(f"results: {folder}")
    return folder


def _configs(
    experiment: Experiment, preset: str | None, path: str | Path | None, given: Mapping[str, Any]
) -> tuple[dict[str, RunConfig], dict[str, str]]:
    """The measured configs by name, and the reasons why others of the experiment's presets cannot be measured."""
    chosen = (preset or "tiny",) if preset is not None or path is not None or not experiment.presets else ()
    configs: dict[str, RunConfig] = {}
    unavailable: dict[str, str] = {}
    failed: list[SelfRegError] = []
    for name in chosen or experiment.presets:
        try:
            config = config_of(experiment, preset=name, path=path, **given)
            validate(config)
        except SelfRegError as error:
            if chosen:
                raise
            unavailable[name] = str(error)
            failed.append(error)
        else:
            configs[name] = config
    if not configs:
        raise failed[0]
    return configs, unavailable


def _distinct(values: Sequence[Any]) -> list[Any]:
    """The values without repetitions, in their order."""
    return [value for number, value in enumerate(values) if value not in values[:number]]


def _measure(
    experiment: Experiment, cell: Cell, trial: Trial, unit: Unit, trials: Sequence[Trial], *, redo: bool
) -> dict[str, Any]:
    """Measure a cell and save it; its CPU time does not include that of the stages of the runs.

    Raises:
        RunDirectoryError: another process measures it.
    """
    unit.parts.mkdir(parents=True, exist_ok=True)
    with locked(unit.parts, what="a cell of an experiment", option="--cache"):
        if not redo and (found := unit.load()) is not None:  # another process has measured it since
            return found
        if redo:
            unit.forget_parts()
        before, stages = cpu_seconds(), _stage_seconds(trials)
        try:
            value = experiment.measure(replace(trial, parts=unit.parts), cell.name)
        finally:  # an interrupted measurement continues, and its time counts
            used = cpu_seconds() - before - (_stage_seconds(trials) - stages)
            add_cpu_seconds(unit.parts, cell.name, used)
        return unit.save(value, seconds=recorded_cpu_seconds(unit.parts).get(cell.name, 0.0))


def _command(
    name: str,
    *,
    seeds: int,
    quick: bool,
    episodes: int | None,
    preset: str | None,
    path: str | Path | None,
    overrides: Sequence[str],
) -> str:
    """The command that repeats the experiment."""
    words = ["selfreg experiment", name, f"--seeds {seeds}", *(["--quick"] if quick else [])]
    words += [f"--episodes {episodes}"] if episodes is not None else []
    words += [f"--preset {preset}"] if preset not in (None, "tiny") else []
    words += [f"--config {Path(path).name}"] if path is not None else []
    words += [f"--set {change}" for change in overrides]
    return " ".join(words)


def config_of(
    experiment: Experiment,
    *,
    quick: bool = False,
    episodes: int | None = None,
    preset: str = "tiny",
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    workers: int | None = None,
) -> RunConfig:
    """The config of an experiment: a preset or a file, then the experiment's changes, then ``overrides``.

    Raises:
        ConfigError, UnknownNameError: an invalid config.
        InvalidArgumentError: a number of episodes or workers below 1.
    """
    changes = [
        *COMMON,
        *(experiment.defaults if path is None else ()),
        *(experiment.quick if quick else experiment.full),
    ]
    if workers is not None:
        count = check_count("workers", workers)
        changes += [f"{section}.workers={count}" for section in ("collect", "calibrate", "evaluate")]
    source: dict[str, Any] = {"path": path} if path is not None else {"preset": preset}
    config = load_config(**source, overrides=[*changes, *overrides])
    if episodes is None:
        return config
    tasks = min(check_count("episodes", episodes), config.evaluate.tasks)
    sizes = [f"evaluate.tasks={tasks}", f"evaluate.episodes={-(-episodes // tasks)}"]
    return load_config(**source, overrides=[*changes, *overrides, *sizes])


def _cells(experiment: Experiment, config: RunConfig, seed: int) -> list[Cell]:
    """The cells that are measured for this seed."""
    return [cell for cell in experiment.cells(config) if seed == 0 or not cell.shared]


def _identity(trial: Trial, cell: Cell) -> dict[str, Any]:
    """All settings on which the value of a cell depends."""
    config = trial.config
    found = {name: getattr(config, name).identity() for name in type(config).model_fields if name not in UNUSED}
    return found | ({"number of seeds": trial.seeds} if cell.reads_others else {})


def _seeds(config: RunConfig) -> dict[str, int]:
    """The seed of each section of the config that has one."""
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    return {name: section.seed for name, section in sections.items() if hasattr(section, "seed")}


def _stage_seconds(trials: Sequence[Trial]) -> float:
    """CPU seconds of all stages of the trials' runs."""
    return sum(sum(recorded_cpu_seconds(trial.run().path).values()) for trial in trials)
