"""The commands ``list``, ``config`` and ``play``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from selfreg_gym.cli.application import app
from selfreg_gym.cli.options import Command, Config, Preset, Set, Task, changes
from selfreg_gym.errors import ConfigError, UnknownNameError
from selfreg_gym.utils.printable import visible

if TYPE_CHECKING:
    from selfreg_gym.registry import Entry

__all__: list[str] = []

GROUP_NAMES = {"tasks": "envs"}
"""Name of a group on the command line -> its name in the registry, where the two differ."""
PRESETS = "presets"
"""The group of the shipped configs, which are not plug-ins."""
_MOST_VARIANTS = 8  # ids of one module that are printed one by one


@app.command("list", cls=Command)
def list_command(
    group: Annotated[
        str | None,
        typer.Argument(
            metavar="GROUP", help="tasks, actors, interventions, helpers, experiments or presets; default: all."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print each id of a task with many variants.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all ids.")] = False,
) -> None:
    """List the tasks, actors, interventions, helpers, experiments and presets.

    Of plug-ins the distribution and the module are listed, too. A preset is a built-in config for `--preset`.

    - `selfreg list helpers`
    - `selfreg list tasks --all`
    - `selfreg list --json`
    """
    from selfreg_gym import registry

    known = [name for name in (*GROUP_NAMES, *registry.GROUPS, PRESETS) if name not in GROUP_NAMES.values()]
    if group and group not in (*known, *GROUP_NAMES.values()):
        raise UnknownNameError("group", group, known)
    groups = [GROUP_NAMES.get(group, group)] if group else [*registry.GROUPS, PRESETS]
    found = {name: _presets() if name == PRESETS else registry.describe(name) for name in groups}
    if as_json:
        keys = ("name", "module", "origin", "summary")
        plain = {name: [{key: getattr(e, key) for key in keys} for e in entries] for name, entries in found.items()}
        typer.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    brought = any(entry.origin != "selfreg_gym" for entries in found.values() for entry in entries)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", *(["from"] if brought else []), "description"):
        table.add_column(column, overflow="fold")
    headings = {name: heading for heading, name in GROUP_NAMES.items()}
    for name, entries in found.items():
        table.add_row(Text(headings.get(name, name), "bold"))
        for e, variants in _with_variants(entries, most=len(entries) if every else _MOST_VARIANTS):
            home = "" if e.origin == "selfreg_gym" else f"{e.origin}: {e.module}"
            summary = e.summary.replace("``", "") or "(no description)"
            if variants:
                summary += f" {variants} variants: `selfreg list {headings.get(name, name)} --all`."
            # Text instead of str, in which rich would read square brackets as markup.
            cells = (f"  {e.name}", *([home] if brought else []), summary)
            table.add_row(*(Text(visible(text, limit=300)) for text in cells))
    Console().print(table)


def _presets() -> list[Entry]:
    """The shipped configs, in the form of plug-ins."""
    from selfreg_gym.pipeline.config import preset_names, preset_summary
    from selfreg_gym.registry import Entry

    module = "selfreg_gym.pipeline.presets"
    return [
        Entry(name, PRESETS, f"{module}.{name}", "selfreg_gym", summary=preset_summary(name)) for name in preset_names()
    ]


def _with_variants(entries: Sequence[Entry], most: int) -> list[tuple[Entry, int]]:
    """The plug-ins to print, each with the number of further ids of its module that are left out.

    Of a module with more than ``most`` ids only the shortest id is printed.
    """
    of_module: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        of_module.setdefault((entry.origin, entry.module), []).append(entry)
    printed = []
    for same in of_module.values():
        if len(same) > most:
            printed.append((min(same, key=lambda entry: (len(entry.name), entry.name)), len(same) - 1))
        else:
            printed += [(entry, 0) for entry in same]
    return sorted(printed, key=lambda one: one[0].name)


@app.command("config", cls=Command)
def config_command(
    preset: Preset = None,
    config: Config = None,
    task: Task = None,
    overrides: Set = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of config files instead.")] = False,
) -> None:
    """Print a config with all its keys, as JSON, or the JSON schema with which editors complete and check TOML files.

    - `selfreg config --preset tiny --set collect.episodes=50`
    - `selfreg config --schema > selfreg.schema.json`
    """
    from selfreg_gym.pipeline.config import RunConfig, load_config, to_dict

    if schema:
        typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2))
        return
    loaded = load_config(preset=preset, path=config, overrides=changes(task, overrides))
    typer.echo(json.dumps(to_dict(loaded), indent=2))


@app.command("play", cls=Command)
def play_command(
    task: Annotated[str, typer.Option(metavar="ID", help="Id of the task.")] = "selfreg/SIF-v0",
    role: Annotated[str, typer.Option(metavar="ROLE", help="Your role: actor, intervention or helper.")] = "actor",
    actor: Annotated[str, typer.Option(metavar="ID", help="Id of the actor, if you are not the actor.")] = "scripted",
    intervention: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Id of an intervention that you may ask as helper; may be repeated. [expert]"),
    ] = None,
    episode: Annotated[int, typer.Option(metavar="INDEX", min=0, help="Index of the task.")] = 0,
    seed: Annotated[int, typer.Option(metavar="SEED", min=0, help="Seed of the episode.")] = 0,
    task_set: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A task argument: --set kind=pnp.")
    ] = None,
    help_probability: Annotated[
        float, typer.Option(metavar="P", min=0, max=1, help="Probability of help per step in the role intervention.")
    ] = 0.3,
) -> None:
    """Play one episode in the terminal.

    - `selfreg play`: you are the actor in the household task; `--set kind=s_hum` chooses the kind of task
    - `selfreg play --role helper --actor tiny`: you decide when to ask the expert to act for the tiny actor
    - `selfreg play --role intervention`: you act in the steps with help
    """
    from selfreg_gym.pipeline.config import parse_overrides
    from selfreg_gym.playing.interactive import play_episode

    for text in task_set or ():
        if "=" not in text:
            raise ConfigError(f"a task argument must be KEY=VALUE (--set kind=pnp), received {text!r}.")
    kwargs = parse_overrides(f"task.{text}" for text in task_set or ()).get("task", {})
    try:
        play_episode(
            task, role=role, actor=actor, interventions=intervention or ["expert"], task_kwargs=kwargs,
            episode=episode, seed=seed, help_probability=help_probability,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("\nStopped.")
