"""The identity of a collection's task, actor and interventions, which determines whether a store can be continued.

Two lambdas have the same qualified name, so names alone do not identify functions:

* A function is identified by its bytecode, constants, defaults and closure, and by the functions and constants of its
  module that it refers to.
* An object that is used as a function (it has no ``act``) is identified by the code of its class and by its attributes
  that are numbers, texts, functions, paths, or tuples of these. Values that change at run time are excluded: lists,
  dicts, counters that a function assigns, attributes that a method other than the constructor assigns, and those in
  the class attribute ``immaterial``.
* An actor (an object with ``act``) is identified by the name of its class and by its attributes
  (:mod:`selfreg_gym.collection.attributes`), so its code may be repaired between two parts of a collection.
* Functions and classes of installed packages are identified by their names.

Bytecode depends on the version of Python, so code is compared only between runs of the same version.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import gymnasium as gym

from selfreg_gym.collection.attributes import PLAIN, attributes_of
from selfreg_gym.collection.code import (
    assigned_attributes,
    assigned_variables,
    code_function,
    hashed,
    is_installed,
    name_of,
    nested_code,
    slots_of,
)
from selfreg_gym.collection.versions import versions_of
from selfreg_gym.intervention_env.interventions import name_and_id
from selfreg_gym.intervention_env.snapshots import LimitSnapshots, ReplaySnapshots, layers
from selfreg_gym.types import FunctionActor, Intervention, optional_member

__all__ = ["identity_of", "wrappers_of"]

_MATERIAL = (*PLAIN, tuple, frozenset, PurePath, functools.partial, types.FunctionType, types.MethodType)
_MAX_DEPTH = 6  # of functions that refer to functions


def identity_of(
    task: Any, actor: Any, interventions: Sequence[Any], wrappers: Sequence[str] = (), task_wrappers: Sequence[str] = ()
) -> dict[str, Any]:
    """Plain values that differ if the task, the actor or an intervention behaves differently.

    Args:
        task: id, live env, or function that makes one.
        actor: id, actor object or function.
        interventions: ids or :class:`selfreg_gym.Intervention` objects.
        wrappers, task_wrappers: results of :func:`wrappers_of` for a live env.
    """
    names = [
        name_and_id(one)[0] if isinstance(one, str) else getattr(one, "name", str(i))
        for i, one in enumerate(interventions)
    ]
    described = {name: _attributes(one) for name, one in zip(names, interventions, strict=True)}
    played = {"task": _attributes(_arguments_of_task(task)), "actor": _attributes(actor)}
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "versions": versions_of(task),
        "code": {
            "task": _digest(task),
            "actor": _digest(actor),
            "interventions": [_digest(one) for one in interventions],
        },
        "attributes": {
            **{name: found[0] for name, found in played.items()},
            "interventions": {name: found[0] for name, found in described.items()},
        },
        "functions": {  # code of functions in attributes, compared like "code"
            **{name: found[1] for name, found in played.items()},
            "interventions": {name: found[1] for name, found in described.items()},
        },
        "costs": [one.cost if isinstance(one, Intervention) else None for one in interventions],
        **_durations(interventions),
        "wrappers": list(wrappers),
        "task_wrappers": list(task_wrappers),
    }


def _durations(interventions: Sequence[Any]) -> dict[str, Any]:
    """The durations of the interventions' calls; nothing if all calls have one step, as in earlier stores."""
    found = [[one.duration, one.cost_per] if isinstance(one, Intervention) else [1, "call"] for one in interventions]
    return {"durations": found} if any(one != [1, "call"] for one in found) else {}


def wrappers_of(env: Any) -> list[str]:
    """The wrappers of an env with their plain arguments, outermost first, except those that gym.make always adds."""
    found = []
    chain = layers(env) if not hasattr(env, "num_envs") else _vector_layers(env)
    for layer in chain[:-1]:
        kind = type(layer)
        if kind in (LimitSnapshots, ReplaySnapshots) or kind.__name__ in ("OrderEnforcing", "PassiveEnvChecker"):
            continue
        kwargs = {k: v for k, v in (getattr(layer, "_saved_kwargs", None) or {}).items() if isinstance(v, PLAIN)}
        arguments = ", ".join(f"{key}={value!r}" for key, value in sorted(kwargs.items()))
        found.append(f"{kind.__module__}.{kind.__qualname__}({arguments})")
    return found


def _vector_layers(env: Any) -> list[Any]:
    found = [env]
    while hasattr(found[-1], "env"):
        found.append(found[-1].env)
    return found


def _attributes(value: Any) -> tuple[dict[str, Any], list[str]]:
    """The compared attributes of a value, and the digests of the functions among them."""
    digests: list[str] = []

    def name_function(function: Any) -> str:
        digests.append(_code_digest(function))
        return name_of(function)

    return attributes_of(value, name_function), digests


