"""Coverage of an intervention problem by collected episodes."""

from __future__ import annotations

import numpy as np

from selfreg_gym.transitions.nodes import Nodes
from selfreg_gym.transitions.table import TransitionTable

__all__ = ["coverage"]


def coverage(table: TransitionTable, nodes: Nodes) -> dict[str, float]:
    """Return the coverage of a fitted model.

    * ``episodes, decisions, states``: size of the data; ``state_nodes, feature_nodes``: nodes of the model.
    * ``visits_per_pair``: decisions per observed (state, action) pair.
    * ``recurrence``: share of decisions in states that occur in more than one episode.
    * ``backoff_share``: share of decisions in states without a node of their own.
    * ``unseen_start_mass``: share of episodes with a first state in which some action was never tried.
    * ``good_turing_states, good_turing_pairs``: estimated probability that the state, or the (state, action) pair, of
      the next decision is new (Good 1953: the number of those seen once, divided by the number of decisions).
    """
    states, actions, total = len(table.state_keys), table.actions, len(table.state)
    visits = np.bincount(table.state * actions + table.action, minlength=states * actions).reshape(states, actions)
    per_state = visits.sum(axis=1)
    visited = np.unique(table.state.astype(np.int64) * table.episodes + table.episode)
    episodes_of_state = np.bincount(visited // table.episodes, minlength=states)
    first = table.state[table.first]
    own = nodes.of_state[table.state] >= 0
    return {
        "episodes": float(table.episodes),
        "decisions": float(total),
        "states": float((per_state > 0).sum()),
        "state_nodes": float((~nodes.is_feature).sum()),
        "feature_nodes": float(nodes.is_feature.sum()),
        "visits_per_pair": float(total / max((visits > 0).sum(), 1)),
        "recurrence": float((episodes_of_state[table.state] > 1).mean()),
        "backoff_share": float((~own).mean()),
        "unseen_start_mass": float((visits[first] == 0).any(axis=1).mean()),
        "good_turing_states": float((per_state == 1).sum() / total),
        "good_turing_pairs": float((visits == 1).sum() / total),
    }
