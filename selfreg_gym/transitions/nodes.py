"""Nodes of a fitted model, which are states with enough visits and feature keys for the others; their coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.transitions.table import TransitionTable

__all__ = ["Nodes", "assign_nodes", "coverage", "visit_weights"]

SHARED_VISITS = 3.0
"""Visits that the states with nodes of their own together contribute to the node of their feature key."""


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes of a table, N of them, states before features.

    Attributes:
        keys: the state keys and feature keys of the nodes.
        is_feature: ``(N,)`` bool, whether a node is that of a feature key.
        of_row: ``(T,)`` node of each decision.
        of_state: node of each state key, -1 where there is none.
        of_feature: node of each feature key, -1 where unseen; None without back-off.
        feature_of_node: ``(N,)`` node of a state's feature key, -1 where there is none.
        feature_node_of_row: ``(T,)`` node of each decision's feature key, else ``of_row``.
        row, source: step and node of each count; a step counts for its state's node and for its feature key's. Steps
            at which the episode was aborted are not counted.
        calling: ``(N,)`` int64, k where a call of the k-th intervention goes on, else 0.
    """

    keys: tuple[str, ...]
    is_feature: np.ndarray
    of_row: np.ndarray
    of_state: np.ndarray
    of_feature: np.ndarray | None
    feature_of_node: np.ndarray
    feature_node_of_row: np.ndarray
    row: np.ndarray
    source: np.ndarray
    calling: np.ndarray

    @property
    def count(self) -> int:
        """Number of nodes N."""
        return len(self.keys)


def assign_nodes(table: TransitionTable, *, backoff: str | None, min_visits: int) -> Nodes:
    """Choose the states with nodes of their own, and assign a node to each decision."""
    states, actions = len(table.state_keys), table.actions
    visits = _visits(table)
    seen = np.bincount(table.state, minlength=states) > 0
    rows = np.flatnonzero(table.action < actions)
    calling_of_state = np.zeros(states, np.int64)
    calling_of_state[table.state] = table.calling
    backs_off = backoff is not None and bool((table.feature >= 0).any())
    if not backs_off:
        kept = np.flatnonzero(seen)
        of_state = np.full(states, -1)
        of_state[kept] = np.arange(len(kept))
        own = of_state[table.state]
        keys = tuple(table.state_keys[i] for i in kept)
        no_feature = np.full(len(kept), -1)
        is_feature = np.full(len(kept), table.key == "feature")
        return Nodes(keys, is_feature, own, of_state, None, no_feature, own, rows, own[rows], calling_of_state[kept])

    feature_of_state = np.full(states, -1)
    feature_of_state[table.state] = table.feature
    enough = (visits[:, 0] >= min_visits) & (visits[:, 1:].sum(axis=1) >= min_visits)
    enough |= (calling_of_state > 0) & (visits[:, 0] >= min_visits)  # with one action
    kept = np.flatnonzero(seen & (enough | (feature_of_state < 0)))
    of_state = np.full(states, -1)
    of_state[kept] = np.arange(len(kept))
    features = np.unique(table.feature[table.feature >= 0])
    of_feature = np.full(len(table.feature_keys), -1)
    of_feature[features] = len(kept) + np.arange(len(features))
    feature_node = np.where(table.feature >= 0, of_feature[table.feature], -1)
    own = of_state[table.state]
    of_row = np.where(own >= 0, own, feature_node)
    feature_node_of_row = np.where(feature_node >= 0, feature_node, of_row)
    feature_of_node = np.full(len(kept) + len(features), -1)
    has = feature_of_state[kept] >= 0
    feature_of_node[: len(kept)][has] = of_feature[feature_of_state[kept][has]]
    with_feature, with_own = rows[feature_node[rows] >= 0], rows[own[rows] >= 0]
    calling_of_feature = np.zeros(len(table.feature_keys), np.int64)
    calling_of_feature[table.feature[table.feature >= 0]] = table.calling[table.feature >= 0]
    return Nodes(
        keys=tuple(table.state_keys[i] for i in kept) + tuple(table.feature_keys[i] for i in features),
        is_feature=np.r_[np.zeros(len(kept), bool), np.ones(len(features), bool)],
        of_row=of_row,
        of_state=of_state,
        of_feature=of_feature,
        feature_of_node=feature_of_node,
        feature_node_of_row=feature_node_of_row,
        row=np.r_[with_own, with_feature],
        source=np.r_[own[with_own], feature_node[with_feature]],
        calling=np.r_[calling_of_state[kept], calling_of_feature[features]],
    )


def _visits(table: TransitionTable) -> np.ndarray:
    """``(states, A)`` visits of each state and action, without the steps at which the episode was aborted."""
    states, actions = len(table.state_keys), table.actions
    tried = table.action < actions
    pair = table.state[tried].astype(np.int64) * actions + table.action[tried]
    return np.bincount(pair, minlength=states * actions).reshape(states, actions)


def visit_weights(nodes: Nodes, pair: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return the weight of each count: 1, or less where the node of a feature key counts frequently visited states.

    The node represents rarely visited states. Frequently visited states with the same feature key belong to easier
    tasks or to the common path of easy episodes; with weight 1 they would bias the node's success upwards.
    """
    shared = nodes.is_feature[nodes.source] & ~nodes.is_feature[nodes.of_row[nodes.row]]
    total = np.bincount(pair, shared & used, minlength=int(pair.max(initial=0)) + 1)
    return np.where(shared, np.minimum(1.0, SHARED_VISITS / np.maximum(total[pair], 1.0)), 1.0)


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
    states, total = len(table.state_keys), len(table.state)
    visits = _visits(table)
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
