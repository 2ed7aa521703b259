"""Messages about invalid configs: unknown keys, values of the wrong type or out of range, overrides without a key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from selfreg_gym.errors import did_you_mean, shown
from selfreg_gym.pipeline.schema import RunConfig

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["explain", "missing_key"]

RULES = {
    "model_type": "a section (a table of keys)",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "a table",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge:.12g}",
    "greater_than": "greater than {gt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "less_than": "less than {lt:.12g}",
    "too_short": "non-empty",
}
"""Type of pydantic's error -> what the value must be."""


def missing_key(name: str) -> str:
    """A hint for an override that names a section or a key alone: the keys of the section, or the full keys."""
    sections = {section: field.annotation for section, field in RunConfig.model_fields.items()}
    keys = {section: list(kind.model_fields) for section, kind in sections.items()}  # type: ignore[union-attr]
    if name in keys:
        return f" {name!r} is a section with the keys {', '.join(keys[name])}."
    full = [f"{section}.{name}" for section, names in keys.items() if name in names]
    return f" Did you mean {' or '.join(full)}?" if full else ""


def explain(error: ValidationError, table: Mapping[str, Any]) -> str:
    """The first error as rule and received value. The options of a union, each an error, are joined by "or"."""
    errors = error.errors(include_url=False)
    first, key = errors[0], _path(table, errors[0]["loc"])
    if first["type"] == "extra_forbidden":
        section = RunConfig.model_fields[str(key[0])].annotation if len(key) > 1 else RunConfig
        known = list(section.model_fields)  # type: ignore[union-attr]
        return (
            f"unknown key: received {_spell(key)!r}.{did_you_mean(key[-1], known)} "
            f"{f'Keys of {key[0]}' if len(key) > 1 else 'Sections'}: {', '.join(known)}."
        )
    if first["type"] == "text":
        return first["msg"]
    rules = [_rule(one) for one in errors if _path(table, one["loc"]) == key]
    text = f"{_spell(key)} must be {' or '.join(rules)}, received {shown(first['input'])}."
    hints = {"tuple_type": _as_list, "dict_type": _as_table}
    return text + (hints[first["type"]](_spell(key), first["input"]) if first["type"] in hints else "")


def _path(table: Any, location: Sequence[int | str]) -> list[int | str]:
    """The part of an error's location that lies in the table; the rest names an option of a union."""
    path: list[int | str] = []
    for part in location:
        if isinstance(table, Mapping) and part not in table:
            break
        if not isinstance(table, Mapping) and not isinstance(part, int):
            break
        table = table[part]
        path.append(part)
    return path


def _spell(path: Sequence[int | str]) -> str:
    """``["collect", "help_probabilities", 1]`` as ``collect.help_probabilities[1]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _rule(error: ErrorDetails) -> str:
    """What a value must be, in words."""
    rule = RULES.get(error["type"])
    return error["msg"] if rule is None else rule.format(**error.get("ctx", {}))


def _as_list(key: str, value: Any) -> str:
    """How to write a received text or number as a list; empty for other values.

    A shell removes quotes, so ``--set key=['a']`` arrives as ``[a]``, which is not TOML and is read as a text.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > 120:
        return ""
    words = [word.strip(" '\"") for word in value.strip("[] ").split(",")] if isinstance(value, str) else [value]
    written = "[" + ", ".join(f"'{word}'" if isinstance(word, str) else json.dumps(word) for word in words) + "]"
    return f" Write {written}, in a shell: --set {json.dumps(f'{key}={written}')}."


def _as_table(key: str, value: Any) -> str:
    """How to pass a table through a shell, which removes quotes; empty unless the value is a table without them."""
    if not isinstance(value, str) or not value.startswith("{"):
        return ""
    return f" In a shell, put the whole in quotes, and each text in others: --set \"{key}={{ x = 'text' }}\"."
