"""The attributes by which actors are compared: texts by attribute name, equal if the values are equal.

The public attributes of an instance are compared, and the variables bound to a function (its closure, the arguments of
a partial function, the object of a method). Excluded are names that begin with an underscore, those in the class
attribute ``immaterial``, and attributes that a method other than the constructor assigns (``self.calls += 1``).

Numbers, texts, paths, lists, dicts and arrays are compared by value, nested objects by the same rules up to a depth of
four, functions by their code, and all other objects (locks, connections, generators, models) by their type.
"""

from __future__ import annotations

import enum
import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping, Set
from dataclasses import is_dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from selfreg_gym.collection.code import assigned_attributes, assigned_variables, hashed, is_installed, name_of, slots_of
from selfreg_gym.types import FunctionActor, Intervention

__all__ = ["PLAIN", "attributes_of"]

PLAIN = (bool, int, float, complex, str, bytes, type(None))

_MAX_DEPTH = 4  # of objects inside objects
_MAX_CHARACTERS = 80  # a longer value is replaced by its beginning, length and hash
_SECRET = re.compile(r"key$|token$|secret|password|credential|authorization", re.IGNORECASE)
_PACKAGE = str(Path(__file__).resolve().parents[2])
_OWN = ("selfreg_gym.agents.", "selfreg_gym.envs.", "selfreg_gym.testing.", "selfreg_gym.types")


def attributes_of(value: Any, digest: Callable[[Any], str]) -> dict[str, Any]:
    """The compared attributes of an actor, intervention or callable.

    Args:
        value: an object or a function; a text (an id) and a class have no attributes.
        digest: returns a text for a function.

    Returns:
        Texts by attribute name (dicts of texts for nested objects).
    """
    found: dict[str, Any] = {}
    if isinstance(value, Intervention):
        own = {name: item for name, item in vars(value).items() if name not in ("actor", "cost", "name")}
        found, value = _of_variables(own, type(value), digest, _MAX_DEPTH), value.actor
    if isinstance(value, FunctionActor):
        value = value.function
    return found if isinstance(value, str | type) else found | _of_object(value, digest, _MAX_DEPTH)


def _of_object(value: Any, digest: Callable[[Any], str], depth: int) -> dict[str, Any]:
    """Descriptions of the attributes of an object, or of the values that a function is bound to, by name."""
    if isinstance(value, functools.partial):
        bound = {str(i): item for i, item in enumerate(value.args)} | dict(value.keywords)
        return _of_object(value.func, digest, depth) | _of_variables(bound, type(None), digest, depth)
    if inspect.ismethod(value):
        return {} if isinstance(value.__self__, type) else _of_object(value.__self__, digest, depth)
    if isinstance(function := getattr(value, "__wrapped__", value), types.FunctionType):
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        bound = {} if is_installed(function) else {name: _contents(cell) for name, cell in cells}
        changed = assigned_variables(function.__code__)
        return _of_variables({s: item for s, item in bound.items() if s not in changed}, type(None), digest, depth)
    return _of_variables(_instance_attributes(value), type(value), digest, depth)


def _of_variables(found: Mapping[str, Any], kind: type, digest: Callable[[Any], str], depth: int) -> dict[str, Any]:
    declared = getattr(kind, "immaterial", ())
    excluded = assigned_attributes(kind) | ({declared} if isinstance(declared, str) else set(map(str, declared)))
    values = {}
    for name, item in sorted(found.items()):
        if name.startswith("_") or name in excluded:
            continue
        described = _describe(item, digest, depth - 1)
        values[name] = _readable(name, described) if isinstance(described, str) else described
    return values


def _describe(value: Any, digest: Callable[[Any], str], depth: int) -> Any:
    """A text, or a dict for an object with attributes."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return f"{kind.__qualname__}.{value.name}"
    if isinstance(value, np.generic):
        return f"{value.dtype} {value!s}"
    if isinstance(value, PurePath):
        return repr(str(value).removeprefix(_PACKAGE))  # files of this package lie elsewhere on another machine
    if isinstance(value, (*PLAIN, bytearray, range, slice)):
        return repr(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array of {value.dtype}, shape {value.shape}, hash {hashed(np.ascontiguousarray(value).tobytes())}"
    if depth <= 0:
        return name_of(kind)

    def text(item: Any) -> str:
        return repr(item) if type(item) in PLAIN else str(_describe(item, digest, depth - 1))

    if isinstance(value, dict | types.MappingProxyType):
        items = ((key, _unless_secret(str(key), text(item))) for key, item in value.items())
        return f"{{{', '.join(sorted(f'{text(key)}: {item}' for key, item in items))}}}"
    if isinstance(value, list | tuple | np.ndarray) or kind.__name__ == "deque":
        return f"{kind.__name__}[{', '.join(map(text, value))}]"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(text, value)))}}}"
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | types.MethodDescriptorType):
        return name_of(value)
    wrapped = isinstance(getattr(value, "__wrapped__", None), types.FunctionType)
    if wrapped or isinstance(value, types.FunctionType | types.MethodType | functools.partial):
        return f"function {digest(value)}"
    if is_dataclass(kind) or kind is types.SimpleNamespace or not _is_foreign(kind):
        return {"class": name_of(kind)} | _of_object(value, digest, depth)
    return name_of(kind)


def _instance_attributes(value: Any) -> dict[str, Any]:
    """The attributes in ``__dict__`` and in slots, without cached properties."""
    found = getattr(value, "__dict__", {}) | slots_of(value)
    members = [item for base in type(value).__mro__ for item in vars(base).items()]
    cached = {name for name, member in members if isinstance(member, functools.cached_property)}
    return {str(name): item for name, item in found.items() if name not in cached}


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _is_foreign(kind: type) -> bool:
    """Whether a class, or a base of it, comes from an installed package other than this one's agents and tasks."""
    bases = (base for base in kind.__mro__ if base.__module__ not in ("builtins", "abc", "typing"))
    return any(is_installed(base) and not base.__module__.startswith(_OWN) for base in bases)


def _readable(name: str, text: str) -> str:
    """The text, or its length and hash if it is long or may be a secret."""
    text = _unless_secret(name, text)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:40]}... ({len(text)} characters, hash {hashed(text)})"


def _unless_secret(name: str, text: str) -> str:
    """The text, or its hash if the name suggests a secret."""
    return f"hash {hashed(text)}" if _SECRET.search(name) and text not in ("None", "''") else text
