"""The intervention that helpers with gains ask at the upper end of their knob, where they always ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.fitted.priced import PricedFrontier
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.utils.model_record import Rule

__all__ = ["ALWAYS", "always_asked"]

ALWAYS = Rule(
    "null, or the number of an intervention",
    lambda always, fields: always is None or (type(always) is int and 0 < always <= len(fields["costs"])),
)
"""The rule of the field ``always`` in the records of helpers; null in records of earlier versions."""


def always_asked(teacher: Any, costs: Sequence[float], cap: int | None = None) -> int:
    """The intervention, from 1 to K, that a helper always asks at the upper end of its knob.

    It occurs in the rollouts, because nothing is known about the others. Usage must not fall when the knob rises, so
    always asking it must cost at least the usage at the smallest price. Of the interventions with both properties,
    the one with the largest held-out success is chosen. If no intervention has both properties, or if the teacher has
    no held-out estimates, the most expensive one that occurs is chosen, the first of several.

    Args:
        teacher: a frontier with prices, a transition model, or another teacher, of which all interventions count as
            known.
        costs: ``(K,)`` cost units of a call.
        cap: a hard cap of the frontier's values; None: the largest.
    """
    known = _known(teacher, len(costs))
    if isinstance(teacher, PricedFrontier):
        e = teacher.estimates_under(teacher.checked_cap(cap))
        success, usage = e.success[e.never + 1 :], e.usage[e.never + 1 :]
        candidates = known & (usage >= e.usage[0])
        if candidates.any():
            return 1 + int(np.where(candidates, success, -1.0).argmax())
    return 1 + int(np.where(known, costs, -1.0).argmax())


def _known(teacher: Any, interventions: int) -> NDArray[np.bool_]:
    """``(K,)`` whether each intervention occurs in the rollouts; all are True if none occurs."""
    known: NDArray[np.bool_]
    if isinstance(teacher, PricedFrontier):
        known = teacher.tried
    elif isinstance(teacher, TransitionModel):
        known = np.asarray(teacher.available[1:].any(axis=1))
    else:
        known = np.ones(interventions, bool)
    return known if known.any() else np.ones(interventions, bool)
