"""State recurrence: how often the collected states are visited again, which a table of states depends on.

A state seen once with one action says nothing about the other. With random tasks nearly all observations
of a household task are unique; a fixed set of tasks, many rollouts of each and a canonical state key make states recur.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.store.rollouts import Coded, Rollouts

__all__ = ["recurrence"]

_KINDS = ("state_key", "feature_key", "observation")


def recurrence(rollouts: Rollouts, *, min_visits: int = 3, **where: Any) -> dict[str, dict[str, float]]:
    """Count how often states recur under each kind of key.

    Args:
        rollouts: the store.
        min_visits: how many visits of a (state, action) pair count as known.
        **where: which episodes, as in :meth:`Rollouts.episodes`.

    Returns:
        For each of ``state_key, feature_key, observation`` that the store has:

        * ``states``: distinct ones;
        * ``transitions``: how many transitions have that key;
        * ``visits_per_pair``: transitions per (state, action) that occurs;
        * ``once_seen_share``: share of the transitions whose state was seen only then (Good's estimate of how often a
          new visit meets a state never seen);
        * ``known_share``: share of the transitions in states where *every* action has ``min_visits``, so that what help
          changes can be estimated.
    """
    columns = rollouts.columns("action", *_KINDS, **where)
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


def _recurrence(state: np.ndarray, action: np.ndarray, actions: int, min_visits: int) -> dict[str, float]:
    """The figures of one key: ``state`` (n,) codes, ``action`` (n,)."""
    counts = np.zeros((int(state.max()) + 1, actions), np.int64)
    np.add.at(counts, (state, action), 1)
    visits = counts.sum(axis=1)
    n = len(state)
    return {
        "states": int((visits > 0).sum()),
        "transitions": n,
        "visits_per_pair": n / int((counts > 0).sum()),
        "once_seen_share": float((visits == 1).sum() / n),
        "known_share": float(visits[(counts >= min_visits).all(axis=1)].sum() / n),
    }
