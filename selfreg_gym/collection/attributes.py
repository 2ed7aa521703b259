"""The attributes by which actors are compared: texts by attribute name, equal if the values are equal.

Compared are the public attributes of an instance, and the variables bound to a function (its closure, the arguments of
a partial function, the object of a method). Excluded are

* names that begin with an underscore, and those in the class attribute ``immaterial``;
* attributes that acting changes: those that ``act`` or ``__call__``, or code of the same class or module that they
  call, assigns or changes in place (``self.calls += 1``, ``self.seen.append(x)``, ``self.memory[key] = x``);
* values of :func:`functools.cached_property`.

Numbers, texts, paths, lists, dicts and arrays are compared by value, nested objects by the same rules up to a depth of
four, functions by their code, and all other objects (locks, connections, generators, models) by their type.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from selfreg_gym.collection.effects import NO_EFFECTS, Effects, effects_of, effects_of_object, is_installed, name_of
from selfreg_gym.types import FunctionActor, Intervention

__all__ = ["PLAIN", "attributes_of"]

PLAIN = (bool, int, float, complex, str, bytes, type(None))

_MAX_DEPTH = 4  # of objects inside objects
_MAX_CHARACTERS = 80  # a longer value is replaced by its beginning, length and hash
_MAX_BYTES = 2**26  # a larger array is compared by its shape and type only
_SECRET = re.compile(r"key$|token$|secret|password|credential|authorization", re.IGNORECASE)
_PACKAGE = Path(__file__).resolve().parents[2]
_OWN = ("selfreg_gym.agents.", "selfreg_gym.envs.", "selfreg_gym.testing.", "selfreg_gym.types")
_NEUTRAL_BASES = ("builtins", "abc", "typing", "enum", "types")  # modules whose classes add no state


def attributes_of(value: Any, digest: Callable[[Any], str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The compared attributes of an actor, intervention or callable, and the digests of the functions among them.

    Args:
        value: an object or a function; a text (an id) and a class have no attributes.
        digest: returns the digest of a function's code.

    Returns:
        Texts by attribute name (dicts of texts for nested objects), and digests by path (``policy.rule``).
    """
    description = _Description(digest)
    values: dict[str, Any] = {}
    if isinstance(value, Intervention):
        own = description.of_object(value, _Scope())
        values = {name: item for name, item in own.items() if name not in ("actor", "cost", "name")}
        description.functions = {
            path: one for path, one in description.functions.items() if path.partition(".")[0] != "actor"
        }
        value = value.actor
    if isinstance(value, FunctionActor):
        value = value.function
    if isinstance(value, str | type):
        return values, description.functions
    if _is_function(value):
        return values | description.of_function(value, _Scope()), description.functions
    return values | description.of_object(value, _Scope()), description.functions


@dataclass(frozen=True)
class _Scope:
    """The position of a value: path, enclosing objects, and the attributes that their code changes or excludes."""

    path: str = ""
    depth: int = _MAX_DEPTH
    around: tuple[int, ...] = ()
    effects: Effects = NO_EFFECTS
    immaterial: frozenset[str] = frozenset()

    def inside(self, name: str, value: Any) -> _Scope:
        path = f"{self.path}.{name}" if self.path else name
        return replace(self, path=path, depth=self.depth - 1, around=(*self.around, id(value)))


