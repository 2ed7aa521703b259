"""Reading what one run is to be: a TOML file, a preset, changes on the command line.

Every key has a default, so a file names only what differs. A key that does not exist is an error that says which
one was meant; so is a value of the wrong type.

Example:
    >>> config = load_config(preset="smoke", overrides=["collect.episodes=4"])
    >>> config.collect.episodes
    4
"""

from __future__ import annotations

import copy
import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from selfreg_gym.errors import ConfigError, UnknownNameError, did_you_mean
from selfreg_gym.intervention_env.building import material
from selfreg_gym.pipeline.sections import DTYPES, RunConfig

__all__ = [
    "RunConfig",
    "differences",
    "from_dict",
    "load_config",
    "material_config",
    "override",
    "parse_overrides",
    "preset_names",
    "to_dict",
]

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Names that ``selfreg run --preset`` knows."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(
    *, preset: str | None = None, path: str | Path | None = None, overrides: Sequence[str] = ()
) -> RunConfig:
    """Read a preset or a TOML file, then apply ``overrides`` (see :func:`override`).

    Args:
        preset: one of :func:`preset_names`; exclusive with ``path``. Neither: every default.
        path: a TOML file.
        overrides: texts ``section.key=value``, the value in TOML (quotes around a plain word may be left out).

    Raises:
        ConfigError: no such file, no TOML, an unknown key, a value of the wrong type or out of range.
        UnknownNameError: no such preset.
    """
    if preset is not None and path is not None:
        raise ConfigError(f"a run has a preset or a file, received both: preset={preset!r} and {str(path)!r}.")
    if preset is not None:
        if preset not in preset_names():
            raise UnknownNameError("preset", preset, preset_names())
        path = PRESETS / f"{preset}.toml"
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"a config file must be readable, received {str(path)!r}: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"a config file is TOML; {path}: {error}.") from None
    return override(table, overrides)


def override(table: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """Apply ``overrides`` to nested tables and build the config.

    Arguments belong to what they are arguments of. An override of ``task.id`` drops the table's ``task.kwargs``,
    ``task.splits`` and ``task.titles``; one of ``actor.id`` its ``actor.kwargs``; and the arguments of interventions
    and helpers that an override no longer names are dropped. What the overrides themselves say is kept.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    mine: dict[str, Any] = copy.deepcopy(dict(table))
    asked = parse_overrides(overrides)
    for section, owned in (("task", ("kwargs", "splits", "titles")), ("actor", ("kwargs",))):
        new = asked.get(section, {}).get("id")
        there = mine.get(section)
        if new is not None and isinstance(there, dict) and new != there.get("id"):
            for key in owned:
                there.pop(key, None)
    for section, key in (("interventions", "ids"), ("evaluate", "helpers")):
        new = asked.get(section, {}).get(key)
        there = mine.get(section)
        if isinstance(new, list) and new and isinstance(there, dict) and isinstance(there.get("kwargs"), Mapping):
            there["kwargs"] = {name: values for name, values in there["kwargs"].items() if name in new}
    task = parse_overrides(overrides, mine).get("task", {})
    splits, titles = task.get("splits"), task.get("titles")
    if isinstance(splits, dict) and isinstance(titles, dict):
        new = asked.get("task", {}).get("titles", {})
        task["titles"] = {name: title for name, title in titles.items() if name in splits or name in new}
    return from_dict(mine)


def parse_overrides(overrides: Iterable[str], table: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write texts ``section.key=value`` into ``table`` (default: an empty one) and return it."""
    table = {} if table is None else table
    for text in overrides:
        _override(table, text)
    return table


def _override(table: dict[str, Any], text: str) -> None:
    """Write ``section.key=value`` into ``table``."""
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"an override is section.key=value (collect.episodes=50), received {text!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a plain word: --set actor.id=scripted
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key} is no section, received {text!r}.")
    table[keys[-1]] = parsed


