"""Held-out log-likelihood of a fit, for the choice of keys and of the shrinkage weights.

The predicted outcomes are the same for every key, so that keys can be compared: success, failure, or the feature key
(the state key where there is none) of the next decision. The score of a decision with outcome ``o`` is

    log((1 - 0.02) * P(o | node, a) + 0.02 * P(o)),

where the overall frequency ``P(o)`` bounds the loss of an event that the fit considers impossible. Decisions with one
step left are not scored, because the time limit determines their outcome.

Rows are weighted as in the fit: frequently visited states contribute only a few visits to the node of their features
(:func:`selfreg_gym.transitions.nodes.visit_weights`). Where the features are the prior of a state, all of their visits
count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.transitions.nodes import assign_nodes, visit_weights
from selfreg_gym.transitions.table import TransitionTable, tabulate

__all__ = ["choose_shrinkage", "held_out_likelihood"]

KAPPAS = (0.0, 1.0, 3.0, 10.0)
FLOOR = 0.02
FOLDS = 4


def held_out_likelihood(
    episodes: Any,
    *,
    key: str = "state",
    backoff: str | None = "feature",
    prior: float | str = "auto",
    min_visits: int = 3,
    time_buckets: int | None = None,
    folds: int = FOLDS,
) -> float:
    """Return the mean held-out log-likelihood of the outcome of a decision, in nats (higher is better).

    Args:
        episodes, key, backoff, prior, min_visits, time_buckets: as in :func:`selfreg_gym.transitions.fitting.fit`. Keys
            can be compared on the same episodes. ``"auto"`` takes the best weights of the grid.
        folds: number of folds; each episode is predicted from the other folds.
    """
    table = tabulate(episodes, key=key, time_buckets=time_buckets)
    scores = _grid(table, backoff=backoff, min_visits=min_visits, folds=folds, fixed=prior)
    return float(max(scores.values()))


def choose_shrinkage(table: TransitionTable, *, backoff: str | None, min_visits: int) -> tuple[float, float]:
    """Return (kappa, kappa_feature) of largest held-out likelihood; (10, 0) for fewer than 8 episodes."""
    if table.episodes < 2 * FOLDS:
        return 10.0, 0.0
    scores = _grid(table, backoff=backoff, min_visits=min_visits, folds=FOLDS, fixed="auto")
    return max(scores, key=lambda pair: (scores[pair], pair))


def _grid(
    table: TransitionTable, *, backoff: str | None, min_visits: int, folds: int, fixed: float | str
) -> dict[tuple[float, float], float]:
    """Return the score of each pair of weights."""
    fold_of = np.random.default_rng(0).permutation(table.episodes) % max(min(folds, table.episodes), 1)
    numbers = np.arange(table.episodes)
    parts = []
    for fold in range(int(fold_of.max(initial=0)) + 1):
        train, test = numbers[fold_of != fold], numbers[fold_of == fold]
        if len(train) and len(test):
            parts.append(_predictions(table.take(train), table.take(test), backoff, min_visits))
    if not parts:
        return {(10.0, 0.0): -np.inf}
    n, c, pool, feature, known, base = (np.concatenate(column) for column in zip(*parts, strict=True))
    kappas = KAPPAS if isinstance(fixed, str) else (float(fixed),)
    with_features = isinstance(fixed, str) and bool(known.any())
    scores = {}
    for kappa in kappas:
        for kappa_feature in KAPPAS if with_features else (0.0,):
            weight = n + kappa + kappa_feature * known
            p = np.divide(c + kappa * pool + kappa_feature * feature, weight, out=base.copy(), where=weight > 0)
            scores[kappa, kappa_feature] = float(np.log((1 - FLOOR) * p + FLOOR * base).mean())
    return scores


def _predictions(
    train: TransitionTable, test: TransitionTable, backoff: str | None, min_visits: int
) -> tuple[np.ndarray, ...]:
    """Return, for each decision of ``test``, the visits and hits of its row and the probabilities of the priors."""
    nodes = assign_nodes(train, backoff=backoff, min_visits=min_visits)
    actions, count = train.actions, nodes.count
    outcomes, targets = _outcomes(train)
    seen = (train.steps_left != 1)[nodes.row]  # nodes.row has no aborts
    pair = nodes.source * actions + train.action[nodes.row]
    weight = visit_weights(nodes, pair, seen)[seen]
    row, source, pair = nodes.row[seen], nodes.source[seen], pair[seen]
    base = (np.bincount(outcomes, minlength=targets) + 1.0) / (len(outcomes) + targets)

    expected, _ = _outcomes(test)
    scored = (test.steps_left != 1) & (test.action < actions)
    expected = expected[scored]
    node = nodes.of_state[test.state[scored]]
    feature_node = np.full(len(node), -1)
    if nodes.of_feature is not None:
        has = test.feature[scored] >= 0
        feature_node[has] = nodes.of_feature[test.feature[scored][has]]
    at_state = node >= 0
    node = np.where(at_state, node, feature_node)
    action = test.action[scored].astype(np.int64)
    own_pair = np.where(node >= 0, node * actions + action, -1)

    n, c = _rate(pair, outcomes[row], weight, own_pair, expected, count * actions, targets)
    n_pool, c_pool = _rate(source, outcomes[row], weight, node, expected, count, targets)
    uses = at_state & (feature_node >= 0)
    of_features = np.where(uses, feature_node * actions + action, -1)
    n_feature, c_feature = _rate(
        pair, outcomes[row], np.ones(len(pair)), of_features, expected, count * actions, targets
    )
    p_base = base[expected]
    pool = np.divide(c_pool, n_pool, out=p_base.copy(), where=n_pool > 0)
    feature = np.divide(c_feature, n_feature, out=np.zeros(len(n)), where=n_feature > 0)
    return n, c, pool, feature, (n_feature > 0).astype(float), p_base


def _outcomes(table: TransitionTable) -> tuple[np.ndarray, int]:
    """Return the ``(T,)`` outcome of each decision, and the number of different outcomes."""
    if table.plain is not None:
        after, kinds = table.plain, table.plain_count
    elif (table.feature >= 0).all():
        after, kinds = table.feature, len(table.feature_keys)
    else:
        after, kinds = table.state, len(table.state_keys)
    following = np.r_[after[1:], 0].astype(np.int64)
    return np.where(table.last, np.where(table.success, kinds, kinds + 1), following), kinds + 2


def _rate(
    of: np.ndarray, outcome: np.ndarray, weight: np.ndarray, group: np.ndarray, expected: np.ndarray, groups: int,
    targets: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the weighted visits of each ``group``, and those with the expected outcome; 0 for group -1."""
    totals = np.bincount(of, weight, minlength=groups)
    keys, which = np.unique(of.astype(np.int64) * targets + outcome, return_inverse=True)
    hits = np.bincount(which, weight, minlength=len(keys))
    wanted = group.astype(np.int64) * targets + expected
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    found = (group >= 0) & (keys[at] == wanted) if len(keys) else np.zeros(len(group), bool)
    return np.where(group >= 0, totals[np.maximum(group, 0)], 0.0), np.where(found, hits[at], 0.0)
