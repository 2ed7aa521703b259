"""The config of a run, read from a TOML file or a preset and changed by overrides ``section.key=value``.

:mod:`selfreg_gym.pipeline.config_sections` declares the keys. Each has a default, so a file holds only what differs.

Examples:
    >>> config = load_config(preset="smoke", overrides=["collect.episodes=4"])
    >>> config.collect.episodes
    4
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper_class
from selfreg_gym.errors import ConfigError, UnknownNameError, shown
from selfreg_gym.intervention_env.building import material
from selfreg_gym.intervention_env.interventions import material_kwargs
from selfreg_gym.intervention_env.task_members import task_class
from selfreg_gym.pipeline.config_errors import explain, missing_key
from selfreg_gym.pipeline.config_sections import TaskConfig
from selfreg_gym.pipeline.schema import RunConfig
from selfreg_gym.types import optional_member

__all__ = [
    "FORMER_SECTIONS", "RunConfig", "differences", "from_dict", "load_config", "material_config", "override",
    "parse_overrides", "preset_names", "preset_summary", "to_dict",
]  # fmt: skip

PRESETS = Path(__file__).parent / "presets"

FORMER_SECTIONS = {"model": "transitions"}
"""Former name of a section -> its name."""

LARGEST = 2**63
"""Bound on the size of integers: databases and random generators take 64 bits."""


def preset_names() -> list[str]:
    """Return the names of the shipped configs."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(
    *, preset: str | None = None, path: str | Path | None = None, overrides: Sequence[str] = ()
) -> RunConfig:
    """Read a preset or a TOML file, then apply ``overrides`` (see :func:`override`).

    Args:
        preset: one of :func:`preset_names`; exclusive with ``path``. Neither: all keys have their defaults.
        path: a TOML file.
        overrides: texts ``section.key=value``, the value in TOML (quotes around a plain word may be left out).

    Raises:
        ConfigError: the file cannot be read or is not TOML, an unknown key, a value of the wrong type or out of range.
        UnknownNameError: no such preset.
    """
    if preset is not None and path is not None:
        raise ConfigError(f"a run takes a preset or a file, received both: preset={preset!r} and {str(path)!r}.")
    if preset is not None:
        if preset not in preset_names():
            raise UnknownNameError("preset", preset, preset_names())
        path = PRESETS / f"{preset}.toml"
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            meant = f" {str(path)!r} is a preset: write --preset {path}." if str(path) in preset_names() else ""
            raise ConfigError(
                f"a config file must be readable, received {str(path)!r}: {error.strerror}.{meant} Give the path "
                "of a TOML file (see examples/*.toml), or the name of a built-in config with --preset "
                "(`selfreg list presets`)."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"a config file must be TOML, received {str(path)!r}: {error}.") from None
    try:
        return override(table, overrides)
    except ConfigError as error:
        if preset is not None or path is None:
            raise
        changed = " with the changes of --set" if overrides else ""
        raise ConfigError(f"the config {str(path)!r}{changed} is invalid: {error}") from None


def preset_summary(name: str) -> str:
    """Return the comment at the top of a shipped config."""
    lines = (PRESETS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))


