"""Make the task and the actor of an env from ids, objects or functions."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym

from selfreg_gym import registry
from selfreg_gym.errors import (
    InvalidArgumentError,
    RegistryError,
    SelfRegError,
    UnknownNameError,
    cause_of,
    message_of,
    shown,
)
from selfreg_gym.intervention_env.arguments import (
    check_action,
    check_actions,
    check_budget,
    check_help_cost,
    check_kwargs,
    check_limit,
    check_no_more_arguments,
    check_seed,
    check_timeout,
)
from selfreg_gym.intervention_env.history import with_history
from selfreg_gym.intervention_env.snapshots import with_snapshots
from selfreg_gym.intervention_env.task_members import task_class, task_function
from selfreg_gym.types import Actor, as_actor, optional_member

__all__ = [
    "build_actor",
    "build_task",
    "check_action",
    "check_actions",
    "check_budget",
    "check_help_cost",
    "check_kwargs",
    "check_limit",
    "check_no_more_arguments",
    "check_seed",
    "check_timeout",
    "closing_on_error",
    "construct",
    "constructing",
    "material",
]


def build_actor(actor: Actor | Callable[[str], str] | str, actor_kwargs: dict[str, Any] | None = None) -> Actor:
    """Make an actor from a registered name and its arguments, an actor object, or a function of the observation.

    Raises:
        UnknownNameError: no actor has this name, or an argument does not exist.
        InvalidArgumentError: arguments for an actor object, or a required argument is missing.
    """
    if not isinstance(actor, str):
        if actor_kwargs:
            raise InvalidArgumentError(f"actor_kwargs needs an actor given by its name, received the actor {actor!r}.")
        return as_actor(actor)
    return construct("actors", actor, actor_kwargs)


def construct(group: str, name: str, kwargs: dict[str, Any] | None = None) -> Any:
    """Make an instance of a registered class.

    Args:
        group: ``"actors"``, ``"interventions"`` or ``"helpers"``.
        name: the registered name.
        kwargs: arguments of the class.

    Raises:
        UnknownNameError: the name or an argument does not exist.
        InvalidArgumentError: a required argument is missing.
        RegistryError: the constructor raised another error; the message has the id and the error.
    """
    what = f"{registry.SINGULAR[group]} {name!r}"
    kind, arguments = registry.load(group, name), check_kwargs(f"the arguments of the {what}", kwargs)
    _check_arguments(what, kind, arguments)
    with constructing(what, kind):
        return kind(**arguments)


@contextlib.contextmanager
def constructing(what: str, kind: Any) -> Iterator[None]:
    """Raise ``RegistryError`` with the name of the plug-in for errors that are not of :mod:`selfreg_gym.errors`."""
    try:
        yield
    except SelfRegError:
        raise
    except Exception as error:
        point = getattr(kind, "entry_point", kind)  # a task's Gymnasium spec has one
        known = point if isinstance(point, str) else f"{point.__module__}.{point.__qualname__}" if point else ""
        raise RegistryError(
            f"the {what} cannot be built: its constructor {known}{' ' if known else ''}raised {type(error).__name__}: "
            f"{shown(message_of(error))}. "
            "Check its arguments and the files, packages and servers that it needs."
        ) from cause_of(error)


@contextlib.contextmanager
def closing_on_error(*tasks: gym.Env[Any, Any]) -> Iterator[None]:
    """Close the tasks if the block raises, so that none of their processes is left."""
    try:
        yield
    except BaseException:
        for task in tasks:
            task.close()
        raise


def _check_arguments(what: str, kind: Any, arguments: dict[str, Any]) -> None:
    """Raise if ``kind`` does not take one of the arguments, or requires another."""
    signature = inspect.signature(kind)
    if not any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()):
        for key in arguments:
            if key not in signature.parameters:
                raise UnknownNameError(f"argument of the {what}", key, tuple(signature.parameters))
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InvalidArgumentError(f"the {what} was given the arguments {arguments}: {error}.") from None


def material(group: str, name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a registered class that can change its results.

    A class lists in ``immaterial`` the arguments that change only where and how fast it runs (a server's address, its
    time-outs); a store or a run can be continued with other values of these. If an argument ``X`` of an intervention is
    the id of an actor, and ``X_kwargs`` are its arguments (``adviser``, ``adviser_kwargs``), the ``immaterial`` ones of
    this actor are left out too.
    """
    try:
        immaterial = optional_member(registry.load(group, name), "immaterial") or ()
    except UnknownNameError:  # from the config of another installation; making the object raises
        immaterial = ()
    kept = {key: value for key, value in kwargs.items() if key not in immaterial}
    for key, arguments in list(kept.items()):
        inner = kept.get(key.removesuffix("_kwargs"))
        if key.endswith("_kwargs") and isinstance(inner, str) and isinstance(arguments, Mapping):
            kept[key] = material("actors", inner, dict(arguments))
    return kept


