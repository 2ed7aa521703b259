"""State recurrence: how often collected states are visited again, which tabular policies need.

A state that was visited once, with one action, carries no information about the other actions. With random tasks nearly
all observations are unique; a fixed set of tasks, many episodes of each and a canonical state key make states recur.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.store.rollouts import Coded, Rollouts

__all__ = ["Recurrence", "recurrence"]

_KINDS = ("state_key", "feature_key", "observation")


class Recurrence(NamedTuple):
    """Recurrence of the states under one kind of key.

    Attributes:
        states: number of distinct states.
        transitions: number of transitions with this key.
        visits_per_pair: transitions per (state, action) pair that occurs.
        once_seen_share: share of the transitions whose state was visited only once (Good 1953: an estimate of the
            probability that the next visit is to a new state).
        known_share: share of the transitions in states where *every* action has ``min_visits``, so that the effect of
            help can be estimated.
    """

    states: int
    transitions: int
    visits_per_pair: float
    once_seen_share: float
    known_share: float


def recurrence(rollouts: Rollouts, *, min_visits: int = 3, **where: Any) -> dict[str, Recurrence]:
    """Measure the recurrence of states for each of ``state_key, feature_key, observation`` that the store has.

    Args:
        rollouts: the store.
        min_visits: visits from which a (state, action) pair counts as known.
        **where: filters of episodes, as in :meth:`Rollouts.episodes`.
    """
    columns = rollouts.columns("action", *_KINDS, decisions=True, **where)
    action = columns["action"]
    assert isinstance(action, np.ndarray)
    report = {}
    for kind in _KINDS:
        column = columns[kind]
        assert isinstance(column, Coded)
        has = column.codes >= 0
        if has.any():
            report[kind] = _recurrence(column.codes[has], action[has], int(action.max()) + 1, min_visits)
    return report


def _recurrence(state: np.ndarray, action: np.ndarray, actions: int, min_visits: int) -> Recurrence:
    """The recurrence of n transitions: ``state`` (n,) codes, ``action`` (n,)."""
    counts = np.zeros((int(state.max()) + 1, actions), np.int64)
    np.add.at(counts, (state, action), 1)
    visits = counts.sum(axis=1)
    n = len(state)
    return Recurrence(
        states=int((visits > 0).sum()),
        transitions=n,
        visits_per_pair=n / int((counts > 0).sum()),
        once_seen_share=float((visits == 1).sum() / n),
        known_share=float(visits[(counts >= min_visits).all(axis=1)].sum() / n),
    )
