"""Validation of the arguments of the envs: help cost, limits, seeds, actions.

The functions return the value in its plain Python type, or raise ``InvalidArgumentError``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError, shown
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import LARGEST_INTEGER, check_count, check_number

__all__ = [
    "ENV_KEYS",
    "check_action",
    "check_actions",
    "check_budget",
    "check_env_kwargs",
    "check_help_cost",
    "check_kwargs",
    "check_limit",
    "check_no_more_arguments",
    "check_seed",
    "check_timeout",
]

ENV_KEYS = (
    "abort", "actor", "actor_kwargs", "call_timeout", "help_cost", "intervention_kwargs", "interventions",
    "max_episode_steps", "task", "task_kwargs",
)  # fmt: skip
"""The keyword arguments of an env. Collection and evaluation make several envs from them."""


def check_env_kwargs(env: Mapping[str, Any], *, more: Sequence[str] = ()) -> None:
    """Check the names of an env's keyword arguments; ``more`` names are allowed too.

    Raises:
        UnknownNameError: an unknown name.
        InvalidArgumentError: the task, the actor or the interventions are missing.
    """
    known = (*ENV_KEYS, *more)
    for key in env:
        if key not in known:
            raise UnknownNameError("keyword argument of selfreg/Intervention-v0", key, known)
    missing = [key for key in ("task", "actor", "interventions") if key not in env]
    if missing:
        raise InvalidArgumentError(f"env needs task, actor and interventions; {', '.join(missing)} is missing.")


def check_help_cost(help_cost: float) -> float:
    """Return the help cost r as a float; see :func:`selfreg_gym.utils.arguments.check_number`."""
    return check_number("help_cost (r)", help_cost)


def check_limit(max_episode_steps: Any) -> int | None:
    """Return ``max_episode_steps``, at least 1, as an int, or None for no limit (Gymnasium's -1 means the same)."""
    if max_episode_steps is None or (type(max_episode_steps) is int and max_episode_steps == -1):
        return None
    return check_count("max_episode_steps", max_episode_steps)


def check_timeout(timeout: Any, what: str = "call_timeout (seconds)") -> float | None:
    """Return a limit of a call, seconds above 0, as a float, or None for no limit."""
    return None if timeout is None else check_number(what, timeout, above=True)


def check_budget(budget: Any) -> float:
    """Return a budget C as a float; see :func:`selfreg_gym.utils.arguments.check_number`."""
    return check_number("a budget C (cost units per episode)", budget)


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
