"""The commands that run stages of the pipeline: ``run``, ``collect``, ..., ``report``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from selfreg_gym.cli.application import app, say
from selfreg_gym.cli.options import (
    Command,
    Config,
    ConfigFile,
    NewOut,
    Out,
    Preset,
    Redo,
    Set,
    Task,
    Until,
    Update,
    changes,
)
from selfreg_gym.errors import InvalidArgumentError, RunDirectoryError
from selfreg_gym.pipeline import advance, open_run, stages_until
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.display import show
from selfreg_gym.utils.printable import visible

__all__ = ["latest_run"]


def _begin(out: NewOut, preset: Preset, config: Config, task: Task, overrides: Set, update: Update) -> Run:
    """Begin a run, or continue the one in ``out``."""
    out = out or Path("runs") / (preset or (config.stem if config else "tiny"))
    return open_run(
        out, preset=preset, path=config, overrides=changes(task, overrides), update=update, progress=_bars(), say=say
    )


def _continue(out: Out) -> Run:
    """Open an existing run; None: the one in ``runs/`` that was used last."""
    return Run.open(out or latest_run(), progress=_bars(), say=say)


def _bars() -> bool:
    """Whether to draw progress bars: not in a log file."""
    return sys.stdout.isatty()


def _advance(run: Run, stages: Sequence[str] | None, redo: bool) -> Run:
    """Run stages; Ctrl-C prints how to continue."""
    try:
        advance(run, stages, redo=redo)
    except KeyboardInterrupt:
        typer.echo(
            f"\nStopped. Finished work is kept in {visible(run.path)}; continue with the same command, or with\n"
            f"  selfreg run --out {visible(run.path)}",
            err=True,
        )
        raise typer.Exit(130) from None
    return run


def latest_run() -> Path:
    """The run directory in ``runs/`` whose manifest was written last; prints it."""
    found = sorted(Path("runs").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise RunDirectoryError(
            "a stage needs a run, and there is none in runs/. Give its directory with --out, or start one with "
            "`selfreg run --preset tiny`."
        )
    latest = found[-1].parent
    others = f" (the latest of {len(found)} in runs/; choose another with --out)" if len(found) > 1 else ""
    say(f"run: {latest}{others}")
    return latest


@app.command("run", cls=Command)
def run_command(
    file: ConfigFile = None,
    out: NewOut = None,
    preset: Preset = None,
    config: Config = None,
    task: Task = None,
    overrides: Set = None,
    until: Until = None,
    update: Update = False,
    redo: Redo = False,
) -> None:
    """Run the whole method: collect, train the PRM, solve, fit values, train, calibrate, select, evaluate, report.

    Stages that are up to date are skipped, so after Ctrl-C the same command continues.

    - `selfreg run`: the preset tiny, in runs/tiny
    - `selfreg run --preset smoke`: a test that takes seconds
    - `selfreg run --preset smoke --task selfreg/Coin-v0 --out runs/coin`: another task
    - `selfreg run my.toml`: a config of your own, in runs/my
    - `selfreg run --config my.toml --out runs/mine --set actor.id=my-actor`
    - `selfreg run --out runs/mine`: continue the run in runs/mine
    """
    if file is not None and config is not None:
        raise InvalidArgumentError(f"a run has one config, received {str(file)!r} and --config {str(config)!r}.")
    if file is not None and file.is_dir():
        raise InvalidArgumentError(f"a config is a TOML file, received the folder {str(file)!r}: write --out {file}.")
    config, stages = config or file, stages_until(until) if until else None
    show(_advance(_begin(out, preset, config, task, overrides, update), stages, redo))


@app.command("collect", cls=Command)
def collect_command(
    out: NewOut = None,
    preset: Preset = None,
    config: Config = None,
    task: Task = None,
    overrides: Set = None,
    update: Update = False,
    redo: Redo = False,
) -> None:
    """Play the collected tasks with random help, into rollouts.sqlite.

    - `selfreg collect --preset tiny --out runs/mine --set collect.episodes=55`
    """
    _advance(_begin(out, preset, config, task, overrides, update), ["collect"], redo)


@app.command("train-prm", cls=Command)
def train_prm_command(out: Out = None, redo: Redo = False) -> None:
    """Train the process reward model p(success | observation) on the rollouts, into prm/.

    - `selfreg train-prm --out runs/mine`
    """
    _advance(_continue(out), ["train-prm"], redo)


@app.command("solve", cls=Command)
def solve_command(out: Out = None, redo: Redo = False) -> None:
    """Fit the transition model to the rollouts and solve it for every budget, into transitions.npz and solution.npz.

    A second model, over feature keys and steps left, is fitted and solved in the same way, into features/.

    - `selfreg solve --out runs/mine`
    """
    _advance(_continue(out), ["fit", "solve", "solve-features"], redo)


@app.command("fit-values", cls=Command)
def fit_values_command(out: Out = None, redo: Redo = False) -> None:
    """Fit success and usage at all prices to the rollouts, and make the helpers that follow them, into values/.

    - `selfreg fit-values --out runs/mine`
    """
    _advance(_continue(out), ["fit-values"], redo)


@app.command("train-helper", cls=Command)
def train_helper_command(out: Out = None, redo: Redo = False) -> None:
    """Fine-tune the helper, into helper/. If it learns from labels, they are made first, into labels.jsonl.

    The RL algorithms of the config (rl.algorithms) are also trained, into rl/.

    - `selfreg train-helper --out runs/mine`
    """
    _advance(_continue(out), ["label", "train-helper", "train-rl"], redo)


@app.command("evaluate", cls=Command)
def evaluate_command(out: Out = None, redo: Redo = False) -> None:
    """Calibrate every helper to every budget and evaluate it on new episodes, into evaluation.json.

    The deployable helper that the report presents is selected on the validation splits, into selection.json.

    The helpers are those of evaluate.helpers; if it is empty, all for which the run has the necessary files.

    - `selfreg evaluate --out runs/mine`
    """
    show(_advance(_continue(out), ["calibrate", "select", "evaluate"], redo), made=("evaluate",))


@app.command("report", cls=Command)
def report_command(out: Out = None, redo: Redo = False) -> None:
    """Write report.html (one file that contains all figures) and plots/.

    - `selfreg report --out runs/mine`
    """
    show(_advance(_continue(out), ["report"], redo), made=("evaluate", "report"))