def _arguments_of_task(task: Any) -> Any:
    """The constructor arguments of a live env as a partial function; any other task itself.

    The attributes of an env change at every reset, so only those with the name of a constructor argument are used. For
    an env made by ``gym.make``, these are the arguments that are not plain values (plain ones are in the env's spec).
    """
    if not isinstance(task, gym.Env):
        return task
    spec = getattr(task, "spec", None)
    if spec is not None:
        found = {key: value for key, value in spec.kwargs.items() if not isinstance(value, PLAIN)}
    else:
        inner = task.unwrapped
        names = {
            name
            for base in type(inner).__mro__
            if isinstance(vars(base).get("__init__"), types.FunctionType)
            for name in inspect.signature(vars(base)["__init__"]).parameters
        } - {"render_mode", *getattr(inner, "immaterial", ())}
        found = {name: value for name, value in getattr(inner, "__dict__", {}).items() if name in names}
    return functools.partial(_nothing, **found)


def _nothing(**bound: Any) -> None:
    """A placeholder for the constructor of an env whose arguments are described."""


def _code_digest(function: Any) -> str:
    return hashed(repr(_describe(function, _MAX_DEPTH, set())))


def _digest(value: Any) -> str | None:
    """A short hash of the code and attributes of a function or an object; None for ids, envs and actors."""
    if isinstance(value, Intervention):
        value = value.actor
    if isinstance(value, FunctionActor):
        value = value.function
    if isinstance(value, gym.Env | str) or (hasattr(value, "act") and not inspect.isroutine(value)):
        return None  # identified by name, arguments, attributes and wrappers
    return _code_digest(value)


def _describe(value: Any, depth: int, seen: set[int]) -> Any:
    """A nested tuple of plain values that determines the behaviour of ``value``."""
    if isinstance(value, (*PLAIN, PurePath)):
        return ("value", repr(value))
    if depth == 0 or id(value) in seen:
        return ("name", name_of(value))
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
        if is_installed(value):
            return ("name", name_of(value))
        return _function(value, depth, seen)
    if isinstance(value, list | dict | set | bytearray):
        return ("mutable", type(value).__name__)
    wrapped = getattr(value, "__wrapped__", None)  # functools.lru_cache
    if isinstance(wrapped, types.FunctionType):
        return ("wrapped", name_of(type(value)), _describe(wrapped, depth - 1, seen))
    if hasattr(value, "act") or isinstance(
        value, types.BuiltinFunctionType | types.MethodDescriptorType | types.ModuleType | type
    ):
        return ("name", name_of(value))
    return _object(value, depth, seen)


def _object(value: Any, depth: int, seen: set[int]) -> Any:
    """Name, code and attributes of an object, without the code of installed classes."""
    kind = type(value)
    own: dict[str, types.FunctionType] = {}
    for base in reversed(kind.__mro__):
        if not is_installed(base):
            own |= {name: one for name, member in vars(base).items() if (one := code_function(member)) is not None}
    code = [(name, _function(one, depth - 1, seen)) for name, one in sorted(own.items())]
    changed = assigned_attributes(kind)
    attributes = getattr(value, "__dict__", {}) | slots_of(value)
    changed |= set(optional_member(kind, "immaterial") or ())
    kept = [
        (name, _describe(item, depth - 1, seen))
        for name, item in sorted(attributes.items())
        if name not in changed and isinstance(item, _MATERIAL)
    ]
    return ("object", name_of(value), code, kept)


def _function(function: types.FunctionType, depth: int, seen: set[int]) -> Any:
    code = function.__code__
    changed = assigned_variables(code)
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
    names = {name for inner in nested_code(code) for name in inner.co_names} - changed
    parts += [(name, _global(function, known[name], depth, seen)) for name in sorted(names & {*known})]
    return ("function", *parts)


def _global(function: types.FunctionType, value: Any, depth: int, seen: set[int]) -> Any:
    """A global that a function refers to: constants and functions of its own module count."""
    own = isinstance(value, types.FunctionType) and value.__module__ == function.__module__
    return _describe(value, depth - 1, seen) if own or isinstance(value, PLAIN) else ("name", name_of(value))


def _code(code: types.CodeType) -> Any:
    """Instructions and constants of a code object, without file name and line numbers."""

    def plain(constant: Any) -> Any:
        if isinstance(constant, types.CodeType):
            return _code(constant)
        return sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)

    constants = [plain(constant) for constant in code.co_consts]
    return (code.co_code.hex(), constants, code.co_names, code.co_varnames[: code.co_argcount], code.co_freevars)
