"""``RandomHelp``: random help at a step, its draw and the probability of each action.

With total probability p of help and shares ``w_k`` of the K interventions, which sum to 1, the actions are drawn with
the probabilities

    P(nohelp) = 1 - p,    P(help k) = p w_k.

With a probability q of abort, these are multiplied by 1 - q, and P(abort) = q.

Where some actions are not allowed (``action_masks()`` of a wrapper), their probability goes to nohelp if nohelp is
allowed, otherwise to the first allowed action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.utils.arguments import check_number, is_number

__all__ = ["RandomHelp", "checked_abort", "checked_shares"]

SUM_ERROR = 1e-6


@dataclass(frozen=True, slots=True)
class RandomHelp:
    """Random help from K interventions.

    Attributes:
        interventions: K.
        shares: ``(K,)`` the share of each intervention among the calls; None: equal shares.
        abort: whether the env has the action K + 1.
        abort_probability: q, the probability that this action is drawn at a step.
    """

    interventions: int
    shares: tuple[float, ...] | None = None
    abort: bool = False
    abort_probability: float = 0.0

    def propensities(self, p: float, allowed: Sequence[bool] | None = None) -> tuple[float, ...]:
        """``(A,)`` probabilities of the actions, rounded to float32 as they are stored.

        Args:
            p: total probability of help, in [0, 1].
            allowed: ``(A,)`` True where an action is allowed; None: everywhere.
        """
        if allowed is not None and all(allowed):
            allowed = None
        return _propensities(self, p, None if allowed is None else tuple(map(bool, allowed)))

    def draw(
        self, p: float, whether: float, whom: float, allowed: Sequence[bool] | None = None, stops: float = 1.0
    ) -> int:
        """The action that three uniform random numbers in [0, 1) determine.

        Args:
            p: total probability of help, in [0, 1].
            whether: the number that decides whether to ask for help: if it is below ``p``.
            whom: the number that chooses the intervention.
            allowed: ``(A,)`` True where an action is allowed; None: everywhere.
            stops: the number that decides whether to abort: if it is below ``abort_probability``.
        """
        k = self.interventions
        action = 0
        if stops < self.abort_probability:
            action = k + 1
        elif k and whether < p:
            if self.shares is None:
                action = 1 + int(whom * k)
            else:
                edges = list(accumulate(self.shares))
                reached = (n for n, edge in enumerate(edges, 1) if whom < edge and self.shares[n - 1] > 0)
                action = next(reached, 1 + max(n for n, share in enumerate(self.shares) if share > 0))
        return action if allowed is None or allowed[action] else _instead(allowed)


@lru_cache(maxsize=4096)
def _propensities(help: RandomHelp, p: float, allowed: tuple[bool, ...] | None) -> tuple[float, ...]:
    k = help.interventions
    p = p if k else 0.0
    shares = help.shares or (1 / max(k, 1),) * k
    q = help.abort_probability
    chances = [(1.0 - q) * chance for chance in (1.0 - p, *(p * share for share in shares))] + [q] * help.abort
    if allowed is not None:
        place = _instead(allowed)
        for action, allows in enumerate(allowed):
            if not allows:
                moved, chances[action] = chances[action], 0.0
                chances[place] += moved
    return tuple(np.array(chances, np.float32).tolist())


def _instead(allowed: Sequence[bool]) -> int:
    """The first allowed action, which is nohelp wherever it is allowed."""
    return next(action for action, allows in enumerate(allowed) if allows)


def checked_shares(shares: Any, interventions: int | None = None) -> tuple[float, ...] | None:
    """Return the shares as floats, and None for equal shares.

    Args:
        shares: ``(K,)`` numbers in [0, 1] that sum to 1, in the order of the interventions; None: equal shares.
        interventions: K, if it is known.

    Raises:
        InvalidArgumentError: other numbers, another sum, or another number of them than K.
    """
    if shares is None:
        return None
    rule = "help_shares must have one number in [0, 1] per intervention, with the sum 1"
    is_list = isinstance(shares, Sequence | np.ndarray) and not isinstance(shares, str | bytes)
    values = [float(share) if is_number(share) else np.nan for share in shares] if is_list else []
    if not values or not all(0 <= share <= 1 for share in values) or abs(sum(values) - 1) > SUM_ERROR:
        raise InvalidArgumentError(f"{rule}, received {shown(shares)}.")
    if interventions is not None and len(values) != interventions:
        raise InvalidArgumentError(
            f"{rule}: there are {interventions} interventions, received {len(values)} shares {shown(shares)}."
        )
    return None if len(set(values)) == 1 else tuple(values)


def checked_abort(probability: Any, *, abort: bool) -> float:
    """Return the probability of a random abort as a float.

    Raises:
        InvalidArgumentError: not a number in [0, 1), or above 0 although the env has no action that aborts.
    """
    found = check_number("abort_probability", probability, high=1.0)
    if found == 1.0 or (found and not abort):
        raise InvalidArgumentError(
            f"abort_probability must be below 1, and 0 without abort=True of the env; received {found:g}."
        )
    return found
