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

from selfreg_gym.cli.options import Command, Config, Group, NewOut, Out, Preset, Redo, Set, Task, Until, Update
from selfreg_gym.cli.system_errors import complain, system_error
from selfreg_gym.errors import ConfigError, SelfRegError, UnknownNameError
from selfreg_gym.pipeline import stages_until
from selfreg_gym.utils.printable import visible
from selfreg_gym.utils.user_cache import give_matplotlib_a_directory

__all__ = ["app", "main"]


app = typer.Typer(
    name="selfreg",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""When should a language-model actor pay for help? Collect rollouts, solve, train a helper, compare helpers.

Start with `selfreg run --preset tiny`: the whole method on CPU (15 minutes on two cores), ending in a report.""",
)

# Set before torch loads: one thread per process is many times faster for small models on a shared machine. The bars
# of libraries (one per file of a checkpoint) would only break up ours.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
MESSAGE = 4000
"""An error message has at most this many characters on the terminal."""


def _version(value: bool) -> None:
    if value:
        import selfreg_gym

        typer.echo(f"selfreg_gym {selfreg_gym.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere in the command.")
    ] = False,
) -> None:
    """Options of every command. ``--debug`` is taken out of the arguments by ``main``, so it works everywhere."""


def _advance(
    stages: Sequence[str] | None,
    *,
    out: Path | None,
    begin: bool = False,
    preset: str | None = None,
    config: Path | None = None,
    task: str | None = None,
    overrides: Sequence[str] | None = None,
    update: bool = False,
    redo: bool = False,
) -> Any:
    """Open the run (or ``begin`` it) and run stages of it; on Ctrl-C say how to continue."""
    from selfreg_gym.pipeline import advance, open_run
    from selfreg_gym.pipeline.directory import Run

    options: dict[str, Any] = {"progress": sys.stdout.isatty(), "say": _say}  # a log file needs no bars
    if begin:
        out = out or Path("runs") / (preset or (config.stem if config else "tiny"))
        changes = [*([f"task.id={task}"] if task else []), *(overrides or ())]
        run = open_run(out, preset=preset, path=config, overrides=changes, update=update, **options)
    else:
        run = Run.open(out or _latest(), **options)
    try:
        advance(run, stages, redo=redo)
    except KeyboardInterrupt:
        typer.echo(
            f"\nStopped. What is finished is kept in {visible(run.path)}; the same command continues from here, and so "
            f"does\n  selfreg run --out {visible(run.path)}",
            err=True,
        )
        raise typer.Exit(130) from None
    return run


def _say(line: str) -> None:
    typer.echo(visible(line))


def _latest() -> Path:
    """The run directory of ``runs/`` whose manifest was written last; it is named on the terminal."""
    from selfreg_gym.errors import RunDirectoryError

    found = sorted(Path("runs").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise RunDirectoryError(
            "a stage needs a run, and there is none in runs/. Name its directory with --out, or begin one with "
            "`selfreg run --preset tiny`."
        )
    latest = found[-1].parent
    others = f" (the latest of {len(found)} in runs/; another: --out)" if len(found) > 1 else ""
    _say(f"run: {latest}{others}")
    return latest


@app.command("run", cls=Command)
def run_command(
    out: NewOut = None,
    preset: Preset = None,
    config: Config = None,
    task: Task = None,
    overrides: Set = None,
    until: Until = None,
    update: Update = False,
    redo: Redo = False,
) -> None:
    """Run the whole method: collect, train the PRM, fit, solve, label, train the helper, evaluate, report.

    Stages whose output is there are skipped, so after Ctrl-C the same command continues.

    - `selfreg run` runs the preset tiny in runs/tiny
    - `selfreg run --preset smoke` takes seconds
    - `selfreg run --preset smoke --task selfreg/Coin-v0 --out runs/coin` takes another task
    - `selfreg run --config my.toml --out runs/mine --set actor.id=my-actor`
    - `selfreg run --out runs/mine` continues the run in runs/mine
    """
    from selfreg_gym.pipeline.display import show

    run = _advance(
        stages_until(until) if until else None,
        out=out, begin=True, preset=preset, config=config, task=task, overrides=overrides, update=update, redo=redo,
    )  # fmt: skip
    show(run)


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
    _advance(
        ["collect"],
        out=out, begin=True, preset=preset, config=config, task=task, overrides=overrides, update=update, redo=redo,
    )  # fmt: skip


@app.command("train-prm", cls=Command)
def train_prm_command(out: Out = None, redo: Redo = False) -> None:
    """Train the process reward model p(success | observation) on the rollouts, into prm/.

    - `selfreg train-prm --out runs/mine`
    """
    _advance(["train-prm"], out=out, redo=redo)


@app.command("solve", cls=Command)
def solve_command(out: Out = None, redo: Redo = False) -> None:
    """Fit the transition model to the rollouts and solve it for every budget, into transitions.npz and solution.npz.

    - `selfreg solve --out runs/mine`
    """
    _advance(["fit", "solve"], out=out, redo=redo)


@app.command("train-helper", cls=Command)
def train_helper_command(out: Out = None, redo: Redo = False) -> None:
    """Label the collected states with the solution and fine-tune the helper on them, into labels.jsonl and helper/.

    Reinforcement learners that the config names (rl.algorithms) are trained too, into rl/.

    - `selfreg train-helper --out runs/mine`
    """
    _advance(["label", "train-helper", "train-rl"], out=out, redo=redo)


@app.command("evaluate", cls=Command)
def evaluate_command(out: Out = None, redo: Redo = False) -> None:
    """Calibrate every helper to every budget and play fresh episodes with it, into evaluation.json.

    A file dropped into agents/helpers/ is compared like the others, without an edit elsewhere.

    - `selfreg evaluate --out runs/mine`
    """
    from selfreg_gym.pipeline.display import show

    show(_advance(["calibrate", "evaluate"], out=out, redo=redo), made=("evaluate",))


@app.command("report", cls=Command)
def report_command(out: Out = None, redo: Redo = False) -> None:
    """Write report.html (one file, all figures inside) and plots/.

    - `selfreg report --out runs/mine`
    """
    from selfreg_gym.pipeline.display import show

    show(_advance(["report"], out=out, redo=redo), made=("evaluate", "report"))


@app.command("list", cls=Command)
def list_command(
    group: Annotated[
        str | None, typer.Argument(metavar="GROUP", help="tasks, actors, interventions or helpers; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the registered tasks, actors, interventions and helpers, with the distribution and module of each.

    - `selfreg list helpers`
    - `selfreg list --json`
    """
    from selfreg_gym import registry

    shown = [name for name in (*TITLES, *registry.GROUPS) if name not in TITLES.values()]
    if group and group not in (*shown, *TITLES.values()):
        raise UnknownNameError("group", group, shown)
    groups = [TITLES.get(group, group)] if group else list(registry.GROUPS)
    found = {name: registry.describe(name) for name in groups}
    if as_json:
        plain = {
            name: [
                {"name": e.name, "module": e.module, "origin": e.origin, "summary": e.summary} for e in entries
            ]
            for name, entries in found.items()
        }  # fmt: skip
        typer.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "from", "description"):
        table.add_column(column, overflow="fold")
    titles = {name: title for title, name in TITLES.items()}
    for name, entries in found.items():
        table.add_row(Text(titles.get(name, name), "bold"))
        for e in entries:
            home = e.module.removeprefix("selfreg_gym.") if e.origin == "selfreg_gym" else f"{e.origin}: {e.module}"
            summary = e.summary.replace("``", "") or "(no description)"
            # Text and not str: rich reads square brackets of a str as markup.
            table.add_row(*(Text(visible(text, limit=300)) for text in (f"  {e.name}", home, summary)))
    Console().print(table)


