"""The class or function behind a task that is given by its id, and the members that a task declares on it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError, shown
from selfreg_gym.types import optional_member
from selfreg_gym.utils.arguments import is_integer

__all__ = ["episodes_of", "task_class", "task_function", "task_id", "task_member"]


def task_class(task: str) -> Any:
    """The class of a task's id, or the function that makes it; None if no task has this id.

    Raises:
        PluginImportError: the module of a task of this package's registry cannot be imported.
    """
    if task in registry.names("envs"):
        return registry.load("envs", task)
    point = getattr(gym.registry.get(task), "entry_point", None)
    if isinstance(point, str):
        with contextlib.suppress(ImportError, AttributeError):  # making the task raises
            return load_env_creator(point)
        return None
    if point is None:
        with contextlib.suppress(UnknownNameError, InvalidArgumentError):  # making the task raises
            return task_function(task)
    return point


def task_function(task: str) -> Callable[..., Any] | None:
    """The function or class that ``"package.module:function"`` names; None if ``task`` is a Gymnasium id.

    Gymnasium's own ``"module:Name-v0"``, the id of an env that the module registers, is an id.

    Raises:
        UnknownNameError: ``task`` is not a registered id and not of this form.
        InvalidArgumentError: the module cannot be imported, or has no such function.
    """
    if task in gym.registry:
        return None
    module, colon, name = task.partition(":")
    if not colon or not module or not name:
        raise UnknownNameError("task", task, registry.names("envs"))
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise InvalidArgumentError(
            f"the module of the task {shown(task)} cannot be imported: {type(error).__name__}: {error}. Write "
            "'package.module:function' with a module that Python finds (its folder in PYTHONPATH, or installed)."
        ) from error
    if name in gym.registry:
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        known = sorted(key for key, value in vars(sys.modules[module]).items() if callable(value) and key[0] != "_")
        raise UnknownNameError(f"function of the module {module!r} (or id of a task that it registers)", name, known)
    return found


def task_id(task: Any) -> str | None:
    """The id of a task that is given by its id or as an env; None for an env without one and for a function."""
    return task if isinstance(task, str) else getattr(getattr(task, "spec", None), "id", None)


def task_member(task: Any, name: str) -> Any:
    """A member of :class:`selfreg_gym.optional_members.OptionalTaskMembers` that a task declares on its class.

    Args:
        task: its id, its class, an env, or a function that makes one; a function has the members of its attributes.
        name: the member.

    Returns:
        The member, or None if the task does not declare it.
    """
    while isinstance(task, functools.partial):
        task = task.func
    owner = task_class(task) if isinstance(task, str) else task
    return None if owner is None else optional_member(owner, name)


def episodes_of(task: gym.Env[Any, Any]) -> int | None:
    """The number of tasks of a task env (``num_episodes``), or None if it does not report it."""
    number = optional_member(task, "num_episodes")
    return int(number) if is_integer(number) else None
