"""Make the task and the actor of an env from ids, objects or functions, and validate arguments.

The functions ``check_...`` return the value in its plain Python type, or raise ``InvalidArgumentError``.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, RegistryError, SelfRegError, UnknownNameError, shown
from selfreg_gym.intervention_env.snapshots import with_snapshots
from selfreg_gym.types import Actor, Intervention, as_actor, optional_member
from selfreg_gym.utils.arguments import LARGEST_INTEGER, check_count, check_number

__all__ = [
    "build_actor",
    "build_task",
    "check_action",
    "check_actions",
    "check_budget",
    "check_flag",
    "check_help_cost",
    "check_kwargs",
    "check_limit",
    "check_no_more_arguments",
    "check_seed",
    "closing_on_error",
    "construct",
    "constructing",
    "material",
]


def check_help_cost(help_cost: float) -> float:
    """Return the help cost r as a float; see :func:`selfreg_gym.utils.arguments.check_number`."""
    return check_number("help_cost (r)", help_cost)


def check_limit(max_episode_steps: Any) -> int | None:
    """Return ``max_episode_steps``, at least 1, as an int, or None for no limit (Gymnasium's -1 means the same)."""
    if max_episode_steps is None or (type(max_episode_steps) is int and max_episode_steps == -1):
        return None
    return check_count("max_episode_steps", max_episode_steps)


def check_budget(budget: Any) -> float:
    """Return a budget C as a float; see :func:`selfreg_gym.utils.arguments.check_number`."""
    return check_number("a budget C (cost units per episode)", budget)


def check_flag(what: str, value: Any) -> bool:
    """Return a bool; any other value is an error."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InvalidArgumentError(f"{what} must be True or False, received {shown(value)}.")


def check_seed(seed: Any) -> int | None:
    """Return a seed, an integer from 0 to 2**63 - 1, as an int; or None."""
    if seed is None or (type(seed) is int and 0 <= seed <= LARGEST_INTEGER):
        return seed
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool) and 0 <= seed <= LARGEST_INTEGER:
        return int(seed)
    raise InvalidArgumentError(f"a seed must be a non-negative integer below 2**63 or None, received {shown(seed)}.")


def check_action(action: Any, interventions: Sequence[Intervention], *, abort: bool = False) -> int:
    """Return an action as an int in 0 .. K, or K + 1 with ``abort``; the message of the error lists the actions."""
    k = len(interventions) + abort
    scalar = action.item() if isinstance(action, np.ndarray | np.generic) and action.ndim == 0 else action
    if isinstance(scalar, int) and 0 <= scalar <= k:
        return int(scalar)
    meaning = [f"{i} = help from {one.name!r}" for i, one in enumerate(interventions, 1)]
    meaning += [f"{k} = abort"] if abort else []
    raise InvalidArgumentError(
        f"an action must be an integer from 0 to {k} ({', '.join(['0 = nohelp', *meaning])}), "
        f"received {action!r} of type {type(action).__name__}."
    )


def check_actions(actions: Any, n: int) -> np.ndarray:
    """Return the actions of n environments as an integer array ``(n,)``."""
    try:
        array = np.asarray(actions)
    except ValueError:  # nested lists of different lengths
        array = np.array(None)
    if array.shape != (n,) or array.dtype.kind not in "iub":
        raise InvalidArgumentError(f"actions must be {n} integers, one per environment, received {shown(actions)}.")
    return array


def check_no_more_arguments(kind: type, unknown: dict[str, Any]) -> None:
    """Raise ``UnknownNameError`` with the arguments of ``kind`` if ``unknown`` holds others."""
    for key in unknown:
        parameters = inspect.signature(kind).parameters.values()
        known = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
        raise UnknownNameError(f"argument of {kind.__name__}", key, known)


def check_kwargs(what: str, kwargs: Any) -> dict[str, Any]:
    """Return keyword arguments, a dict with keys of type str; None means no arguments."""
    if kwargs is None:
        return {}
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise InvalidArgumentError(
            f"{what} must be a dict of keyword arguments such as {{'name': value}}, received {shown(kwargs)}."
        )
    return dict(kwargs)


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
            f"{shown(str(error))}. "
            "Check its arguments and the files, packages and servers that it needs."
        ) from error


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
    time-outs); a store or a run can be continued with other values of these. The arguments ``actor`` (an id) and
    ``actor_kwargs`` of an intervention are those of an actor, of which the same holds.
    """
    try:
        immaterial = optional_member(registry.load(group, name), "immaterial") or ()
    except UnknownNameError:  # from the config of another installation; making the object raises
        immaterial = ()
    kept = {key: value for key, value in kwargs.items() if key not in immaterial}
    inner, arguments = kept.get("actor"), kept.get("actor_kwargs")
    if isinstance(inner, str) and isinstance(arguments, Mapping):
        kept["actor_kwargs"] = material("actors", inner, dict(arguments))
    return kept


def _check_task_arguments(task: str, kwargs: dict[str, Any]) -> None:
    """Compare the arguments of a task with its signature, except for ids with a module (``"module:Name-v0"``)."""
    spec = gym.registry.get(task)
    if spec is None or spec.entry_point is None:
        return
    point = spec.entry_point
    if task in registry.names("envs"):
        kind: Any = registry.load("envs", task)  # if the import fails, the error has the distribution
    else:
        kind = load_env_creator(point) if isinstance(point, str) else point
    own = {key: value for key, value in kwargs.items() if key != "max_episode_steps"}  # gym.make's own
    _check_arguments(f"task {task!r}", kind, {**spec.kwargs, **own})


def build_task(
    task: gym.Env[str, str] | Callable[[], gym.Env[str, str]] | str,
    task_kwargs: dict[str, Any] | None = None,
    render_mode: str | None = None,
) -> gym.Env[str, str]:
    """Make a text task from an id, an env, or a function that makes one; the result has exact snapshots.

    Raises:
        UnknownNameError: no task has this id, or an argument does not exist.
        InvalidArgumentError: arguments for a task env, a missing argument, or spaces that are not text.
        RegistryError: the task's module cannot be imported, or its constructor raised.
    """
    if isinstance(task, str):
        kwargs = check_kwargs("task_kwargs", task_kwargs)
        if render_mode is not None:
            kwargs["render_mode"] = render_mode
        if check_limit(kwargs.get("max_episode_steps")) is not None:
            kwargs["max_episode_steps"] = int(kwargs["max_episode_steps"])  # Gymnasium requires a Python int
        try:
            _check_task_arguments(task, kwargs)
            with constructing(f"task {shown(task)}", gym.registry.get(task)):
                # Gymnasium's passive checker sees only the first step; selfreg_gym.testing.check_task checks all.
                env = gym.make(task, disable_env_checker=True, **kwargs)
        except RegistryError as error:
            if isinstance(error.__cause__, gym.error.Error) and task not in gym.registry:
                raise UnknownNameError("task", task, registry.names("envs")) from None
            raise
    elif task_kwargs:
        raise InvalidArgumentError(f"task_kwargs needs a task given by its id, received the task {task!r}.")
    else:
        if callable(task) and not isinstance(task, gym.Env):
            with constructing("task", task if hasattr(task, "__qualname__") else type(task)):
                env = task()
        else:
            env = task
        if not isinstance(env, gym.Env):
            raise InvalidArgumentError(
                f"a task must be an id, a gymnasium.Env or a function that makes one, received {type(env).__name__}."
            )
        if render_mode is not None and render_mode != env.render_mode:
            raise InvalidArgumentError(
                f"render_mode={render_mode!r} differs from the task's render mode {env.render_mode!r}: "
                "make the task with the render mode that you want."
            )
    for space, what in ((env.observation_space, "observations"), (env.action_space, "actions")):
        if not isinstance(space, gym.spaces.Text):
            raise InvalidArgumentError(
                f"a task's {what} must be text (selfreg_gym.FreeText), received the space {space} of {env}: "
                "wrap the task in a wrapper with text spaces."
            )
    return with_snapshots(env)
