"""The command line, ``selfreg``. Thin: each command reads its options and calls the function that does the work."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from selfreg_gym.errors import SelfRegError
from selfreg_gym.pipeline import STAGES, stages_until
from selfreg_gym.user_cache import give_matplotlib_a_directory

__all__ = ["app", "main"]

app = typer.Typer(
    name="selfreg",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""When should a language-model actor pay for help? Collect, solve, train a helper, compare helpers honestly.

Start with `selfreg run --preset tiny`: the whole method on CPU (10 minutes on two cores), ending in a report.""",
)

# Set before torch loads: one thread per process is many times faster for small models on a shared machine. The bars
# of libraries (one per file of a checkpoint) would only break up ours.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

Preset = Annotated[str | None, typer.Option(help="A shipped config: tiny (the demo) or smoke (seconds, for a try).")]
Config = Annotated[Path | None, typer.Option(help="A TOML file; see examples/*.toml. Keys not named keep defaults.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key: --set collect.episodes=50. May be repeated."),
]
Out = Annotated[Path, typer.Option(help="The run directory.")]
NewOut = Annotated[
    Path | None,
    typer.Option(help="The run directory; a run that is there goes on where it stopped. Default: runs/NAME-OF-CONFIG."),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help=f"Stop after this stage: {', '.join(stage.name for stage in STAGES)}."),
]
Update = Annotated[bool, typer.Option("--update", help="Take the new config for a run that is there.")]
Redo = Annotated[bool, typer.Option("--redo", help="Run even if the output is there and current.")]


def _version(value: bool) -> None:
    if value:
        import selfreg_gym

        typer.echo(f"selfreg_gym {selfreg_gym.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (at any place).")] = False,
) -> None:
    """Options of every command. ``--debug`` is taken out of the arguments by ``main``, so it works everywhere."""


def _advance(
    stages: Sequence[str] | None,
    *,
    out: Path | None,
    begin: bool = False,
    preset: str | None = None,
    config: Path | None = None,
    overrides: Sequence[str] | None = None,
    update: bool = False,
    redo: bool = False,
) -> Any:
    """Open the run (or ``begin`` it) and run stages of it; on Ctrl-C say how to go on."""
    from selfreg_gym.pipeline import advance, open_run
    from selfreg_gym.pipeline.directory import Run

    out = out or Path("runs") / (preset or (config.stem if config else "tiny"))
    bars = sys.stdout.isatty()  # in a log file a bar is noise; the stages' own lines are enough
    if begin:
        run = open_run(
            out, preset=preset, path=config, overrides=overrides or (), update=update, progress=bars, say=typer.echo
        )
    else:
        run = Run.open(out, progress=bars, say=typer.echo)
    try:
        advance(run, stages, redo=redo)
    except KeyboardInterrupt:
        typer.echo(
            f"\nStopped. What is finished is kept in {out}; the same command goes on from here, and so does\n"
            f"  selfreg run --out {out}",
            err=True,
        )
        raise typer.Exit(130) from None
    return run


@app.command("run")
def run_command(
    out: NewOut = None,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
    until: Until = None,
    update: Update = False,
    redo: Redo = False,
) -> None:
    """The whole method: collect, train the PRM, fit, solve, label, train the helper, evaluate, report.

    Stages whose output is there are skipped, so after Ctrl-C the same command goes on.

    - `selfreg run` runs the preset tiny in runs/tiny
    - `selfreg run --preset smoke` takes seconds
    - `selfreg run --config my.toml --out runs/mine --set actor.id=my-actor`
    - `selfreg run --out runs/mine` continues whatever runs/mine is
    """
    from selfreg_gym.pipeline.display import show

    run = _advance(
        stages_until(until) if until else None,
        out=out, begin=True, preset=preset, config=config, overrides=overrides, update=update, redo=redo,
    )  # fmt: skip
    show(run.path)


@app.command("collect")
def collect_command(
    out: NewOut = None,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
    update: Update = False,
    redo: Redo = False,
) -> None:
    """Play the collected tasks with random help, into rollouts.sqlite.

    - `selfreg collect --preset tiny --out runs/mine --set collect.episodes=55`
    """
    _advance(
        ["collect"], out=out, begin=True, preset=preset, config=config, overrides=overrides, update=update, redo=redo
    )  # fmt: skip


@app.command("train-prm")
def train_prm_command(out: Out = Path("runs/tiny"), redo: Redo = False) -> None:
    """Train the process reward model p(success | observation) on the rollouts, into prm/.

    - `selfreg train-prm --out runs/mine`
    """
    _advance(["train-prm"], out=out, redo=redo)


