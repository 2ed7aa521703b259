"""The command ``fork``: continue stored states of a run with and without help."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from selfreg_gym.cli.application import app, say
from selfreg_gym.cli.options import Command
from selfreg_gym.cli.stage_commands import latest_run
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.utils.printable import visible

__all__: list[str] = []


@app.command("fork", cls=Command)
def fork_command(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", readable=False, help="The run directory. Default: the most recent one in runs/."),
    ] = None,
    states: Annotated[int, typer.Option(metavar="N", min=1, help="Number of states.")] = 40,
    by: Annotated[
        str,
        typer.Option(
            metavar="CHOICE",
            help="random: any decision; decisive: with a gain of at least --least by the table; gain: the largest.",
        ),
    ] = "random",
    least: Annotated[float, typer.Option(metavar="GAIN", min=0, help="Least gain of a decisive state.")] = 0.1,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="C", min=0, help="Budget of the table's gains. Default: that of --then, or the first one."
        ),
    ] = None,
    then: Annotated[
        str | None,
        typer.Option(metavar="HELPER", help="The helper that is followed, as NAME or NAME@BUDGET. Default: nohelp."),
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(metavar="ACTIONS", help="First actions, such as 0, 1 or 1+2; may be repeated. Default: each one."),
    ] = None,
    repetitions: Annotated[int, typer.Option(metavar="N", min=1, help="Continuations of each first action.")] = 32,
    seed: Annotated[int, typer.Option(metavar="SEED", min=0, help="Seed of the choice and of the repetitions.")] = 0,
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Number of processes.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="The JSON file. Default: RUN/forks/CHOICE-HELPER.json."),
    ] = None,
) -> None:
    """Continue stored states with and without help, under common random numbers: the value of help at each state.

    Writes a JSON and a CSV file, and prints a table. After Ctrl-C the same command continues.

    - `selfreg fork runs/tiny`: 40 random decisions, followed by nohelp
    - `selfreg fork runs/tiny --by decisive --then fitted@1`: decisive ones, followed by a helper
    - `selfreg fork runs/two --first 1+2 --first 2+2`: the second intervention after the first, and after itself
    """
    from selfreg_gym.pipeline.directory import Run
    from selfreg_gym.pipeline.forking import fork_run

    opened = Run.open(run or latest_run(), progress=sys.stdout.isatty(), say=say)
    try:
        found = fork_run(
            opened, states=states, by=by, least=least, budget=budget, then=then,
            first_actions=None if first is None else [_actions(one) for one in first], repetitions=repetitions,
            seed=seed, workers=workers, path=to,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("\nStopped. Finished states are kept; continue with the same command.", err=True)
        raise typer.Exit(130) from None
    _show(found)


def _actions(text: str) -> tuple[int, ...]:
    """``1+2`` as (1, 2)."""
    try:
        return tuple(int(part) for part in text.split("+"))
    except ValueError:
        raise InvalidArgumentError(f"first actions are integers joined by +, such as 1+2; received {text!r}.") from None


def _gain(value: float) -> str:
    """A gain by the table; NaN in a state that the table does not know."""
    return "unknown" if math.isnan(value) else f"{value:+z.2f}"


def _show(found: object) -> None:
    """Print a row per state, the means, and the comparison with the table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from selfreg_gym.forks import Forks

    forks: Forks = found.forks  # type: ignore[attr-defined]
    base, *others = forks.first_actions
    names = ["+".join(map(str, one)) for one in forks.first_actions]
    shown = Table(box=None, padding=(0, 2, 0, 0))
    gains = found.gains  # type: ignore[attr-defined]
    headings = ["state", "left", *(f"S({name})" for name in names), *(f"S({n}) - S({names[0]})" for n in names[1:])]
    for column in [*headings, *([] if gains is None else ["table"])]:
        shown.add_column(column, justify="left" if column == "state" else "right")
    rates = [forks.rates(first)[0] for first in forks.first_actions]
    differences = [forks.differences(first, base) for first in others]
    for i, state in enumerate(forks.states):
        cells = [visible(f"{state.task_id} step {state.t}"), "" if state.steps_left is None else str(state.steps_left)]
        cells += [f"{rate[i]:.2f}" for rate in rates]
        cells += [f"{d.success[i]:+z.2f} [{d.success_low[i]:+z.2f}, {d.success_high[i]:+z.2f}]" for d in differences]
        cells += [] if gains is None else [_gain(gains[i])]
        shown.add_row(*(Text(cell) for cell in cells))
    Console().print(shown)
    for first, name in zip(others, names[1:], strict=True):
        success, cost = forks.mean_difference(first, base)
        say(f"S({name}) - S({names[0]}): mean over states {success}; cost units {cost}")
    check = found.check  # type: ignore[attr-defined]
    if check is not None:
        say(
            f"gain by the table against the forks: bias {check.bias}, slope {check.slope}, correlation "
            f"{check.correlation} ({check.corrected.value:.2f} without the noise of the repetitions)"
        )
    say(f"{forks.note} Results: {found.path}")  # type: ignore[attr-defined]
