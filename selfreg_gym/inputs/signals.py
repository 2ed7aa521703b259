"""The input ``actor``: the actor's distribution over the admissible actions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.inputs.blocks import Scale
from selfreg_gym.inputs.table import DecisionTable

__all__ = ["ActorSignals"]


class ActorSignals:
    """``actor``: the actor's distribution over the admissible actions, in standardised numbers.

    The numbers are the largest probability, its margin over the second largest, the entropy (nats), and the probability
    of each kind of action. A decision without log-probabilities has zeros, the means of the standardised numbers.
    """

    name: ClassVar[str] = "actor"

    def __init__(self, kinds: Sequence[str], scale: Scale) -> None:
        self.kinds, self._scale = tuple(kinds), scale

    @classmethod
    def fit(cls, table: DecisionTable, kinds: Sequence[str]) -> ActorSignals:
        """Find the scale of the numbers in the table.

        Args:
            table: the decisions.
            kinds: prefixes of action texts; an action belongs to the first one that it starts with.

        Raises:
            InvalidArgumentError: some decisions have no log-probabilities.
        """
        missing = sum(one is None for one in table.actor_logprobs or [None] * len(table))
        if missing:
            raise InvalidArgumentError(
                f"the input 'actor' needs the actor's log-probabilities at every decision, and {missing} of "
                f"{len(table)} have none: collect with ask_actor_always=True (collect.ask_actor_always in a config) "
                "and an actor that gives log-probabilities, or leave the input out."
            )
        return cls(kinds, Scale.of(_actor_numbers(table, tuple(kinds))))

    @property
    def width(self) -> int:
        """Three numbers, and one per kind."""
        return 3 + len(self.kinds)

    def encode(self, table: DecisionTable) -> np.ndarray:
        """The standardised numbers.

        Raises:
            InvalidArgumentError: the table has no log-probabilities.
        """
        if table.actor_logprobs is None:
            raise InvalidArgumentError(
                "the input 'actor' needs the actor's log-probabilities, and these decisions have none: collect with "
                "ask_actor_always=True, or pass the acts of env.actor_acts()."
            )
        known = np.array([one is not None for one in table.actor_logprobs])
        return np.where(known[:, None], self._scale(_actor_numbers(table, self.kinds)), np.float32(0.0))

    def record(self) -> dict[str, Any]:
        """The kinds of actions."""
        return {"kinds": list(self.kinds)}

    def arrays(self) -> dict[str, np.ndarray]:
        """The scale."""
        return self._scale.arrays()

    @classmethod
    def restored(cls, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ActorSignals:
        """The block with these constants."""
        return cls(record["kinds"], Scale.restored(arrays))


def _actor_numbers(table: DecisionTable, kinds: tuple[str, ...]) -> np.ndarray:
    """The numbers before standardisation, float64 ``(n, 3 + kinds)``; zeros where there are no log-probabilities."""
    found = np.zeros((len(table), 3 + len(kinds)))
    assert table.actor_logprobs is not None
    actions = table.admissible_actions
    codes = [-1] * len(table) if actions is None else actions.codes.tolist()
    kind_of: dict[int, np.ndarray] = {}
    for row, logprobs, code in zip(found, table.actor_logprobs, codes, strict=True):
        if logprobs is None or not len(logprobs):
            continue
        highest = float(logprobs.max())
        if not np.isfinite(highest):  # NaN, or no action is possible
            raise InvalidArgumentError(
                "log-probabilities of an actor must be numbers, at least one of them finite, received "
                f"{shown(logprobs.tolist())}: correct the actor."
            )
        p = np.exp(logprobs.astype(np.float64) - highest)
        p /= p.sum()
        ordered = np.sort(p)
        row[0] = ordered[-1]
        row[1] = ordered[-1] - (ordered[-2] if len(p) > 1 else 0.0)
        row[2] = -(p * np.log(np.maximum(p, 1e-12))).sum()
        if kinds and code >= 0 and actions is not None:
            if code not in kind_of:
                kind_of[code] = _kinds(json.loads(actions.values[code]), kinds)
            if len(kind_of[code]) != len(p):
                raise InvalidArgumentError(
                    f"log-probabilities of an actor must be one per admissible action, received {len(p)} for "
                    f"{len(kind_of[code])} actions: correct the actor."
                )
            row[3:] = np.bincount(kind_of[code], weights=p, minlength=len(kinds) + 1)[:-1]
    return found


def _kinds(actions: Sequence[str], kinds: tuple[str, ...]) -> np.ndarray:
    """The index of the kind of each action; ``len(kinds)`` for an action of no kind."""
    return np.array([next((k for k, one in enumerate(kinds) if a.startswith(one)), len(kinds)) for a in actions])
