"""Estimate a transition model from episodes: counts with back-off and shrinkage.

For node ``i``, action ``a`` and outcome ``o`` (a next node, success or failure), with ``n(i, a, o)`` visits,

    P(o | i, a) = (n(i, a, o) + kappa * q(o | i) + kappa_f * P(o | f(i), a)) / (n(i, a) + kappa + kappa_f)

where ``q(o | i)`` pools all actions of the node, and ``f(i)`` is the node of its feature key. It is the posterior mean
of a Dirichlet distribution with a hierarchical prior (Gelman et al., *Bayesian Data Analysis*, ch. 5).

**Nodes.** A state in which nohelp and help were both tried at least ``min_visits`` times is a node. The other states
share the node of their feature key, to which states with nodes of their own contribute a few visits.

**Time.** Rows are pooled over time and solved over (node, steps left): each transition is stored with the number of
steps that it takes. With one step left the time limit determines the outcome, so these decisions are excluded from the
pooled rows and estimate ``last_success``. Where keys hide part of the state, steps left tell something about that part,
and pooling loses it. With ``time_buckets`` a node is a key with a bucket of steps left, and there is no clock.

**Shrinkage.** With few visits the best of several noisy rows is optimistic (winner's curse). ``kappa`` shrinks the
difference between the actions, ``kappa_f`` (``kappa_feature``) the difference between a state and its features. Both
are chosen by held-out likelihood.

**Calls of several steps** are unrolled: the steps that continue a call belong to nodes of their own, which have one
action (:class:`selfreg_gym.transitions.model.TransitionModel`). An aborted episode counts up to its last decision; the
abort itself is not counted, because its outcome is known, and it is never better than nohelp.

**Missing data.** Help that was never tried at a node is not available there; nohelp that was never tried has the
average row of nohelp. An episode that ends without success is a failure, also if it is truncated. Episodes with an
error are excluded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.transitions.held_out import choose_shrinkage
from selfreg_gym.transitions.model import Fitted, Rows, TransitionModel
from selfreg_gym.transitions.nodes import Nodes, assign_nodes, coverage, visit_weights
from selfreg_gym.transitions.rows import row_sums
from selfreg_gym.transitions.table import TransitionTable, tabulate

__all__ = ["fit", "fit_table"]

LAST_VISITS = 2.0
"""Weight, in visits, of the prior of success with one step left (the features' rate, then the overall rate)."""


def fit(
    episodes: Any,
    *,
    key: str = "state",
    backoff: str | None = "feature",
    prior: float | str = "auto",
    min_visits: int = 3,
    horizon: int | bool | None = True,
    time_buckets: int | None = None,
) -> TransitionModel:
    """Estimate a model from episodes.

    Args:
        episodes: a ``Rollouts`` store, or an iterable of :class:`selfreg_gym.types.Episode`.
        key: the text that identifies a state: ``"state"``, ``"feature"`` or ``"observation"``.
        backoff: ``"feature"``: states with few visits share their feature key's node; None: every state is a node.
        prior: ``kappa``, the weight in visits of the pool of all actions in each row; ``"auto"`` chooses it, and the
            weight of the feature key, by held-out likelihood. With a number, the feature key has the weight 0.
        min_visits: smallest number of visits of nohelp, and of help (all interventions together), of a state with a
            node of its own.
        horizon: True: states are (node, steps left) if the task reports ``steps_left``; an int: the number of levels,
            and the time limit of tasks that do not report it; None: without time.
        time_buckets: the keys include steps left, in this many buckets, and the model has no clock (one level).

    Raises:
        InvalidArgumentError, UnknownNameError: an argument out of range, or no usable episode.
        ModelError: steps left increase within an episode.
    """
    if backoff not in ("feature", None):
        raise UnknownNameError("backoff", backoff, ("feature", "None"))
    if isinstance(prior, str) and prior != "auto":
        raise UnknownNameError("prior", prior, ("auto", "a number of visits"))
    if not isinstance(prior, str) and not prior >= 0:
        raise InvalidArgumentError(f"prior must be a number of visits >= 0 or 'auto', received {prior!r}.")
    if min_visits < 1:
        raise InvalidArgumentError(f"min_visits must be at least 1, received {min_visits!r}.")
    if horizon is not None and horizon is not True and horizon is not False and int(horizon) < 1:
        raise InvalidArgumentError(f"horizon must be True, None or a number of steps >= 1, received {horizon!r}.")
    table = tabulate(episodes, key=key, horizon=horizon, time_buckets=time_buckets)
    if isinstance(prior, str):
        kappa, kappa_feature = choose_shrinkage(table, backoff=backoff, min_visits=min_visits)
    else:
        kappa, kappa_feature = float(prior), 0.0
    return fit_table(
        table, backoff=backoff, min_visits=min_visits, horizon=horizon, kappa=kappa, kappa_feature=kappa_feature
    )


def fit_table(
    table: TransitionTable, *, backoff: str | None, min_visits: int, horizon: int | bool | None, kappa: float,
    kappa_feature: float,
) -> TransitionModel:  # fmt: skip
    """Estimate a model from a table, with given weights of the priors."""
    levels = _levels(table, horizon)
    nodes = assign_nodes(table, backoff=backoff, min_visits=min_visits)
    actions, count = table.actions, nodes.count
    row, source = nodes.row, nodes.source
    near_end = (table.steps_left <= 1) & (levels > 1)

    # Decisions with one step left are excluded from the pooled row, unless the pair has no others.
    pair = source * actions + table.action[row]
    earlier = np.bincount(pair, ~near_end[row], minlength=count * actions)
    used = ~near_end[row] | (earlier[pair] == 0)
    weight = used * visit_weights(nodes, pair, used)
    visits = np.bincount(pair, weight, minlength=count * actions).reshape(count, actions)
    wins = np.bincount(pair, weight * table.success[row], minlength=count * actions).reshape(count, actions)
    spent = np.bincount(pair, weight * table.cost[row], minlength=count * actions).reshape(count, actions)

    goes_on = used & ~table.last[row]
    row, source, weight = row[goes_on], source[goes_on], weight[goes_on]
    drop = (table.steps_left[row] - table.steps_left[row + 1]).astype(np.int64) * (levels > 1)
    width = max(int(drop.max(initial=0)) + 1, 2)  # a column of the counts is next node * width + drop
    column = nodes.of_row[row + 1].astype(np.int64) * width + drop
    shape = (count, count * width)
    moves = [_counts(source, column, weight * (table.action[row] == a), shape) for a in range(actions)]

    to_features = None
    each = used, used & table.success[nodes.row]
    full_counts = [np.bincount(pair, one, minlength=count * actions).reshape(count, actions) for one in each]
    if kappa_feature > 0 and nodes.of_feature is not None:
        projected = nodes.feature_node_of_row[row + 1].astype(np.int64) * width + drop
        to_features = [
            _counts(source, projected, (table.action[row] == a).astype(float), shape) for a in range(actions)
        ]
    P, success = _shrunk(moves, wins, visits, to_features, full_counts, nodes, kappa, kappa_feature)
    if levels > 1:
        P = [_with_drop_prior(matrix, visits[:, a], width) for a, matrix in enumerate(P)]

    cost = _costs(spent, visits, nodes.calling)
    available = (visits > 0).T
    available[0] = True

    rows = []
    for matrix in P:
        matrix.sort_indices()
        head = (matrix.indices // width).astype(np.int32)
        step = (matrix.indices % width).astype(np.int32) if levels > 1 else None
        rows.append(Rows(matrix.indptr.astype(np.int64), head, matrix.data, step))
    first = np.flatnonzero(table.first)
    at = nodes.of_row[first].astype(np.int64)
    start = np.bincount(at, minlength=count) / len(first)
    if levels > 1:
        level = np.clip(table.steps_left[first], 1, levels) - 1
        start = np.bincount(level * count + at, minlength=levels * count) / len(first)
        staying = [row_sums(row._replace(data=row.data * (row.drop == 0))) for row in rows]
        last_success = np.minimum(_last_success(table, nodes, near_end), 1 - np.minimum(staying, 1.0))
        model = TransitionModel.levelled(
            rows, levels, success, start, cost, available=available, last_success=last_success,
            calling=nodes.calling, endless="fail",
        )  # fmt: skip
    else:
        square = [sparse.csr_array((row.data, row.indices, row.indptr), shape=(count, count)) for row in rows]
        model = TransitionModel(
            square, success, start, cost, available=available, calling=nodes.calling, endless="fail"
        )
    weights = {"kappa": kappa, "kappa_feature": kappa_feature}
    settings: dict[str, Any] = {
        "key": table.key,
        "backoff": backoff,
        "min_visits": min_visits,
        "levels": levels,
    } | weights
    settings |= {"episodes": table.episodes, "decisions": int((table.calling == 0).sum())}
    if table.time_edges is not None:
        settings["time_edges"] = list(table.time_edges)
    about = coverage(table, nodes) | weights
    fitted = Fitted(visits.T.copy(), nodes.is_feature, nodes.feature_of_node, settings, about)
    return model.fitted_to(fitted, nodes.keys)


def _costs(spent: np.ndarray, visits: np.ndarray, calling: np.ndarray) -> np.ndarray:
    """``(A, N)`` mean cost units of each action, shrunk to its overall mean; ``spent`` and ``visits`` are (N, A).

    Where a call goes on, the mean is that of the continuations of this intervention's calls.
    """
    actions, decides = visits.shape[1], calling == 0
    total = visits[decides].sum(axis=0)
    mean = np.divide(spent[decides].sum(axis=0), total, out=np.r_[0.0, np.ones(actions - 1)], where=total > 0)
    cost = ((spent + 10.0 * mean) / (visits + 10.0)).T
    cost[0] = 0.0
    for k in range(1, actions):
        mine = calling == k
        if mine.any():
            of_calls = spent[mine, 0].sum() / max(visits[mine, 0].sum(), 1e-300)
            cost[0, mine] = (spent[mine, 0] + 10.0 * of_calls) / (visits[mine, 0] + 10.0)
    return cost


def _levels(table: TransitionTable, horizon: int | bool | None) -> int:
    """Return the number of levels, 1 without steps left."""
    if horizon is None or horizon is False or table.time_edges is not None or (table.steps_left < 0).any():
        return 1
    longest = int(table.steps_left.max())
    return max(longest if horizon is True else min(longest, int(horizon)), 1)


def _counts(source: np.ndarray, column: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> Any:
    """Return the sparse matrix of weighted counts of (source, column) pairs."""
    some = weight > 0
    return sparse.csr_array(sparse.coo_array((weight[some], (source[some], column[some])), shape=shape))


def _shrunk(
    moves: list[Any], wins: np.ndarray, visits: np.ndarray, to_features: list[Any] | None,
    full_counts: list[np.ndarray], nodes: Nodes, kappa: float, kappa_feature: float,
) -> tuple[list[Any], np.ndarray]:  # fmt: skip
    """Return P (one (N, N * width) matrix per action) and success (A, N) with both priors mixed in.

    ``full_counts`` has visits and wins (N, A) in which every decision counts fully for its feature key; states shrink
    towards these.
    """
    total = visits.sum(axis=1)
    pooled, pooled_wins = sum(moves[1:], moves[0]), wins.sum(axis=1)
    everywhere = (nodes.is_feature if nodes.is_feature.any() else np.ones(nodes.count, bool)) & (nodes.calling == 0)
    P, success = [], np.empty((len(moves), nodes.count))
    for a, own in enumerate(moves):
        n = visits[:, a]
        from_pool = np.where(n > 0, kappa, 0.0)
        weight = n + from_pool
        parts = [own, _scale(pooled, from_pool / np.maximum(total, 1))]
        won = wins[:, a] + from_pool * pooled_wins / np.maximum(total, 1)
        if to_features is not None:
            of = nodes.feature_of_node
            n_features = np.where(of >= 0, full_counts[0][np.maximum(of, 0), a], 0)
            from_feature = np.where((n > 0) & (n_features > 0), kappa_feature, 0.0)
            parts.append(_scale(to_features[a][np.maximum(of, 0)], from_feature / np.maximum(n_features, 1)))
            won += from_feature * full_counts[1][np.maximum(of, 0), a] / np.maximum(n_features, 1)
            weight = weight + from_feature
        scale = np.divide(1.0, weight, out=np.zeros(len(weight)), where=weight > 0)
        matrix, won = _scale(sum(parts[1:], parts[0]), scale), won * scale
        unseen = n == 0
        if a == 0 and unseen.any():  # the average row of nohelp, in which every decision counts once
            n_all = max(float(n[everywhere].sum()), 1.0)
            mean = sparse.csr_array((everywhere / n_all)[None, :]) @ own
            matrix = matrix + sparse.csr_array(unseen[:, None].astype(float)) @ mean
            won = np.where(unseen, wins[everywhere, 0].sum() / n_all, won)
        P.append(sparse.csr_array(matrix))
        success[a] = won
    return P, success


def _scale(matrix: Any, factors: np.ndarray) -> Any:
    """Return ``diag(factors) @ matrix`` without rows of zeros."""
    scaled = sparse.csr_array(sparse.diags_array(factors) @ matrix)
    scaled.eliminate_zeros()
    return scaled


def _with_drop_prior(matrix: Any, visits: np.ndarray, width: int) -> Any:
    """Move a share of 0.5 / (visits + 0.5) of the transitions without a drop to a drop of one.

    Every episode ends, so no step can leave ``steps_left`` unchanged forever. Without this prior, a few visits that all
    leave it unchanged would be estimated as an infinite loop.
    """
    stays = sparse.csr_array(matrix * (np.arange(matrix.shape[1]) % width == 0)[None, :])
    stays.eliminate_zeros()
    share = _scale(stays, 0.5 / (visits + 0.5))
    moved = sparse.csr_array((share.data, share.indices + 1, share.indptr), shape=matrix.shape)
    return sparse.csr_array(matrix - share + moved)


def _last_success(table: TransitionTable, nodes: Nodes, near_end: np.ndarray) -> np.ndarray:
    """Return ``(A, N)`` success probabilities with one step left, shrunk to the features' and the overall rate."""
    actions, count = table.actions, nodes.count
    mine = near_end[nodes.row]
    row, source = nodes.row[mine], nodes.source[mine]
    pair = source * actions + table.action[row]
    n = np.bincount(pair, minlength=count * actions).reshape(count, actions)
    k = np.bincount(pair, table.success[row], minlength=count * actions).reshape(count, actions)
    overall = table.success[near_end].mean() if near_end.any() else 0.0
    both = (k.sum(axis=1) + LAST_VISITS * overall) / (n.sum(axis=1) + LAST_VISITS)
    rate = (k + LAST_VISITS * both[:, None]) / (n + LAST_VISITS)
    of = nodes.feature_of_node
    if (of >= 0).any():
        prior = np.where((of >= 0)[:, None], rate[np.maximum(of, 0)], both[:, None])
        rate = np.where((of >= 0)[:, None], (k + LAST_VISITS * prior) / (n + LAST_VISITS), rate)
    return rate.T
