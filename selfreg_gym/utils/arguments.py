"""Validation of arguments: numbers, counts, flags, names, task indices, options of ``reset``, common options of tasks.

Each function returns the value in its plain Python type, or raises :class:`selfreg_gym.errors.InvalidArgumentError`
with the rule, the received value and often the expression to write instead. In all of them, ``what`` or ``name`` is the
argument for the message.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError, did_you_mean, shown

__all__ = [
    "LARGEST_INTEGER",
    "check_count",
    "check_flag",
    "check_invalid_action",
    "check_name",
    "check_number",
    "check_numbers",
    "check_options",
    "check_render_mode",
    "check_tasks",
    "chosen_task",
    "is_integer",
    "is_number",
    "task_and_events",
]

LARGEST_INTEGER = 2**63 - 1
"""The largest integer of a store and of an int64 array."""


def is_integer(value: Any) -> bool:
    """Whether a value is an integer of Python or NumPy; bool is not an integer."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite int or float; bool is not a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def check_number(what: str, value: Any, *, low: float = 0.0, high: float = math.inf, above: bool = False) -> float:
    """Return a finite number in ``[low, high]`` (in ``(low, high]`` if ``above``) as a float.

    Text and booleans are invalid, although ``float`` would convert them: ``cost="1"`` or ``cost=True`` is a mistake.
    """
    plain = value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
    is_real = isinstance(plain, numbers.Real) and not isinstance(plain, bool)
    if is_real:
        number = math.inf if isinstance(plain, int) and abs(plain) > 1e308 else float(plain)  # float() would overflow
        if math.isfinite(number) and (number > low if above else number >= low) and number <= high:
            return number
    bounds = f"above {low:g}" if above else f"of at least {low:g}"
    bounds += "" if high == math.inf else f" and at most {high:g}"
    kind = "" if is_real else f" of type {type(value).__name__}"
    positive = above and low == 0 and high == math.inf
    rule = "a positive number (finite)" if positive else f"a finite number {bounds}"
    raise InvalidArgumentError(f"{what} must be {rule}, received {shown(value)}{kind}.")


def check_count(what: str, value: Any, *, low: int = 1, high: int = LARGEST_INTEGER) -> int:
    """Return an integer in ``[low, high]`` as an int; booleans are invalid."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and low <= value <= high:
        return int(value)
    bounds = f"of at least {low}" if high == LARGEST_INTEGER else f"from {low} to {high}"
    received = f"{shown(value)}" + ("" if isinstance(value, int | np.integer) else f" of type {type(value).__name__}")
    raise InvalidArgumentError(f"{what} must be an integer {bounds}, received {received}.")


def check_numbers(what: str, values: Any, *, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Return a non-empty sequence of different numbers in ``[low, high]`` as a list of floats."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        hint = f": write [{values}]" if isinstance(values, numbers.Real) else ""
        raise InvalidArgumentError(f"{what} must be a sequence of numbers, received {shown(values)}{hint}.")
    found = [
        check_number(f"{what} must lie in [{low:g}, {high:g}]: each", value, low=low, high=high) for value in values
    ]
    if not found or len(set(found)) < len(found):
        raise InvalidArgumentError(f"{what} must be different numbers, at least one; received {shown(found)}.")
    return found


def check_tasks(tasks: Any, *, available: int | None = None, what: str = "tasks") -> list[int]:
    """Return a non-empty sequence of different task indices as a list, each below ``available`` if that is not None."""
    if isinstance(tasks, int | np.integer) and not isinstance(tasks, bool):
        raise InvalidArgumentError(
            f"{what} must be a sequence of task indices, received the integer {tasks}: write range({tasks}) for the "
            f"first {tasks} tasks, or [{tasks}] for this one."
        )
    if isinstance(tasks, str | bytes) or not isinstance(tasks, Iterable):
        raise InvalidArgumentError(
            f"{what} must be a sequence of task indices such as range(50), received {shown(tasks)}."
        )
    found = [check_count(f"{what} must be different indices of at least 0: each", task, low=0) for task in tasks]
    if not found or len(set(found)) < len(found):
        raise InvalidArgumentError(
            f"{what} must be different indices of at least 0, at least one; received {shown(found)}."
        )
    if available is not None and max(found) >= available:
        raise InvalidArgumentError(
            f"{what} must be indices from 0 to {available - 1}, because the env has {available} tasks (num_episodes); "
            f"received {max(found)}."
        )
    return found


def check_flag(name: str, value: Any) -> bool:
    """Return a bool (Python's or NumPy's) as a bool; numbers and texts are invalid."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InvalidArgumentError(f"{name} must be True or False, received {shown(value)}.")