def _check_task_arguments(task: str, kwargs: dict[str, Any]) -> None:
    """Compare the arguments of a task with its signature, except for ids with a module (``"module:Name-v0"``)."""
    spec = gym.registry.get(task)
    kind = task_class(task)  # if the import of a registered task fails, the error names its distribution
    own = {key: value for key, value in kwargs.items() if key != "max_episode_steps"}  # gym.make's own
    if kind is not None:
        _check_arguments(f"task {task!r}", kind, {**(spec.kwargs if spec else {}), **own})


def _task_of_id(task: str, task_kwargs: dict[str, Any] | None, render_mode: str | None) -> gym.Env[str, str]:
    """Make the task of an id or of ``"module:function"``, with its history."""
    kwargs = check_kwargs("task_kwargs", task_kwargs)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    limit = check_limit(kwargs.get("max_episode_steps"))
    if limit is not None:
        kwargs["max_episode_steps"] = limit  # Gymnasium requires a Python int
    function = task_function(task)
    kind = task_class(task)
    takes = () if kind is None else inspect.signature(kind).parameters
    history = None if "history" in takes else kwargs.pop("history", None)
    _check_task_arguments(task, kwargs)
    with constructing(f"task {shown(task)}", function or gym.registry.get(task)):
        if function is None:
            # Gymnasium's passive checker sees only the first step; selfreg_gym.testing.check_task checks all.
            env = gym.make(task, disable_env_checker=True, **kwargs)
        elif "max_episode_steps" in takes or limit is None:
            env = function(**kwargs)
        else:
            del kwargs["max_episode_steps"]
            env = gym.wrappers.TimeLimit(_checked_env(function(**kwargs)), limit)
    return with_history(_checked_env(env), history)


def _checked_env(env: Any) -> gym.Env[str, str]:
    """A text task, or an error."""
    if not isinstance(env, gym.Env):
        raise InvalidArgumentError(
            f"a task must be an id, a gymnasium.Env or a function that makes one, received {type(env).__name__}."
        )
    for space, what in ((env.observation_space, "observations"), (env.action_space, "actions")):
        if not isinstance(space, gym.spaces.Text):
            raise InvalidArgumentError(
                f"a task's {what} must be text (selfreg_gym.FreeText), received the space {space} of {env}: "
                "wrap the task in selfreg_gym.TextAdapter, or in another wrapper with text spaces."
            )
    return env


def build_task(
    task: gym.Env[str, str] | Callable[[], gym.Env[str, str]] | str,
    task_kwargs: dict[str, Any] | None = None,
    render_mode: str | None = None,
) -> gym.Env[str, str]:
    """Make a text task from an id, an env, or a function that makes one; the result has exact snapshots.

    Args:
        task: an id, ``"package.module:function"``, an env, or a function without arguments.
        task_kwargs: arguments of an id or of the function that it names. ``history`` (a number of turns, or the
            arguments of :class:`selfreg_gym.History`) puts the task into a ``History``, unless the task itself has an
            argument of this name.
        render_mode: the task's render mode.

    Raises:
        UnknownNameError: no task has this id, or an argument does not exist.
        InvalidArgumentError: arguments together with a task env, a missing argument, or spaces that are not text.
        RegistryError: the task's module cannot be imported, or its constructor raised.
    """
    if isinstance(task, str):
        try:
            return with_snapshots(_task_of_id(task, task_kwargs, render_mode))
        except RegistryError as error:
            if isinstance(error.__cause__, gym.error.Error) and task not in gym.registry:
                raise UnknownNameError("task", task, registry.names("envs")) from None
            raise
    if task_kwargs:
        raise InvalidArgumentError(f"task_kwargs needs a task given by its id, received the task {task!r}.")
    if callable(task) and not isinstance(task, gym.Env):
        with constructing("task", task if hasattr(task, "__qualname__") else type(task)):
            env = task()
    else:
        env = task
    env = _checked_env(env)
    if render_mode is not None and render_mode != env.render_mode:
        raise InvalidArgumentError(
            f"render_mode={render_mode!r} differs from the task's render mode {env.render_mode!r}: "
            "make the task with the render mode that you want."
        )
    return with_snapshots(env)
