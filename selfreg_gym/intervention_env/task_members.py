"""Members that a task declares on its class, found for a task that is given by its id or as an env."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from selfreg_gym.intervention_env.building import task_kind
from selfreg_gym.types import optional_member

__all__ = ["task_class", "task_id", "task_member"]


def task_class(task: str) -> Any:
    """The class of a task, or the function that makes it; None for an id that Gymnasium cannot load.

    Args:
        task: an id, or ``"package.module:function"``.

    Raises:
        PluginImportError: the module of a task of this package's registry cannot be imported.
        UnknownNameError, InvalidArgumentError: as :func:`selfreg_gym.intervention_env.building.task_function`.
    """
    if (known := task_kind(task)) is not None:
        return known
    point = gym.registry[task].entry_point
    if isinstance(point, str):
        with contextlib.suppress(ImportError, AttributeError):  # making the task raises
            return load_env_creator(point)
        return None
    return point


def task_id(task: Any) -> str | None:
    """The id of a task that is given by its id or as an env; None for an env without one and for a function."""
    return task if isinstance(task, str) else getattr(getattr(task, "spec", None), "id", None)


def task_member(task: Any, name: str) -> Any:
    """A member of :class:`selfreg_gym.optional_members.OptionalTaskMembers` that a task declares on its class.

    Args:
        task: its id or ``"package.module:function"``, its class, an env, or a function that makes one; a function has
            the members of its attributes.
        name: the member.

    Returns:
        The member, or None if the task does not declare it.
    """
    while isinstance(task, functools.partial):
        task = task.func
    owner = task_class(task) if isinstance(task, str) else task
    return None if owner is None else optional_member(owner, name)
