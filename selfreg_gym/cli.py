"""The command line, ``selfreg``. Thin: each command reads its options and calls the function that does the work."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from selfreg_gym.errors import ConfigError, SelfRegError, UnknownNameError
from selfreg_gym.pipeline import STAGES, stages_until
from selfreg_gym.printable import visible
from selfreg_gym.user_cache import give_matplotlib_a_directory

__all__ = ["app", "main"]


def _as_flags(parameters: list[Any]) -> list[Any]:
    """Options that take no value, shown as ``--redo`` and not as ``--redo <bool>``."""
    for one in parameters:
        if getattr(one, "is_flag", False):
            one.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _as_flags(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _as_flags(super().get_params(ctx))


app = typer.Typer(
    name="selfreg",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""When should a language-model actor pay for help? Collect rollouts, solve, train a helper, compare helpers.

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
MESSAGE = 4000
"""An error message has at most this many characters on the terminal."""

Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A shipped config: tiny (the demo) or smoke (a test that takes seconds)."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        readable=False,
        help="A TOML file; see examples/*.toml. Keys that it does not name keep defaults.",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Short for --set task.id=ID. Arguments and splits of the config's own task do not apply to another one.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key: --set collect.episodes=50. May be repeated."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        readable=False,
        help="The run directory. Default: the one in runs/ that was worked in last.",
    ),
]
NewOut = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        readable=False,  # checked where it is used, with one message for all faults
        help="The run directory; a run that is there continues where it stopped. Default: runs/NAME-OF-CONFIG.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help=f"Stop after this stage: {', '.join(stage.name for stage in STAGES)}."),
]
Update = Annotated[
    bool, typer.Option("--update", help="Change the config of the run that is there; run again what depends on it.")
]
Redo = Annotated[bool, typer.Option("--redo", help="Run even if the output is there and current.")]


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


@app.command("run", cls=_Command)
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


@app.command("collect", cls=_Command)
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


@app.command("train-prm", cls=_Command)
def train_prm_command(out: Out = None, redo: Redo = False) -> None:
    """Train the process reward model p(success | observation) on the rollouts, into prm/.

    - `selfreg train-prm --out runs/mine`
    """
    _advance(["train-prm"], out=out, redo=redo)


@app.command("solve", cls=_Command)
def solve_command(out: Out = None, redo: Redo = False) -> None:
    """Fit the transition model to the rollouts and solve it for every budget, into transitions.npz and solution.npz.

    - `selfreg solve --out runs/mine`
    """
    _advance(["fit", "solve"], out=out, redo=redo)


@app.command("train-helper", cls=_Command)
def train_helper_command(out: Out = None, redo: Redo = False) -> None:
    """Label the collected states with the solution and fine-tune the helper on them, into labels.jsonl and helper/.

    Reinforcement learners that the config names (rl.algorithms) are trained too, into rl/.

    - `selfreg train-helper --out runs/mine`
    """
    _advance(["label", "train-helper", "train-rl"], out=out, redo=redo)


@app.command("evaluate", cls=_Command)
def evaluate_command(out: Out = None, redo: Redo = False) -> None:
    """Calibrate every helper to every budget and play fresh episodes with it, into evaluation.json.

    A file dropped into agents/helpers/ is compared like the others, without an edit elsewhere.

    - `selfreg evaluate --out runs/mine`
    """
    from selfreg_gym.pipeline.display import show

    show(_advance(["calibrate", "evaluate"], out=out, redo=redo), made=("evaluate",))


@app.command("report", cls=_Command)
def report_command(out: Out = None, redo: Redo = False) -> None:
    """Write report.html (one file, all figures inside) and plots/.

    - `selfreg report --out runs/mine`
    """
    from selfreg_gym.pipeline.display import show

    show(_advance(["report"], out=out, redo=redo), made=("evaluate", "report"))


@app.command("list", cls=_Command)
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
"""Group as people call it -> group of the registry, where the two differ."""


@app.command("play", cls=_Command)
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
    from selfreg_gym.play import play_episode

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
    """Run the command line. An error is one message on standard error and exit code 2, 1 if the machine is at fault."""
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
        message = str(error) if code == 2 else _fault(error)
        if debug or message is None:
            raise
    _complain(f"selfreg: {visible(message, limit=MESSAGE, keep=chr(10))}")
    sys.exit(code)


def _fault(error: BaseException) -> str | None:
    """What the operating system or SQLite refused, in one line; None for an error that is a fault of the program."""
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        names = " -> ".join(repr(str(name)) for name in (error.filename, error.filename2) if name is not None)
        subject = f"{names}: {what}" if names else what
        return (
            f"{subject}. What is finished is kept: once the cause is removed (free space, permissions, the path), the "
            "same command continues; or choose another directory with --out."
        )
    if isinstance(error, sqlite3.Error):
        return (
            f"the rollout store (rollouts.sqlite) cannot be used: {error}. What is finished is kept: once the cause is "
            "removed (free space, permissions, another program that holds the file), the same command continues."
        )
    if isinstance(error, MemoryError):
        return "there is not enough memory. Use smaller batches (num_envs, batch_size) or fewer workers."
    text = f"{type(error).__name__}: {error}"
    if any(sign in text for sign in ("IoError", "os error", "No space left", "file write failed", "I/O error")):
        return f"a file cannot be read or written ({text}). Once the cause is removed, the same command continues."
    return None


def _complain(message: str) -> None:
    """Print to standard error; where a stream cannot be written (a full disk), give it up silently."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        _give_up(sys.stdout)


def _give_up(stream: Any) -> None:
    """Send what is left in a stream's buffer nowhere, so that the interpreter does not fail on it at its end."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    main()