def check_name(what: str, value: Any, known: Iterable[str]) -> str:
    """Return one of the known names as a str.

    Args:
        what: what the name is of, for the message: ``"split of SIF"``.
        value: the name that was received; a value that is not a str is unknown.
        known: the names that exist.

    Raises:
        UnknownNameError: another value.
    """
    names = list(known)
    if isinstance(value, str) and value in names:
        return value
    raise UnknownNameError(what, value, names)


def check_invalid_action(value: Any) -> str:
    """Return what a task does with a text that is not an action: ``"terminate"`` or ``"noop"``.

    Raises:
        UnknownNameError: another value.
    """
    return check_name("value of invalid_action", value, ("terminate", "noop"))


def check_render_mode(value: Any, env: Any) -> str | None:
    """Return the render mode of an env: None, or one of ``env.metadata["render_modes"]``.

    Raises:
        UnknownNameError: another value.
    """
    if value is None:
        return None
    return check_name(f"render_mode of {type(env).__name__}", value, env.metadata["render_modes"])


def check_options(
    options: Any, *, available: int | None = None, known: Sequence[str] = ("episode",), strict: bool = False
) -> None:
    """Check the options of ``reset``: a dict whose ``episode`` is an index of a task.

    Other keys are options of the task and pass unchecked, unless they look like a misspelt key of ``known``.

    Args:
        options: the ``options`` of ``reset``, or None.
        available: number of tasks (``num_episodes``), or None if the env does not report it.
        known: the keys that the env reads.
        strict: whether other keys are errors.

    Raises:
        UnknownNameError: a key that is close to one of ``known``, or any other key if ``strict``.
        InvalidArgumentError: not a dict, or an index outside ``0 .. available - 1``.
    """
    if options is None:
        return
    if type(options) is dict and len(options) == 1:  # the usual case, checked quickly
        index = options.get("episode")
        if type(index) is int and index >= 0 and (available is None or index < available):
            return
    if not isinstance(options, Mapping):
        raise InvalidArgumentError(
            f"options of reset must be a dict such as {{'episode': 0}} or None, received {shown(options)}."
        )
    for key in options:
        if key not in known and (strict or did_you_mean(key, known)):
            raise UnknownNameError("option of reset", key, known)
    if options.get("episode") is not None:
        high = LARGEST_INTEGER if available is None else available - 1
        check_count("options['episode'] of reset, the index of a task,", options["episode"], low=0, high=high)


def chosen_task(options: Any, env: Any) -> int:
    """The index of the task with which ``reset`` begins: ``options["episode"]``, or else a random one.

    Args:
        options: the ``options`` of ``reset``, or None; only the key ``episode`` is allowed.
        env: the task, with ``num_episodes``, and with ``np_random`` for the draw.

    Raises:
        UnknownNameError: another key.
        InvalidArgumentError: not a dict, or an index outside ``0 .. num_episodes - 1``.
    """
    check_options(options, available=env.num_episodes, strict=True)
    index = (options or {}).get("episode")
    return int(env.np_random.integers(env.num_episodes) if index is None else index)


def task_and_events(env: Any, options: Any) -> tuple[int, int]:
    """The index of the task of a ``reset``, and the seed of its random events.

    Both are drawn in any case, so the events are the same whether the index is given or drawn.

    Args:
        env: the task, with ``num_episodes``, and with ``np_random`` for the draws.
        options: the ``options`` of ``reset``, or None; only the key ``episode`` is allowed.

    Raises:
        UnknownNameError: another key.
        InvalidArgumentError: not a dict, or an index outside ``0 .. num_episodes - 1``.
    """
    check_options(options, available=env.num_episodes, strict=True)
    drawn, events = int(env.np_random.integers(env.num_episodes)), int(env.np_random.integers(2**31))
    index = (options or {}).get("episode")
    return drawn if index is None else int(index), events