class _Description:
    def __init__(self, digest: Callable[[Any], str]) -> None:
        self._digest = digest
        self.functions: dict[str, str] = {}

    def of_object(self, value: Any, scope: _Scope) -> dict[str, Any]:
        """Descriptions by attribute name."""
        kind = type(value)
        declared = getattr(kind, "immaterial", ())
        immaterial = {declared} if isinstance(declared, str) else {str(name) for name in declared}
        scope = replace(
            scope,
            around=(*scope.around, id(value)),
            effects=scope.effects | effects_of_object(value, scope.effects.used),
            immaterial=scope.immaterial | immaterial,
        )
        cached = {
            name
            for base in kind.__mro__
            for name, member in vars(base).items()
            if isinstance(member, functools.cached_property)
        }
        return self._of_variables(_instance_attributes(value), scope, without=cached)

    def of_function(self, value: Any, scope: _Scope) -> dict[str, Any]:
        """Descriptions of the values that a function, method or partial function is bound to."""
        if isinstance(value, functools.partial):
            bound = {str(i): item for i, item in enumerate(value.args)} | dict(value.keywords)
            found = self.of_function(value.func, scope) if _is_function(value.func) else {}
            return found | self._of_variables(bound, scope)
        if inspect.ismethod(value):
            return self.of_object(value.__self__, scope) if not isinstance(value.__self__, type) else {}
        value = getattr(value, "__wrapped__", value)
        if not isinstance(value, types.FunctionType) or is_installed(value):
            return {}
        bound = {}
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                bound[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        scope = replace(scope, effects=scope.effects | effects_of([value], lambda name: []))
        return self._of_variables(bound, scope)

    def _of_variables(
        self, found: Mapping[str, Any], scope: _Scope, *, without: Set[str] = frozenset()
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        left_out = scope.effects.assigned | scope.immaterial | without
        for name, item in sorted(found.items()):
            if name.startswith("_") or name in left_out:
                continue
            if name in scope.effects.in_place and _is_container(item):
                continue
            described = self._of_value(item, scope.inside(name, item))
            if described is None:
                continue
            values[name] = _readable(name, described) if isinstance(described, str) else described
        return values

    def _of_value(self, value: Any, scope: _Scope) -> Any:
        """A text, a dict for an object with attributes, or None for a function (added to ``functions``)."""
        kind = type(value)
        if kind in PLAIN or (isinstance(value, PLAIN) and not isinstance(value, enum.Enum)):
            return repr(value)
        if isinstance(value, enum.Enum):
            return f"{kind.__qualname__}.{value.name}"
        if isinstance(value, np.generic):
            return f"{value.dtype} {value!s}"
        if isinstance(value, PurePath):
            return repr(_portable(value))
        if isinstance(value, np.ndarray):
            return self._of_array(value, scope)
        if scope.around.count(id(value)) > 1 or scope.depth <= 0:
            return name_of(kind)
        if isinstance(value, dict | types.MappingProxyType):
            return self._of_dict(value, scope)
        if isinstance(value, list | tuple) or kind.__name__ == "deque":
            return f"{kind.__name__}[{', '.join(self._text(item, scope) for item in value)}]"
        if isinstance(value, Set):
            return f"{{{', '.join(sorted(self._text(item, scope) for item in value))}}}"
        if isinstance(value, bytearray | range | slice):
            return repr(value)
        if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | types.MethodDescriptorType):
            return name_of(value)
        if _is_function(value):
            self.functions[scope.path] = self._digest(value)
            return self.of_function(value, scope) or None
        if _has_own_attributes(kind):
            return {"class": name_of(kind)} | self.of_object(value, scope)
        return name_of(kind)

    def _text(self, value: Any, scope: _Scope) -> str:
        if type(value) in PLAIN:
            return repr(value)
        described = self._of_value(value, scope.inside("item", value))
        if described is None:
            return f"function {self.functions.pop(f'{scope.path}.item')}"
        return described if isinstance(described, str) else repr(described)

    def _of_dict(self, value: Mapping[Any, Any], scope: _Scope) -> str:
        items = []
        for key, item in value.items():
            text = self._text(item, scope)
            items.append(f"{self._text(key, scope)}: {_unless_secret(key, text) if isinstance(key, str) else text}")
        return f"{{{', '.join(sorted(items))}}}"

    def _of_array(self, value: np.ndarray, scope: _Scope) -> str:
        about = f"array of {value.dtype}, shape {value.shape}"
        if value.dtype.hasobject:
            return f"{about}: {self._text(value.tolist(), scope)}"
        if value.nbytes > _MAX_BYTES:
            return about
        return f"{about}, hash {_hash(np.ascontiguousarray(value).tobytes())}"


def _instance_attributes(value: Any) -> dict[str, Any]:
    """The attributes in ``__dict__`` and in slots."""
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            try:
                found[name] = getattr(value, name)
            except Exception:  # not assigned yet, or a descriptor that raises
                continue
    found.pop("__dict__", None)
    found.pop("__weakref__", None)
    return {str(name): item for name, item in found.items()}


def _has_own_attributes(kind: type) -> bool:
    """Whether the attributes of a nested object are compared: objects of user classes, and plain data."""
    if is_dataclass(kind) or kind is types.SimpleNamespace:
        return True
    return not _is_foreign(kind) and not any(
        _is_foreign(base) and base.__module__ not in _NEUTRAL_BASES for base in kind.__mro__
    )


def _is_foreign(kind: type) -> bool:
    """Whether a class belongs to an installed package, except actors and tasks of this package."""
    return is_installed(kind) and not kind.__module__.startswith(_OWN)


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping | list | Set | bytearray | np.ndarray) or not _has_own_attributes(type(value))


def _readable(name: str, text: str) -> str:
    """The text, or its length and hash if it is long or may be a secret."""
    text = _unless_secret(name, text)
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:40]}... ({len(text)} characters, hash {_hash(text.encode('utf-8', 'backslashreplace'))})"


def _unless_secret(name: str, text: str) -> str:
    """The text, or its hash if the name suggests a secret."""
    if _SECRET.search(name) is None or text in ("None", "''"):
        return text
    return f"hash {_hash(text.encode('utf-8', 'backslashreplace'))}"


def _portable(path: PurePath) -> str:
    """A path, for files of this package relative to the folder in which the package is installed."""
    text = str(path)
    return text.removeprefix(str(_PACKAGE)) if text.startswith(str(_PACKAGE)) else text


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _is_function(value: Any) -> bool:
    return isinstance(value, types.FunctionType | types.MethodType | functools.partial) or isinstance(
        getattr(value, "__wrapped__", None), types.FunctionType
    )
