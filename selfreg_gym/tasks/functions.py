"""Functions of the user that describe a state: of the observation, and optionally of the info and the env."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown

__all__ = ["StateFunction", "check_function", "checked_reward"]

StateFunction = Callable[..., Any]
"""``f(observation)``, ``f(observation, info)`` or ``f(observation, info, env)``."""


def check_function(what: str, function: Any) -> tuple[StateFunction, int]:
    """A function of a state, and the number of arguments that it takes, of (observation, info, env).

    Raises:
        InvalidArgumentError: not a function, or one that takes none or more than three positional arguments.
    """
    rule = f"{what} must be a function of (observation), (observation, info) or (observation, info, env)"
    if not callable(function):
        raise InvalidArgumentError(f"{rule}, received {shown(function)}.")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions
        return function, 1
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = sum(one.default is one.empty for one in positional)
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return function, 3
    # Arguments with a default are often bound values (lambda obs, names=NAMES: ...), so only required ones count.
    taken = required if required else min(len(positional), 1)
    if not 1 <= taken <= 3 or any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters):
        raise InvalidArgumentError(
            f"{rule}, received {shown(function)} with the signature {inspect.signature(function)}."
        )
    return function, taken


def checked_reward(reward: Any) -> float:
    """The reward of a wrapped env, as a float.

    Raises:
        TaskContractError: it is not a finite number.
    """
    try:
        found = float(reward)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise TaskContractError(f"the reward of a wrapped env must be a finite number, received {shown(reward)}.")
    return found
