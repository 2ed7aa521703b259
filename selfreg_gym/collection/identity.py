"""What makes two collections the same: the code of functions and callable objects, which have no registered name.

Two lambdas have the same qualified name, so a name is not enough to continue a store with the same actor. A function
is identified by its bytecode, constants, defaults, closure, and by the functions and constants of its module that it
refers to. An object that is used as a function (it has no ``act``) is identified by the code of its class and by those
attributes that are numbers, texts, functions, paths, or tuples of these. Values that change while it runs are left
out: lists, dicts, counters that a function assigns, attributes that a method other than the constructor assigns. A
class may also name attributes in ``immaterial`` that change only where and how fast it acts.

An actor, an object with ``act``, is identified by the name of its class, so its delay or address may change between two
parts of a collection. Functions and classes of installed packages are identified by their names, too.

Bytecode belongs to a version of Python, so the code is compared only between runs of the same version.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import gymnasium as gym

from selfreg_gym.intervention_env.snapshots import LimitSnapshots, ReplaySnapshots, layers
from selfreg_gym.types import FunctionActor, Intervention, optional_member

__all__ = ["identity_of", "wrappers_of"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MATERIAL = (*_PLAIN, tuple, frozenset, PurePath, functools.partial, types.FunctionType, types.MethodType)
_DEEPEST = 6  # functions that refer to functions


def identity_of(
    task: Any, actor: Any, interventions: Sequence[Any], wrappers: Sequence[str] = (), task_wrappers: Sequence[str] = ()
) -> dict[str, Any]:
    """Plain values that differ when the task, the actor or an intervention behaves differently.

    Args:
        task: id, live env, or function that makes one.
        actor: id, actor object or function.
        interventions: ids or :class:`selfreg_gym.Intervention` objects.
        wrappers, task_wrappers: of :func:`wrappers_of`, for a live env.
    """
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "code": {
            "task": _digest(task),
            "actor": _digest(actor),
            "interventions": [_digest(one) for one in interventions],
        },
        "costs": [one.cost if isinstance(one, Intervention) else None for one in interventions],
        "wrappers": list(wrappers),
        "task_wrappers": list(task_wrappers),
    }


def wrappers_of(env: Any) -> list[str]:
    """The wrappers of an env, outermost first, with their plain arguments; without those that gym.make always adds."""
    found = []
    chain = layers(env) if not hasattr(env, "num_envs") else _vector_layers(env)
    for layer in chain[:-1]:
        kind = type(layer)
        if kind in (LimitSnapshots, ReplaySnapshots) or kind.__name__ in ("OrderEnforcing", "PassiveEnvChecker"):
            continue
        kwargs = {k: v for k, v in (getattr(layer, "_saved_kwargs", None) or {}).items() if isinstance(v, _PLAIN)}
        arguments = ", ".join(f"{key}={value!r}" for key, value in sorted(kwargs.items()))
        found.append(f"{kind.__module__}.{kind.__qualname__}({arguments})")
    return found


def _vector_layers(env: Any) -> list[Any]:
    found = [env]
    while hasattr(found[-1], "env"):
        found.append(found[-1].env)
    return found


def _digest(value: Any) -> str | None:
    """A short hash of the code and attributes of a function or an object; None for an id, which says it all."""
    if isinstance(value, Intervention):
        value = value.actor
    if isinstance(value, FunctionActor):
        value = value.function
    if isinstance(value, gym.Env) or (hasattr(value, "act") and not inspect.isroutine(value)):
        return None  # an env's id, arguments and wrappers stand beside this
    if isinstance(value, str):
        return None
    described = _describe(value, _DEEPEST, set())
    return hashlib.sha256(repr(described).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _describe(value: Any, depth: int, seen: set[int]) -> Any:
    """A nested tuple of plain values that stands for the behaviour of ``value``."""
    if isinstance(value, (*_PLAIN, PurePath)):
        return ("value", repr(value))
    if depth == 0 or id(value) in seen:
        return ("name", _name(value))
    seen = seen | {id(value)}
    if isinstance(value, tuple | frozenset):
        parts = [_describe(item, depth - 1, seen) for item in value]
        return ("tuple", *parts) if isinstance(value, tuple) else ("set", *sorted(map(repr, parts)))
    if isinstance(value, functools.partial):
        parts = [value.func, *value.args, *(item for pair in sorted(value.keywords.items()) for item in pair)]
        return ("partial", *(_describe(part, depth - 1, seen) for part in parts))
    if inspect.ismethod(value):
        return ("method", _describe(value.__func__, depth - 1, seen), _describe(value.__self__, depth - 1, seen))
    if isinstance(value, types.FunctionType):
        if _installed(value):
            return ("name", _name(value))
        return _function(value, depth, seen)
    if isinstance(value, list | dict | set | bytearray):
        return ("mutable", type(value).__name__)
    wrapped = getattr(value, "__wrapped__", None)  # functools.lru_cache
    if isinstance(wrapped, types.FunctionType):
        return ("wrapped", _name(type(value)), _describe(wrapped, depth - 1, seen))
    if hasattr(value, "act") or isinstance(
        value, types.BuiltinFunctionType | types.MethodDescriptorType | types.ModuleType | type
    ):
        return ("name", _name(value))
    return _object(value, depth, seen)


def _object(value: Any, depth: int, seen: set[int]) -> Any:
    """Name, code and attributes of an object; the code of installed classes is left out."""
    kind = type(value)
    methods: dict[str, types.FunctionType] = {}
    own: dict[str, types.FunctionType] = {}
    for base in reversed(kind.__mro__):
        found = {name: one for name, member in vars(base).items() if (one := _plain_function(member)) is not None}
        methods |= found
        own |= {} if _installed(base) else found
    code = [(name, _function(one, depth - 1, seen)) for name, one in sorted(own.items())]
    changed = {name for method, one in methods.items() for name in _set_attributes(method, one)}
    slots = [name for base in kind.__mro__ for name in _names_of_slots(base) if hasattr(value, name)]
    attributes = getattr(value, "__dict__", {}) | {name: getattr(value, name) for name in slots}
    changed |= set(optional_member(kind, "immaterial") or ())
    kept = [
        (name, _describe(item, depth - 1, seen))
        for name, item in sorted(attributes.items())
        if name not in changed and isinstance(item, _MATERIAL)
    ]
    return ("object", _name(value), code, kept)


def _names_of_slots(base: type) -> Sequence[str]:
    slots = vars(base).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _plain_function(member: Any) -> types.FunctionType | None:
    """The function behind a method, a static or class method, or a property."""
    member = getattr(member, "__func__", getattr(member, "fget", member))
    return member if isinstance(member, types.FunctionType) else None


def _set_attributes(name: str, function: types.FunctionType) -> set[str]:
    """Attributes that a method assigns, unless it is part of making the object."""
    if name in ("__init__", "__new__", "__post_init__"):
        return set()
    return {
        str(step.argval)
        for inner in _nested(function.__code__)
        for step in dis.get_instructions(inner)
        if step.opname in ("STORE_ATTR", "DELETE_ATTR")
    }


def _function(function: types.FunctionType, depth: int, seen: set[int]) -> Any:
    code = function.__code__
    changed = _assigned(code)
    parts: list[Any] = [_code(code)]
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    parts += [_describe(default, depth - 1, seen) for default in defaults]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if name in changed:
            continue
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        parts.append((name, _describe(content, depth - 1, seen)))
    known = function.__globals__
    parts += [
        (name, _global(function, known[name], depth, seen)) for name in sorted((_names(code) - changed) & {*known})
    ]
    return ("function", *parts)


def _global(function: types.FunctionType, value: Any, depth: int, seen: set[int]) -> Any:
    """A global that a function refers to: constants and functions of its own module count."""
    if isinstance(value, _PLAIN):
        return _describe(value, depth - 1, seen)
    if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
        return _describe(value, depth - 1, seen)
    return ("name", _name(value))


def _code(code: types.CodeType) -> Any:
    """Instructions and constants of a code object, without file name and line numbers."""
    constants: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            constants.append(_code(constant))
        elif isinstance(constant, frozenset):
            constants.append(sorted(map(repr, constant)))
        else:
            constants.append(repr(constant))
    return (code.co_code.hex(), constants, code.co_names, code.co_varnames[: code.co_argcount], code.co_freevars)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _names(code: types.CodeType) -> set[str]:
    return {name for inner in _nested(code) for name in inner.co_names}


def _assigned(code: types.CodeType) -> set[str]:
    """Variables outside the function that it assigns: counters, for instance."""
    return {
        str(step.argval)
        for inner in _nested(code)
        for step in dis.get_instructions(inner)
        if step.opname in ("STORE_DEREF", "STORE_GLOBAL", "DELETE_DEREF", "DELETE_GLOBAL")
    }


def _installed(value: Any) -> bool:
    """Whether a function comes from an installed package, the standard library or this package."""
    module = getattr(value, "__module__", None) or ""
    root = module.partition(".")[0]
    if root == "selfreg_gym" or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return file.startswith(_PACKAGE_FOLDERS)


_PACKAGE_FOLDERS = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})


def _name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None) or getattr(named, "__objclass__", type(named)).__module__
    return f"{module}.{named.__qualname__}"