def override(table: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """Apply ``overrides`` to nested tables and validate the config.

    Arguments that no longer apply are dropped: an override of ``task.id`` drops the table's ``task.kwargs``,
    ``task.history``, ``task.splits``, ``task.titles`` and ``select.splits``, one of ``actor.id`` its ``actor.kwargs``,
    and one of ``interventions.ids`` or ``evaluate.helpers`` the arguments of those that it does not name. Values in the
    overrides are kept.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    base: dict[str, Any] = copy.deepcopy(_renamed(table))
    given = parse_overrides(overrides)
    for section, dependent in (("task", ("kwargs", "history", "splits", "titles")), ("actor", ("kwargs",))):
        new, part = given.get(section, {}).get("id"), base.get(section)
        if new is not None and isinstance(part, dict) and new != part.get("id"):
            for key in dependent:
                part.pop(key, None)
            if section == "task" and isinstance(base.get("select"), dict):
                base["select"].pop("splits", None)
    for section, key in (("interventions", "ids"), ("evaluate", "helpers")):
        new, part = given.get(section, {}).get(key), base.get(section)
        if isinstance(new, list) and new and isinstance(part, dict) and isinstance(part.get("kwargs"), Mapping):
            named = {str(one).partition("=")[0].strip() for one in new}
            part["kwargs"] = {name: values for name, values in part["kwargs"].items() if name in named}
    validation = _add_declared_splits(base, given.get("task", {}))
    parse_overrides(overrides, base)
    task, select = base.get("task", {}), base.get("select", {})
    splits, titles = task.get("splits"), task.get("titles")
    if validation and isinstance(splits, dict) and "splits" not in given.get("select", {}):
        kept = {name: one for name, one in validation.items() if name not in splits and one not in splits.values()}
        select["splits"] = kept
    if isinstance(splits, dict) and isinstance(titles, dict):
        new = given.get("task", {}).get("titles", {})
        task["titles"] = {name: title for name, title in titles.items() if name in splits or name in new}
    return from_dict(base)


def _add_declared_splits(table: dict[str, Any], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Add the splits, titles and validation splits that the task declares, unless the table has its own.

    Args:
        table: the config before the overrides.
        given: the overrides of its section ``task``. Splits are left out if they would replace arguments of the task.

    Returns:
        The validation splits that were added.
    """
    task = table.setdefault("task", {})
    if not isinstance(task, dict) or "splits" in task or "titles" in task:
        return {}
    name = given.get("id", task.get("id", TaskConfig.model_fields["id"].default))
    kind = task_class(name) if isinstance(name, str) else None
    splits = optional_member(kind, "splits") or {}
    chosen = {**_table(task.get("kwargs")), **_table(given.get("kwargs"))}
    if splits and not any(chosen.keys() & kwargs.keys() for kwargs in splits.values()):
        task["splits"] = {split: dict(kwargs) for split, kwargs in splits.items()}
        task["titles"] = dict(optional_member(kind, "split_titles") or {})
        select = table.setdefault("select", {})
        validation = {split: dict(kwargs) for split, kwargs in (optional_member(kind, "val_splits") or {}).items()}
        replaced = any(chosen.keys() & kwargs.keys() for kwargs in validation.values())
        if validation and not replaced and isinstance(select, dict) and "splits" not in select:
            select["splits"] = validation
            return validation
    return {}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def parse_overrides(overrides: Iterable[str], table: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write overrides ``section.key=value`` into ``table`` (default: a new one) and return it.

    Raises:
        ConfigError: a text that is not an override, or a section whose value is not a table.
    """
    table = {} if table is None else table
    for text in overrides:
        name, equals, value = text.partition("=")
        keys = name.strip().split(".")
        if not equals or len(keys) < 2 or not all(keys):
            hint = missing_key(name.strip()) if len(keys) == 1 else ""
            raise ConfigError(f"an override must be section.key=value (collect.episodes=50), received {text!r}.{hint}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()  # a plain word: --set actor.id=scripted
        part = table
        for key in (_current_name(keys[0]), *keys[1:-1]):
            part = part.setdefault(key, {})
            if not isinstance(part, dict):
                raise ConfigError(f"{key} must be a section or a table to have keys, received {text!r}.")
        part[keys[-1]] = parsed
    return table


def from_dict(table: Mapping[str, Any]) -> RunConfig:
    """Validate nested tables (parsed TOML, or what :func:`to_dict` returns) and return the config.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or out of range.
        UnknownNameError: a title of a split that does not exist.
    """
    table = _renamed(table)
    for key, value in table.items():
        _check_plain(value, key)
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        raise ConfigError(explain(error, table)) from None


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return nested plain values; ``from_dict(to_dict(config)) == config``, also after a round trip through JSON."""
    return config.model_dump()


def differences(old: RunConfig, new: RunConfig) -> list[tuple[str, Any, Any]]:
    """Return ``(key, old value, new value)`` of every key that differs and can change a result."""
    before, after = _identity(old), _identity(new)
    keys = dict.fromkeys([*before, *after])
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def material_config(config: RunConfig) -> RunConfig:
    """Return the config with explicit ``label.budgets`` and ``evaluate.minor``, and without immaterial arguments.

    Immaterial arguments of agents change only where and how fast they act
    (:func:`selfreg_gym.intervention_env.building.material`). ``evaluate.minor`` lists the helpers of this package that
    declare it.
    """

    def parts(group: str, kwargs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: material(group, name, values) for name, values in kwargs.items()}

    c = config
    changes = {
        "actor": {"kwargs": material("actors", c.actor.id, c.actor.kwargs)},
        "interventions": {"kwargs": material_kwargs(c.interventions.ids, c.interventions.kwargs)},
        "label": {"budgets": c.label_budgets},
        "evaluate": {
            "kwargs": parts("helpers", c.evaluate.kwargs),
            "minor": _minor() if c.evaluate.minor is None else c.evaluate.minor,
        },
    }
    return c.model_copy(update={name: getattr(c, name).model_copy(update=values) for name, values in changes.items()})


@functools.cache
def _minor() -> tuple[str, ...]:
    """Ids of this package's minor helpers; finding them imports every helper."""
    own = [entry.name for entry in registry.describe("helpers") if entry.origin == "selfreg_gym"]
    return tuple(name for name in own if as_helper_class(registry.load("helpers", name)).minor)


def _identity(config: RunConfig) -> dict[str, Any]:
    """Each key that can change a result (``"collect.tasks"``) -> its value."""
    found = {f"{name}.{key}": value for name, part in material_config(config) for key, value in part.identity().items()}
    return {**found, "task.collected": config.task.collected}


def _renamed(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the current names of its sections."""
    for old, new in FORMER_SECTIONS.items():
        if old in table and new in table:
            raise ConfigError(f"the section [{new}] was called [{old}] before, received both. Name it [{new}].")
    return {_current_name(name): section for name, section in table.items()}


def _current_name(section: str) -> str:
    """The current name of a section; warns if it was renamed."""
    if section in FORMER_SECTIONS:
        text = f"the section [{section}] of a config is now [{FORMER_SECTIONS[section]}]; rename it."
        warnings.warn(text, DeprecationWarning, stacklevel=4)
    return FORMER_SECTIONS.get(section, section)


def _check_plain(value: Any, key: str) -> None:
    """Raise unless a value comes back equal from the manifest and fits in a database.

    Raises:
        ConfigError: a date, NaN or infinity, an integer of more than 64 bits, or text that is not valid Unicode.
    """
    if isinstance(value, str):
        _check_text(value, key)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _check_text(name, f"a name in {key}")
            _check_plain(item, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, key)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{key} must be a finite number, received {value!r}.")
    elif isinstance(value, int):
        if not -LARGEST <= value < LARGEST:
            raise ConfigError(f"{key} must be an integer of at most 64 bits, received {shown(value)}.")
    elif value is not None:
        raise ConfigError(
            f"{key} must be a text, a number, true, false, a list or a table, received {value!r} of type "
            f"{type(value).__name__}. Put quotes around it if a text is meant."
        )


def _check_text(value: Any, key: str) -> None:
    """Raise unless ``value`` is text without NUL and without lone surrogates."""
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigError(f"{key} must be text without NUL and without surrogates, received {shown(value)}.")
