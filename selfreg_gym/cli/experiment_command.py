"""The command ``experiment``: list the experiments, or run one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from selfreg_gym.cli.application import app, say
from selfreg_gym.cli.options import Command, Config, Redo, Set, Task, changes

__all__: list[str] = []


@app.command("experiment", cls=Command)
def experiment_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An experiment; without a name they are listed.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            readable=False,
            help="The folder of the results. Default: docs/results/NAME; with --quick runs/experiments/quick/NAME.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of training seeds; by default mostly 3.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Evaluation episodes per helper and split.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small version that ends in two minutes; its results are noisy.")
    ] = False,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The built-in config to start from; by default mostly tiny.")
    ] = None,
    config: Config = None,
    task: Task = None,
    overrides: Set = None,
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Number of processes.")] = None,
    cache: Annotated[
        Path,
        typer.Option(metavar="DIRECTORY", readable=False, help="Runs and measured cells, shared by experiments."),
    ] = Path("runs/experiments"),
    redo: Redo = False,
) -> None:
    """Run an experiment for several seeds and write a page with tables, plots and a manifest.

    What is finished is kept, so after Ctrl-C the same command continues.

    - `selfreg experiment`: list the experiments
    - `selfreg experiment self-regulation --quick`: a small version
    - `selfreg experiment self-regulation`: the full version, into docs/results/self-regulation
    - `selfreg experiment coverage --seeds 5 --set collect.episodes=22`: other sizes
    """
    if name is None:
        from selfreg_gym.cli.utility_commands import list_command

        list_command("experiments", False)
        return
    from selfreg_gym.experiments import run_experiment

    try:
        run_experiment(
            name, out=out, seeds=seeds, episodes=episodes, quick=quick, preset=preset, path=config,
            overrides=changes(task, overrides), workers=workers, cache=cache, redo=redo, progress=sys.stdout.isatty(),
            say=say,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("\nStopped. Finished work is kept; continue with the same command.", err=True)
        raise typer.Exit(130) from None
