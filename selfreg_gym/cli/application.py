"""The Typer application behind ``selfreg``, with its global options."""

from __future__ import annotations

from typing import Annotated

import typer

from selfreg_gym.cli.options import Group
from selfreg_gym.utils.printable import visible

__all__ = ["app", "say"]

app = typer.Typer(
    name="selfreg",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""When should a language-model actor pay for help? Collect rollouts, solve, train a helper, compare helpers.

Start with `selfreg run --preset tiny`: it runs the whole method on CPU in 15 minutes and writes a report.""",
)


def say(line: str) -> None:
    """Print a line, with control characters made visible."""
    typer.echo(visible(line))


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
        bool, typer.Option("--debug", help="Show the traceback of an error; allowed after any command.")
    ] = False,
) -> None:
    """Global options. ``main`` removes ``--debug`` from the arguments, so that it works at any place."""
