"""The choice of an intervention: a fixed one, or the one with the largest gain after its cost is taken into account."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.types import Intervention

__all__ = [
    "AsksOne",
    "best_action",
    "check_costs",
    "checked_costs",
    "checked_intervention",
    "deprecated_k",
    "knob_range",
    "number_of",
    "resolve",
]

_MOST = 1000.0
"""Bounds are widened at most by this factor where two costs are nearly equal."""


def checked_intervention(intervention: Any, *, none: bool = False) -> int | str | None:
    """Return a number from 1, a name, or (if ``none``) None.

    Raises:
        InvalidArgumentError: anything else.
    """
    if (none and intervention is None) or (isinstance(intervention, str) and intervention):
        return intervention
    if isinstance(intervention, int | np.integer) and not isinstance(intervention, bool) and intervention >= 1:
        return int(intervention)
    raise InvalidArgumentError(
        f"intervention counts from 1, or is a name{', or None for all' if none else ''}; received {intervention!r}"
        f"{' (0 would be nohelp: use Never)' if isinstance(intervention, int) else ''}."
    )


def deprecated_k(intervention: Any, k: int | None, default: Any) -> Any:
    """Return ``intervention``, or the value of its former name ``k``, or ``default`` if neither is given."""
    if k is None:
        return default if intervention is None else intervention
    if intervention is not None:
        raise InvalidArgumentError(
            f"k is the former name of intervention: give one of them, received k={k!r} and "
            f"intervention={intervention!r}."
        )
    warnings.warn("k= is deprecated: write intervention=.", DeprecationWarning, stacklevel=3)
    return k


def resolve(helper: Any, intervention: int | str, interventions: Sequence[Intervention]) -> int:
    """The action (1 to K) that asks ``intervention``.

    Raises:
        UnknownNameError: no intervention of the env has this name.
        InvalidArgumentError: the env has fewer interventions.
    """
    names = [one.name for one in interventions]
    if isinstance(intervention, str):
        if intervention not in names:
            raise UnknownNameError(f"intervention of {type(helper).__name__}", intervention, names)
        return names.index(intervention) + 1
    if intervention > len(names):
        raise InvalidArgumentError(
            f"{type(helper).__name__} asks intervention {intervention}, and this env has {len(names)}: "
            f"{', '.join(names) or 'none'}."
        )
    return intervention


def number_of(helper: Any, intervention: int | str) -> int:
    """Return the number of the intervention that a helper asks.

    Raises:
        InvalidArgumentError: it is named, and the interventions of the env are not known yet.
    """
    if isinstance(intervention, str):
        raise InvalidArgumentError(
            f"{type(helper).__name__} asks {intervention!r}: call for_interventions(env.unwrapped.interventions) first "
            "(play does it), or give its number."
        )
    return intervention


class AsksOne:
    """A helper that decides when to ask, and always asks the same ``intervention`` (a number from 1, or a name)."""

    asks_one = True  # a run compares it once for each intervention
    intervention: int | str

    def for_interventions(self, interventions: Sequence[Intervention]) -> Self:
        """The helper for an env with these interventions (:class:`selfreg_gym.types.HelperPolicy`)."""
        action = resolve(self, self.intervention, interventions)
        if action == self.intervention:
            return self
        bound = copy.copy(self)
        bound.intervention = action
        return bound

    @property
    def action(self) -> int:
        """The action that asks it.

        Raises:
            InvalidArgumentError: it is named, and the interventions of the env are not known yet.
        """
        return number_of(self, self.intervention)


def best_action(gain: NDArray[Any], knob: float, costs: Sequence[float]) -> NDArray[np.int64]:
    """Choose ``argmax over k of gain_k + knob * cost_k``, where nohelp (0) has gain 0 and cost 0; ties are nohelp.

    This is the Lagrangian of a budget on cost units with multiplier -knob. Since the chosen cost does not fall when
    the knob rises, whatever the gains, usage can be moved from never asking to always asking the most expensive
    intervention.

    Args:
        gain: ``(N, K)`` how much better each intervention is than nohelp.
        knob: in units of gain per cost unit.
        costs: ``(K,)`` cost units of a call.

    Returns:
        ``(N,)`` actions from 0 to K.
    """
    if not len(gain):
        return np.zeros(0, dtype=np.int64)
    moved = np.asarray(gain, dtype=np.float64) + knob * np.asarray(costs, dtype=np.float64)
    return np.where(moved.max(axis=1) > 0, moved.argmax(axis=1) + 1, 0).astype(np.int64)


def knob_range(bounds: tuple[float, float], step: float, costs: Sequence[float]) -> tuple[tuple[float, float], float]:
    """Bounds and step of a knob per cost unit, from those of an offset on a gain.

    At the lower bound every gain falls by at least ``-bounds[0]``; at the upper one the most expensive intervention
    gains at least ``bounds[1]`` over every cheaper one. With one intervention at cost 1 they are returned unchanged.
    """
    cheapest, most = min(costs), max(costs)
    lower = [0.0, *(cost for cost in costs if cost < most * (1 - 1e-6))]
    gap = max(most - max(lower), cheapest / _MOST)
    return (bounds[0] / cheapest, bounds[1] / min(gap, cheapest)), step / cheapest


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
            f"costs are the cost units of a call, one positive number for each of K = {interventions} interventions; "
            f"received {costs!r}."
        )
    return values


def check_costs(helper: Any, count: int, costs: Sequence[float] | None, interventions: Sequence[Intervention]) -> None:
    """Compare the interventions that a helper was trained for with those of an env.

    Args:
        helper: named in the error.
        count: K in its training.
        costs: ``(K,)`` in its training, or None where they are not known.
        interventions: of the env.

    Raises:
        InvalidArgumentError: their number or their costs differ.
    """
    there = [one.cost for one in interventions]
    same = len(there) == count and (costs is None or np.allclose(there, costs, rtol=1e-6, atol=0.0))
    if not same:
        trained = f"{count} intervention(s)" + (
            "" if costs is None else f" with costs {', '.join(f'{cost:g}' for cost in costs)}"
        )
        asked = ", ".join(f"{one.name} (cost {one.cost:g})" for one in interventions) or "none"
        raise InvalidArgumentError(
            f"{type(helper).__name__} was trained for {trained}, and this env has {len(there)}: {asked}. Train it "
            "for these interventions, or play it in an env with those of its training."
        )
