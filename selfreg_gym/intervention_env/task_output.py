"""Checks of what a text task returns from ``reset`` and ``step``.

A task comes from outside the package. A value that the contract (:class:`selfreg_gym.types.TextTask`) does not allow is
an error here, where the task is known, and not later in the store or in an array. Two kinds of values are translated
and not refused: NumPy's scalars become Python's, and None stands for a missing key.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from selfreg_gym.errors import TaskContractError, shown

__all__ = ["check_metrics", "complete_info", "read_reset", "read_step", "success_of"]


def read_reset(answer: Any) -> tuple[str, dict[str, Any]]:
    """The observation and info that ``reset`` returned.

    Raises:
        TaskContractError: not a pair of a text and a dict.
    """
    if type(answer) is tuple and len(answer) == 2 and type(answer[0]) is str and type(answer[1]) is dict:
        return answer  # type: ignore[return-value]
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        _broken("reset must return (observation, info)", answer)
    observation, info = answer
    return _text("the observation", observation), _dict(info)


def read_step(answer: Any) -> tuple[str, bool, bool, dict[str, Any]]:
    """Observation, terminated, truncated and info that ``step`` returned; the reward is not used.

    Raises:
        TaskContractError: not five values, or one of the wrong type.
    """
    # This runs at every step. An exact type is right nearly always, and cheap to compare.
    if (type(answer) is not tuple and not isinstance(answer, tuple | list)) or len(answer) != 5:
        _broken("step must return (observation, reward, terminated, truncated, info)", answer)
    observation, _, terminated, truncated, info = answer
    if type(observation) is str and type(terminated) is type(truncated) is bool and type(info) is dict:
        return observation, terminated, truncated, info
    if type(observation) is not str:
        observation = _text("the observation", observation)
    if type(terminated) is not bool:
        terminated = _flag("terminated", terminated)
    if type(truncated) is not bool:
        truncated = _flag("truncated", truncated)
    return observation, terminated, truncated, info if type(info) is dict else _dict(info)


def complete_info(info: dict[str, Any], observation: str) -> None:
    """Check the keys that the package reads, in place, and add ``state_key``, ``task_id`` and ``invalid_action``.

    Raises:
        TaskContractError: a key of the wrong type.
    """
    # The usual info is recognised by a few comparisons of exact types, because this runs at every step.
    try:
        if (
            type(info["state_key"]) is type(info["task_id"]) is str
            and type(info["invalid_action"]) is bool
            and type(info["admissible_actions"]) is tuple
            and ("kind" not in info or type(info["kind"]) is str)
            and ("feature_key" not in info or type(info["feature_key"]) is str)
        ):
            "".join(info["admissible_actions"])  # the fastest check that all of them are text
            if "metrics" in info:
                _optional(info, "metrics", _metrics)
            return
    except (KeyError, TypeError):
        pass
    _complete(info, observation)


def _complete(info: dict[str, Any], observation: str) -> None:
    """:func:`complete_info` for any info."""
    _required(info, observation)
    for key, check in (("kind", _label), ("feature_key", _text), ("metrics", _metrics)):
        if key in info:
            _optional(info, key, check)
    if info.get("admissible_actions") is not None:
        info["admissible_actions"] = _actions(info["admissible_actions"])


def _required(info: dict[str, Any], observation: str) -> None:
    """Check the keys that every info has, and add those that are missing."""
    key, name, invalid = info.get("state_key"), info.get("task_id"), info.get("invalid_action")
    info["state_key"] = observation if key is None else _text("info['state_key']", key)
    info["task_id"] = "" if name is None else _label("info['task_id']", name)
    info["invalid_action"] = False if invalid is None else _flag("info['invalid_action']", invalid)


def _metrics(what: str, value: Any) -> dict[str, float]:
    return check_metrics(value)


def check_metrics(metrics: Any) -> dict[str, float]:
    """The task's metrics as floats; what was not measured (None, NaN, infinity) is NaN.

    Raises:
        TaskContractError: not a dict of numbers.
    """
    rule = "info['metrics'] must be a dict of numbers (None or NaN for what was not measured)"
    if type(metrics) is not dict and not isinstance(metrics, Mapping):
        raise TaskContractError(f"{rule}, received {shown(metrics)}.")
    found = {}
    for name, value in metrics.items():
        if type(value) is float and type(name) is str:  # the usual case; isinstance(value, numbers.Real) is slow
            found[name] = value if math.isfinite(value) else math.nan
            continue
        plain = _plain(value)
        if not isinstance(name, str) or not (plain is None or isinstance(plain, numbers.Real)):
            raise TaskContractError(f"{rule}, received {shown(name)}: {shown(value)}.")
        number = math.nan if plain is None else _float(plain)
        found[name] = number if math.isfinite(number) else math.nan
    return found


def success_of(info: Mapping[str, Any], terminated: bool) -> bool:
    """The outcome that the task reports on its last step; an episode that was cut off without one has failed.

    Raises:
        TaskContractError: the task terminated without an outcome, or the outcome is not a bool.
    """
    success = info.get("success")
    if type(success) is bool:
        return success
    if success is None:
        success = info.get("is_success")
    if success is None and terminated:
        raise TaskContractError(
            "a task must report info['success'] (bool) on its last step; this one terminated without it."
        )
    return False if success is None else _flag("info['success']", success)


def _broken(rule: str, received: Any) -> NoReturn:
    raise TaskContractError(f"a task's {rule}, received {shown(received)} of type {type(received).__name__}.")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value


def _text(what: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise TaskContractError(f"{what} of a task must be a str, received {shown(value)} of type {type(value).__name__}.")


def _label(what: str, value: Any) -> str:
    """A name; a number is one too."""
    plain = _plain(value)
    return str(plain) if isinstance(plain, int) and not isinstance(plain, bool) else _text(what, value)


def _dict(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise TaskContractError(f"a task's info must be a dict, received {shown(value)} of type {type(value).__name__}.")


def _flag(what: str, value: Any) -> bool:
    """A bool, or the number 0 or 1: the truth value of a text, a NaN or a list would be an accident."""
    plain = _plain(value)
    if isinstance(plain, int | float) and plain in (0, 1):
        return bool(plain)
    raise TaskContractError(f"{what} of a task must be a bool, received {shown(value)} of type {type(value).__name__}.")


def _optional(info: dict[str, Any], key: str, check: Any) -> None:
    """Check a key that may be absent; None counts as absent."""
    if info[key] is None:
        del info[key]
    else:
        info[key] = check(f"info[{key!r}]", info[key])


def _actions(actions: Any) -> tuple[str, ...]:
    if isinstance(actions, np.ndarray) and actions.ndim == 1:
        actions = actions.tolist()
    if isinstance(actions, tuple | list) and all(isinstance(action, str) for action in actions):
        return tuple(map(str, actions))
    raise TaskContractError(
        "info['admissible_actions'] of a task must be a tuple of str, or absent where any text may be said; received "
        f"{shown(actions)} of type {type(actions).__name__}."
    )


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf
