"""Options common to several commands of ``selfreg``, and their form in ``--help``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from selfreg_gym.pipeline import STAGES

__all__ = [
    "Command",
    "Config",
    "ConfigFile",
    "Group",
    "NewOut",
    "Out",
    "Preset",
    "Redo",
    "Set",
    "Task",
    "Until",
    "Update",
    "changes",
]


class _Flags:
    """Shows options without a value as ``--redo``, not ``--redo <bool>``, and arguments without their Python type."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for one in parameters:
            if getattr(one, "is_flag", False):
                one.metavar = ""
            if isinstance(one, TyperArgument):
                one.display_type_rich = lambda ctx: None  # type: ignore[method-assign, misc, assignment]
        return parameters


class Command(_Flags, TyperCommand): ...


class Group(_Flags, TyperGroup): ...


def changes(task: str | None, overrides: Sequence[str] | None) -> list[str]:
    """Return ``--task`` and ``--set`` as overrides of the config."""
    return [*([f"task.id={task}"] if task else []), *(overrides or ())]


Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="A built-in config: tiny (the demo), smoke (a test), or one of `selfreg list presets`."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", readable=False, help="A TOML file; see examples/*.toml. Missing keys have their defaults."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", readable=False, show_default=False, help="The same as --config FILE.")
]
Task = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Short for --set task.id=ID. Drops the arguments and splits of the config's task."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key: --set collect.episodes=50. May be repeated."),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIRECTORY", readable=False, help="The run directory. Default: the most recent one in runs/."),
]
NewOut = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        readable=False,  # checked later, with one message for all faults
        help="The run directory; an existing run is continued. Default: runs/NAME-OF-CONFIG.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help=f"Stop after this stage: {', '.join(stage.name for stage in STAGES)}."),
]
Update = Annotated[
    bool, typer.Option("--update", help="Change the config of an existing run and repeat the stages that depend on it.")
]
Redo = Annotated[bool, typer.Option("--redo", help="Run even if the output is up to date.")]
