"""Validation of arguments that several helpers have: an intervention, costs, a seed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs import TASK_INPUTS
from selfreg_gym.intervention_env.building import check_seed

__all__ = [
    "checked_costs",
    "checked_intervention",
    "checked_seed",
    "deprecated_k",
    "known_on_new_tasks",
    "without_task",
]


def known_on_new_tasks(inputs: Sequence[str]) -> tuple[str, ...]:
    """Return those of the inputs that do not name the task."""
    return tuple(name for name in inputs if name not in TASK_INPUTS)


def without_task(inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the inputs of a deployed helper.

    Raises:
        InvalidArgumentError: one of them names the task.
    """
    if named := [name for name in inputs if name in TASK_INPUTS]:
        raise InvalidArgumentError(
            f"a deployed helper must not read {', '.join(named)}, which names the task and is unknown on new tasks: "
            "leave it out, and give it to the teacher."
        )
    return tuple(inputs)


def checked_intervention(intervention: Any) -> int | str:
    """Return a number from 1, or a name.

    Raises:
        InvalidArgumentError: anything else.
    """
    if isinstance(intervention, str) and intervention:
        return intervention
    if isinstance(intervention, int | np.integer) and not isinstance(intervention, bool) and intervention >= 1:
        return int(intervention)
    raise InvalidArgumentError(
        f"intervention must be a number from 1 or a name; received {intervention!r}"
        f"{' (0 would be nohelp: use Never)' if isinstance(intervention, int) else ''}."
    )


def deprecated_k(intervention: Any, k: int | None, default: Any) -> Any:
    """Return ``intervention``, or the value of its deprecated name ``k``, or ``default`` if neither is given.

    Raises:
        InvalidArgumentError: both are given.

    Warns:
        DeprecationWarning: ``k`` is given.
    """
    if k is None:
        return default if intervention is None else intervention
    if intervention is not None:
        raise InvalidArgumentError(
            f"k is the former name of intervention: pass only one of them; received k={k!r} and "
            f"intervention={intervention!r}."
        )
    warnings.warn("k= is deprecated: write intervention=.", DeprecationWarning, stacklevel=3)
    return k


def checked_costs(costs: Sequence[float], interventions: int) -> tuple[float, ...]:
    """Return K positive costs.

    Raises:
        InvalidArgumentError: another number of costs, or one that is not a positive number.
    """
    try:
        values = tuple(float(cost) for cost in costs)
    except (TypeError, ValueError):
        values = ()
    if len(values) != interventions or not all(np.isfinite(cost) and cost > 0 for cost in values):
        raise InvalidArgumentError(
            f"costs must be one positive number of cost units per call for each of K = {interventions} interventions; "
            f"received {costs!r}."
        )
    return values


def checked_seed(seed: Any) -> int:
    """Return the seed of a helper's draws: an integer of at least 0.

    Raises:
        InvalidArgumentError: anything else.
    """
    value = check_seed(seed)
    if value is None:
        raise InvalidArgumentError("the seed of a helper's draws must be an integer of at least 0, received None.")
    return value