def from_dict(table: Mapping[str, Any]) -> RunConfig:
    """Build and check a config from nested tables (parsed TOML, or :func:`to_dict`)."""
    config = _build(RunConfig, table, "")
    _check(config)
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return nested plain values; ``from_dict(to_dict(config)) == config``, also after a trip through JSON."""
    return dataclasses.asdict(config)


def differences(old: RunConfig, new: RunConfig) -> list[tuple[str, Any, Any]]:
    """Return ``(key, old value, new value)`` of every key that differs and can change a result."""
    before, after = dict(_leaves(material_config(old))), dict(_leaves(material_config(new)))
    before["task.collected"], after["task.collected"] = old.task.collected, new.task.collected
    return [(key, before[key], after[key]) for key in before if before[key] != after[key]]


def material_config(config: RunConfig) -> RunConfig:
    """The config without those arguments of agents that change only where and how fast they act."""

    def parts(group: str, kwargs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: material(group, name, values) for name, values in kwargs.items()}

    c = config
    return dataclasses.replace(
        c,
        actor=dataclasses.replace(c.actor, kwargs=material("actors", c.actor.id, c.actor.kwargs)),
        interventions=dataclasses.replace(c.interventions, kwargs=parts("interventions", c.interventions.kwargs)),
        evaluate=dataclasses.replace(c.evaluate, kwargs=parts("helpers", c.evaluate.kwargs)),
    )


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{spec.name}.")
        elif not spec.metadata.get("speed"):
            yield prefix + spec.name, value


def _build(cls: Any, table: Any, prefix: str) -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{prefix.rstrip('.')} is a section (a table of keys), received {table!r}.")
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(
                f"unknown key: received {prefix + key!r}.{did_you_mean(key, hints)} "
                f"{'Keys of ' + prefix.rstrip('.') if prefix else 'Sections'}: {', '.join(hints)}."
            )
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            values[key] = _build(hint, value, f"{prefix}{key}.")
        else:
            values[key] = _coerce(hint, value, prefix + key)
    return cls(**values)


def _coerce(hint: Any, value: Any, key: str) -> Any:
    """Return ``value`` as ``hint``: lists become tuples and whole numbers floats, nothing else is converted."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        options = typing.get_args(hint)
        for option in sorted(options, key=lambda option: option is not type(value)):  # the exact type first
            try:
                return _coerce(option, value, key)
            except ConfigError:
                continue
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_coerce(typing.get_args(hint)[0], item, key) for item in value)
    elif origin is dict:
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            inner = typing.get_args(hint)[1]
            for name in value:
                _check_text(name, f"a name in {key}")
            coerce = _check_plain if inner is Any else partial(_coerce, inner)
            return {name: coerce(item, f"{key}.{name}") for name, item in value.items()}
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _check_plain(float(value) if abs(value) < LARGEST else value, key)
    elif type(value) is hint:  # bool is an int for isinstance, and not for a reader
        return _check_plain(value, key)
    raise ConfigError(f"{key} must be {_spell(hint)}, received {_shown(value)}.")


