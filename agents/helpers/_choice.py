"""The choice of an intervention: a fixed one, or the one with the largest gain_k + knob * cost_k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_intervention
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.helper import Helper
from selfreg_gym.types import Intervention

__all__ = ["AsksOne", "best_action", "check_costs", "knob_range", "number_of", "resolve"]

_WIDEST = 1000.0
"""Where two costs are nearly equal, the upper bound of a knob grows by at most this factor."""


def resolve(helper: Helper, intervention: int | str, interventions: Sequence[Intervention]) -> int:
    """The action (1 to K) that asks ``intervention``.

    Raises:
        UnknownNameError: no intervention of the env has this name.
        InvalidArgumentError: the env has fewer interventions.
    """
    names = [one.name for one in interventions]
    if isinstance(intervention, str):
        if intervention not in names:
            raise UnknownNameError(f"intervention of {helper.type_name}", intervention, names)
        return names.index(intervention) + 1
    if intervention > len(names):
        raise InvalidArgumentError(
            f"{helper.type_name} asks intervention {intervention}, and this env has {len(names)}: "
            f"{', '.join(names) or 'none'}."
        )
    return intervention


def number_of(helper: Helper, intervention: int | str) -> int:
    """The action that asks ``intervention``, which must be a number.

    Raises:
        InvalidArgumentError: it is a name, and the interventions of the env are not known yet.
    """
    if isinstance(intervention, str):
        raise InvalidArgumentError(
            f"{helper.type_name} asks {intervention!r}: call for_interventions(env.unwrapped.interventions) first "
            "(run_episodes does it), or give its number."
        )
    return intervention


class AsksOne(Helper):
    """A helper that decides when to ask, and always asks the same ``intervention``.

    Args:
        intervention: a number from 1, or a name.

    Raises:
        InvalidArgumentError: ``intervention`` is neither.
    """

    asks_one = True
    intervention: int | str

    def __init__(self, intervention: int | str = 1) -> None:
        self.intervention = checked_intervention(intervention)

    def for_interventions(self, interventions: Sequence[Intervention]) -> Self:
        """The helper with the name of its intervention replaced by the number.

        Raises:
            UnknownNameError: no intervention of the env has this name.
            InvalidArgumentError: the env has fewer interventions.
        """
        action = resolve(self, self.intervention, interventions)
        return self if action == self.intervention else self._replaced(intervention=action)

    def ask_where(self, asks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """``(N,)`` actions: its intervention where ``asks`` is true, otherwise nohelp.

        Raises:
            InvalidArgumentError: the intervention is a name, and the interventions of the env are not known yet.
        """
        return np.where(asks, number_of(self, self.intervention), 0)


def best_action(gain: NDArray[np.float64], knob: float, costs: Sequence[float]) -> NDArray[np.int64]:
    """Choose ``argmax over k of gain_k + knob * cost_k``, where nohelp (0) has gain 0 and cost 0; ties are nohelp.

    This is the Lagrangian of a budget on cost units with multiplier -knob. For any gains, the chosen cost does not fall
    when the knob rises, so the knob changes usage from never asking to always asking the most expensive intervention.

    Args:
        gain: ``(N, K)`` gain of each intervention over nohelp.
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
    """Bounds and step of a knob in units of gain per cost unit.

    At the lower bound every gain falls by at least ``-bounds[0]``. At the upper bound the most expensive intervention
    gains at least ``bounds[1]`` over every cheaper one. With one intervention at cost 1 the arguments are returned
    unchanged.

    Args:
        bounds, step: those of an offset that is added to the gain.
        costs: ``(K,)`` cost units of a call.
    """
    cheapest, most = min(costs), max(costs)
    lower = [0.0, *(cost for cost in costs if cost < most * (1 - 1e-6))]
    gap = max(most - max(lower), cheapest / _WIDEST)
    return (bounds[0] / cheapest, bounds[1] / min(gap, cheapest)), step / cheapest


def check_costs(
    helper: Helper, count: int, costs: Sequence[float] | None, interventions: Sequence[Intervention]
) -> None:
    """Compare the interventions that a helper was trained for with those of an env.

    Args:
        helper: the helper, for the error message.
        count: K in its training.
        costs: ``(K,)`` in its training; None if they are not known.
        interventions: of the env.

    Raises:
        InvalidArgumentError: their number or their costs differ.
    """
    found = [one.cost for one in interventions]
    if len(found) == count and (costs is None or np.allclose(found, costs, rtol=1e-6, atol=0.0)):
        return
    trained = f"{count} intervention(s)" + (
        "" if costs is None else f" with costs {', '.join(f'{cost:g}' for cost in costs)}"
    )
    received = ", ".join(f"{one.name} (cost {one.cost:g})" for one in interventions) or "none"
    raise InvalidArgumentError(
        f"{helper.type_name} was trained for {trained}, and this env has {len(found)}: {received}. Train it "
        "for these interventions, or use it in an env with those of its training."
    )
