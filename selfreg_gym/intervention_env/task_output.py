"""Validation of the return values of a text task's ``reset`` and ``step``.

A value that the contract (:class:`selfreg_gym.types.TextTask`) does not allow raises ``TaskContractError`` here, where
the task is known, and not later in the store or in an array. Two kinds of values are converted: NumPy scalars become
Python's, and a key with the value None counts as missing.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from selfreg_gym.errors import TaskContractError, shown
from selfreg_gym.utils.arguments import LARGEST_INTEGER, is_integer

__all__ = ["checked_flag", "complete_info", "read_reset", "read_step", "success_of"]


def read_reset(returned: Any) -> tuple[str, dict[str, Any]]:
    """Observation and info from the return value of ``reset``, a pair of a text and a dict."""
    if type(returned) is tuple and len(returned) == 2 and type(returned[0]) is str and type(returned[1]) is dict:
        return returned  # type: ignore[return-value]
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        _broken("a task's reset must return (observation, info)", returned)
    observation, info = returned
    return _text("the observation", observation), _dict(info)


def read_step(returned: Any) -> tuple[str, bool, bool, dict[str, Any]]:
    """Observation, terminated, truncated and info from the return value of ``step``; the task's reward is not used."""
    # This runs at every step: exact types, the usual case, are compared first.
    if (type(returned) is not tuple and not isinstance(returned, tuple | list)) or len(returned) != 5:
        _broken("a task's step must return (observation, reward, terminated, truncated, info)", returned)
    observation, _, terminated, truncated, info = returned
    if type(observation) is str and type(terminated) is type(truncated) is bool and type(info) is dict:
        return observation, terminated, truncated, info
    flags = checked_flag("terminated", terminated), checked_flag("truncated", truncated)
    return _text("the observation", observation), *flags, _dict(info)


def complete_info(info: dict[str, Any], observation: str) -> None:
    """Check the keys that the package reads, in place, and add ``state_key``, ``task_id`` and ``invalid_action``."""
    # This runs at every step: the usual info is recognised by comparisons of exact types.
    try:
        if (
            type(info["state_key"]) is type(info["task_id"]) is str
            and type(info["invalid_action"]) is bool
            and type(info["admissible_actions"]) is tuple
            and ("kind" not in info or type(info["kind"]) is str)
            and ("feature_key" not in info or type(info["feature_key"]) is str)
        ):
            "".join(info["admissible_actions"])  # the fastest check that all are str
            if "feature_vector" in info:
                _optional(info, "feature_vector", _vector)
            if "metrics" in info:
                _optional(info, "metrics", _metrics)
            return
    except (KeyError, TypeError):
        pass
    key, name, invalid = info.get("state_key"), info.get("task_id"), info.get("invalid_action")
    info["state_key"] = observation if key is None else _text("info['state_key']", key)
    info["task_id"] = "" if name is None else _label("info['task_id']", name)
    info["invalid_action"] = False if invalid is None else checked_flag("info['invalid_action']", invalid)
    checks = (("kind", _label), ("feature_key", _text), ("feature_vector", _vector), ("metrics", _metrics))
    for key, check in checks:
        if key in info:
            _optional(info, key, check)
    if info.get("admissible_actions") is not None:
        info["admissible_actions"] = _actions(info["admissible_actions"])


def _metrics(what: str, metrics: Any) -> dict[str, float]:
    """The task's metrics as floats; values that were not measured (None, NaN, infinity) are NaN."""
    rule = f"{what} must be a dict of numbers (None or NaN: not measured)"
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
        try:
            number = math.nan if plain is None else float(plain)
        except OverflowError:  # an integer of more than 308 digits
            number = math.nan
        found[name] = number if math.isfinite(number) else math.nan
    return found


def _vector(what: str, vector: Any) -> np.ndarray:
    """The vector as float32 ``(d,)``."""
    if type(vector) is np.ndarray and vector.dtype == np.float32 and vector.ndim == 1 and np.isfinite(vector).all():
        return vector
    rule = f"{what} of a task must be a float32 array (d,) of finite numbers"
    try:
        found = np.asarray(vector)
    except ValueError:  # nested lists of different lengths
        _broken(rule, vector)
    if found.ndim != 1 or found.dtype.kind not in "fiub":
        _broken(rule, vector)
    with np.errstate(over="ignore"):
        plain = found.astype(np.float32)
    if not np.isfinite(plain).all():
        _broken(rule, vector)
    return plain


def success_of(info: Mapping[str, Any], terminated: bool) -> bool:
    """The success that the task must report where it terminates; without one, a truncated episode has failed."""
    success = info.get("success")
    if type(success) is bool:
        return success
    if success is None:
        success = info.get("is_success")
    if success is None and terminated:
        raise TaskContractError(
            "a task must report info['success'] (bool) on its last step, but it terminated without it."
        )
    return False if success is None else checked_flag("info['success']", success)


def _broken(rule: str, received: Any) -> NoReturn:
    raise TaskContractError(f"{rule}, received {shown(received)} of type {type(received).__name__}.")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value


def _text(what: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    _broken(f"{what} of a task must be a str", value)


def _label(what: str, value: Any) -> str:
    """A name: a text or an integer."""
    plain = _plain(value)
    return str(plain) if isinstance(plain, int) and not isinstance(plain, bool) else _text(what, value)


def _dict(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return value if type(value) is dict else dict(value)
    _broken("a task's info must be a dict", value)


def checked_flag(what: str, value: Any) -> bool:
    """A bool, or the number 0 or 1; the truth value of a text, a NaN or a list would be a mistake."""
    plain = _plain(value)
    if isinstance(plain, int | float) and plain in (0, 1):
        return bool(plain)
    _broken(f"{what} of a task must be a bool", value)


def _optional(info: dict[str, Any], key: str, check: Any) -> None:
    """Check an optional key; the value None counts as absent."""
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
        "info['admissible_actions'] of a task must be a tuple of str, or absent if any text is admissible; received "
        f"{shown(actions)} of type {type(actions).__name__}."
    )


def count_steps_left(info: dict[str, Any], own: int | None) -> None:
    """Limit ``info["steps_left"]`` by the env's own count; remove the key if neither task nor env counts steps.

    Args:
        info: the task's info, which is changed.
        own: steps until ``max_episode_steps`` of the env; None: the env has no limit.

    Raises:
        TaskContractError: the task's value is not an integer of at least 0.
    """
    left = info.get("steps_left")
    if left is not None and not (is_integer(left) and 0 <= left <= LARGEST_INTEGER):
        raise TaskContractError(
            f"info['steps_left'] must be an integer of at least 0 or absent, received {shown(left)} from the task."
        )
    if own is not None:
        info["steps_left"] = own if left is None else min(int(left), own)
    elif left is None:
        del info["steps_left"]
    else:
        info["steps_left"] = int(left)
