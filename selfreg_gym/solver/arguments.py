"""Validation of the solvers' numeric arguments, without silent conversion."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, ModelError, UnknownNameError, shown
from selfreg_gym.transitions import TransitionModel

__all__ = [
    "check_choice",
    "check_costs",
    "check_model",
    "checked_number",
    "checked_numbers",
    "checked_whole",
    "positive_costs",
]

SMALLEST_COST, LARGEST_RATIO = 1e-300, 1e15
"""Limits on the costs of one model, because float64 has 16 digits."""


def checked_number(what: str, value: Any, *, finite: bool = False) -> float:
    """Return ``value`` as a float.

    Raises:
        InvalidArgumentError: not a single number (text, a bool, a list), NaN, negative, or not ``finite``.
    """
    array = _numeric(value)
    if array is None or array.ndim or not array >= 0 or (finite and not np.isfinite(array)):
        raise InvalidArgumentError(
            f"{what} must be a {'finite ' if finite else ''}number >= 0, received {shown(value)}."
        )
    return float(array)


def checked_numbers(what: str, value: Any, shape: tuple[int, ...], *, high: float = np.inf, finite: bool) -> np.ndarray:
    """Return ``value`` as a float64 array of this shape, with entries between 0 and ``high``.

    Raises:
        InvalidArgumentError: another shape or type, or an entry out of range.
    """
    array = _numeric(value)
    limit = f" from 0 to {high:g}" if np.isfinite(high) else " >= 0"
    rule = f"{what} must have {'finite ' if finite else ''}numbers{limit}, in an array of shape {shape}"
    if array is None:
        raise InvalidArgumentError(f"{rule}, received {shown(value)}.")
    if array.shape != shape:
        raise InvalidArgumentError(f"{rule}, received shape {array.shape}.")
    bad = ~((array >= 0) & (array <= high))
    if finite:
        bad |= ~np.isfinite(array)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InvalidArgumentError(f"{rule}, received {float(array[at])!r} at {at}.")
    return array


def checked_whole(what: str, value: Any) -> int:
    """Return ``value`` as an int.

    Raises:
        InvalidArgumentError: not a single integer, or negative.
    """
    array = _numeric(value)
    if array is None or array.ndim or not np.isfinite(array) or float(array) != int(array) or array < 0:
        raise InvalidArgumentError(f"{what} must be an integer >= 0, received {shown(value)}.")
    return int(array)


def check_model(model: Any) -> None:
    """Raise InvalidArgumentError unless ``model`` is a transition model."""
    if not isinstance(model, TransitionModel):
        raise InvalidArgumentError(
            f"a solver needs a TransitionModel (TransitionModel(P, success, start), .fit or .load), received "
            f"{type(model).__name__}."
        )


def check_costs(model: TransitionModel) -> None:
    """Check that the costs of a model's interventions can be added in float64.

    Raises:
        ModelError: a cost above 0 and below 1e-300, or a ratio of two costs above 1e15: a sum with the largest would
            round the smallest away, and a budget could not be met.
    """
    costs = positive_costs(model)
    if not len(costs):
        return
    least, most = float(costs.min()), float(costs.max())
    if least < SMALLEST_COST:
        raise ModelError(
            f"a budget needs costs of 0 or of at least {SMALLEST_COST:g} cost units per call, received {least:g}. "
            "Choose a smaller cost unit, or set this cost to 0."
        )
    if most / least > LARGEST_RATIO:
        raise ModelError(
            f"a budget needs costs of which the largest is at most {LARGEST_RATIO:g} times the smallest (above 0), "
            f"received costs from {least:g} to {most:g} cost units per call. Set the smallest to 0, or leave out the "
            "intervention with the largest."
        )


def positive_costs(model: TransitionModel) -> np.ndarray:
    """Return the costs above 0 of all available interventions, in one dimension."""
    return model.cost[1:][model.available[1:] & (model.cost[1:] > 0)]


def check_choice(what: str, received: Any, choices: tuple[str, ...]) -> None:
    """Raise UnknownNameError unless ``received`` is one of the choices."""
    if not isinstance(received, str) or received not in choices:
        raise UnknownNameError(what, received, choices)


def _numeric(value: Any) -> np.ndarray | None:
    """Return ``value`` as float64, or None if it has other types than real numbers or ragged lists."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None