TITLES = {"tasks": "envs"}
"""Name of a group on the command line -> its name in the registry, where the two differ."""


@app.command("play", cls=Command)
def play_command(
    task: Annotated[str, typer.Option(metavar="ID", help="Id of the task.")] = "selfreg/SIF-v0",
    role: Annotated[str, typer.Option(metavar="ROLE", help="Your role: actor, intervention or helper.")] = "actor",
    actor: Annotated[
        str, typer.Option(metavar="ID", help="Id of the actor, where you are not the actor.")
    ] = "scripted",
    intervention: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Id of an intervention that you may ask as helper; may be repeated. [expert]"),
    ] = None,
    episode: Annotated[int, typer.Option(metavar="INDEX", min=0, help="Index of the task instance.")] = 0,
    seed: Annotated[int, typer.Option(metavar="SEED", min=0, help="Seed of the episode.")] = 0,
    task_set: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A task argument: --set kind=pnp.")
    ] = None,
    help_probability: Annotated[
        float, typer.Option(metavar="P", min=0, max=1, help="Probability per step that you are asked as intervention.")
    ] = 0.3,
) -> None:
    """Play one episode in the terminal.

    - `selfreg play` you act in the household; `--set kind=s_hum` chooses the kind of task
    - `selfreg play --role helper --actor tiny` you decide when the tiny actor asks the expert
    - `selfreg play --role intervention` you are the one who is asked
    """
    from selfreg_gym.pipeline.config import parse_overrides
    from selfreg_gym.playing.interactive import play_episode

    for text in task_set or ():
        if "=" not in text:
            raise ConfigError(f"a task argument is KEY=VALUE (--set kind=pnp), received {text!r}.")
    kwargs = parse_overrides(f"task.{text}" for text in task_set or ()).get("task", {})
    try:
        play_episode(
            task, role=role, actor=actor, interventions=intervention or ["expert"], task_kwargs=kwargs,
            episode=episode, seed=seed, help_probability=help_probability,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("\nBye.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. An error is one message on standard error; exit code 2, or 1 for an error of the system."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows escapes
    give_matplotlib_a_directory()  # before Stable-Baselines3, which imports Matplotlib
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # for its own developers
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="selfreg")
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = 2 if isinstance(error, SelfRegError) else 1
        message = str(error) if code == 2 else system_error(error)
        if debug or message is None:
            raise
    complain(f"selfreg: {visible(message, limit=MESSAGE, keep=chr(10))}")
    sys.exit(code)