def _check_plain(value: Any, key: str) -> Any:
    """Return ``value``, which must come back equal from the manifest and fit in a database.

    Raises:
        ConfigError: a date, NaN or infinity, a whole number beyond 64 bits, or text that is not valid Unicode.
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
            raise ConfigError(f"{key} must be a whole number of at most 64 bits, received {_shown(value)}.")
    elif value is not None:
        raise ConfigError(
            f"{key} must be a text, a number, true, false, a list or a table, received {value!r} of type "
            f"{type(value).__name__}. Put quotes around it if a text is meant."
        )
    return value


def _check_text(value: Any, key: str) -> None:
    """Raise unless ``value`` is text without NUL and without halves of a character."""
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigError(f"{key} must be text without NUL and without surrogates, received {_shown(value)}.")


def _shown(value: Any) -> str:
    """The value for a message, cut short."""
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a whole number of more than 60 digits"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _spell(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if typing.get_origin(hint) is types.UnionType:
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list, each entry {_spell(typing.get_args(hint)[0])}"
    return words.get(hint, "a table")


KEYS = ("state", "feature", "observation")
LARGEST = 2**63
"""Whole numbers of a config are below it, in size: databases and random generators take 64 bits."""

AT_LEAST_ONE = """collect.tasks collect.episodes collect.workers collect.num_envs prm.epochs model.min_visits
    helper.epochs prm.batch_size prm.accumulate helper.batch_size helper.accumulate
    calibrate.tasks calibrate.episodes calibrate.workers calibrate.num_envs evaluate.tasks evaluate.episodes
    evaluate.workers evaluate.num_envs rl.steps"""
AT_LEAST_ZERO = """prm.lora_rank prm.max_states prm.lr prm.patience helper.lora_rank helper.max_labels helper.lr
    helper.patience helper.help_weight evaluate.episodes_others calibrate.max_episodes collect.seed prm.seed
    helper.seed rl.seed calibrate.seed evaluate.seed"""


def _check(config: RunConfig) -> None:
    """Refuse values that no stage can use, before anything has run."""

    def need(ok: bool, key: str, rule: str, value: Any) -> None:
        if not ok:
            raise ConfigError(f"{key} must be {rule}, received {value!r}.")

    for low, keys in ((1, AT_LEAST_ONE), (0, AT_LEAST_ZERO)):
        for key in keys.split():
            section, name = key.split(".")
            value = getattr(getattr(config, section), name)
            need(value >= low, key, f"{low} or more", value)
    grid = config.collect.help_probabilities
    need(
        bool(grid) and all(0 <= p <= 1 for p in grid), "collect.help_probabilities", "probabilities, at least one", grid
    )
    for key in ("label.budgets", "evaluate.budgets", "evaluate.budgets_others"):
        section, name = key.split(".")
        budgets = getattr(getattr(config, section), name)
        need(all(budget > 0 for budget in budgets), key, "positive", budgets)
        need(
            len({f"{budget:g}" for budget in budgets}) == len(budgets),
            key,
            "different numbers, in their first six digits too (they are part of names)",
            budgets,
        )
    need(bool(config.label.budgets), "label.budgets", "at least one budget", config.label.budgets)
    for section in ("prm", "helper"):
        dtype = getattr(config, section).dtype
        need(dtype in DTYPES, f"{section}.dtype", f"one of {', '.join(DTYPES)}", dtype)
    need(bool(config.interventions.ids), "interventions.ids", "at least one id", config.interventions.ids)
    need(config.prm.targets in ("nohelp", "mixture"), "prm.targets", "'nohelp' or 'mixture'", config.prm.targets)
    need(0 < config.prm.share < 1, "prm.share", "between 0 and 1", config.prm.share)
    need(config.label.scope in ("all", "trajectory"), "label.scope", "'all' or 'trajectory'", config.label.scope)
    need(config.model.key in KEYS, "model.key", f"one of {', '.join(KEYS)}", config.model.key)
    need(config.model.backoff in ("feature", ""), "model.backoff", "'feature' or ''", config.model.backoff)
    prior, horizon = config.model.prior, config.model.horizon
    need(prior == "auto" if isinstance(prior, str) else prior >= 0, "model.prior", "'auto' or at least 0", prior)
    need(horizon >= 0, "model.horizon", "true, false or a number of steps", horizon)
    need(config.rl.seed < 2**32, "rl.seed", "below 2**32 (Stable-Baselines3's bound)", config.rl.seed)
    need(config.rl.help_cost >= 0, "rl.help_cost", "at least 0", config.rl.help_cost)
    need(config.rl.cap > 0, "rl.cap", "positive", config.rl.cap)
    need(config.solve.gap > 0, "solve.gap", "positive", config.solve.gap)
    seeds = {section: getattr(config, section).seed for section in ("collect", "calibrate", "evaluate")}
    need(len(set(seeds.values())) == 3, "collect, calibrate and evaluate", "given different seeds", seeds)
    splits = config.task.splits
    need(bool(splits), "task.splits", "a table with at least one split", splits)
    need(all(name.strip() for name in splits), "task.splits", "tables with a name that is not empty", sorted(splits))
    for name in config.task.titles:
        if name not in splits:
            raise UnknownNameError("split in task.titles", name, splits)