@app.command("solve")
def solve_command(out: Out = Path("runs/tiny"), redo: Redo = False) -> None:
    """Fit the transition model from the counts and solve it for every budget, into transitions.npz and solution.npz.

    - `selfreg solve --out runs/mine`
    """
    _advance(["fit", "solve"], out=out, redo=redo)


@app.command("train-helper")
def train_helper_command(out: Out = Path("runs/tiny"), redo: Redo = False) -> None:
    """Label the collected states with the solution and fine-tune the helper on them, into labels.jsonl and helper/.

    Reinforcement learners that the config names (rl.algorithms) are trained too, into rl/.

    - `selfreg train-helper --out runs/mine`
    """
    _advance(["label", "train-helper", "train-rl"], out=out, redo=redo)


@app.command("evaluate")
def evaluate_command(out: Out = Path("runs/tiny"), redo: Redo = False) -> None:
    """Calibrate every helper to every budget and play fresh episodes with it, into evaluation.json.

    A file dropped into agents/helpers/ is compared like the others, without an edit elsewhere.

    - `selfreg evaluate --out runs/mine`
    """
    from selfreg_gym.pipeline.display import show

    show(_advance(["calibrate", "evaluate"], out=out, redo=redo).path)


@app.command("report")
def report_command(out: Out = Path("runs/tiny"), redo: Redo = False) -> None:
    """Write report.html (one file, all figures inside) and plots/.

    - `selfreg report --out runs/mine`
    """
    from selfreg_gym.pipeline.display import show

    show(_advance(["report"], out=out, redo=redo).path)


@app.command("list")
def list_command(
    group: Annotated[str | None, typer.Argument(help="envs, actors, interventions or helpers; default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say which tasks, actors, interventions and helpers there are, and where each comes from.

    - `selfreg list helpers`
    - `selfreg list --json`
    """
    from selfreg_gym import registry

    groups = [group] if group else list(registry.GROUPS)
    found = {name: registry.describe(name) for name in groups}
    if as_json:
        plain = {
            name: [
                {"name": e.name, "module": e.module, "origin": e.origin, "summary": e.summary} for e in entries
            ]
            for name, entries in found.items()
        }  # fmt: skip
        typer.echo(json.dumps(plain, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "from", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for name, entries in found.items():
        table.add_row(f"[bold]{name}[/bold]")
        for e in entries:
            home = e.module if e.origin == "selfreg_gym" else f"{e.origin}: {e.module}"
            table.add_row(f"  {e.name}", home.removeprefix("selfreg_gym."), e.summary.replace("``", ""))
    Console().print(table)


@app.command("play")
def play_command(
    task: Annotated[str, typer.Option(help="Id of the task.")] = "selfreg/SIF-v0",
    role: Annotated[str, typer.Option(help="Who you are: actor, intervention or helper.")] = "actor",
    actor: Annotated[str, typer.Option(help="Who acts when it is not you.")] = "scripted",
    intervention: Annotated[list[str] | None, typer.Option(help="Whom you may ask as helper. [expert]")] = None,
    episode: Annotated[int, typer.Option(min=0, help="Which task.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="All randomness of the episode.")] = 0,
    task_set: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A task argument: --set kind=pnp.")
    ] = None,
    help_probability: Annotated[float, typer.Option(min=0, max=1, help="How often you are asked.")] = 0.3,
) -> None:
    """Play one episode in the terminal.

    - `selfreg play` you act in the household; `--set kind=s_hum` chooses the kind of task
    - `selfreg play --role helper --actor tiny` you decide when the tiny actor asks the expert
    - `selfreg play --role intervention` you are the one who is asked
    """
    from selfreg_gym.pipeline.config import parse_overrides
    from selfreg_gym.play import play_episode

    kwargs = parse_overrides(f"task.{text}" for text in task_set or ()).get("task", {})
    try:
        play_episode(
            task, role=role, actor=actor, interventions=intervention or ["expert"], task_kwargs=kwargs,
            episode=episode, seed=seed, help_probability=help_probability,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("\nBye.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of ours is one message and exit code 2."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    give_matplotlib_a_directory()  # before Stable-Baselines3, which imports Matplotlib
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # what it tells its own developers
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="selfreg")
    except SelfRegError as error:
        if debug:
            raise
        typer.echo(f"selfreg: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
