"""Fitted-Q evaluation: the values of a helper by regression on stored transitions.

For a helper with action probabilities pi, and R outcomes r (success of the step, cost units by intervention), the
values obey ``Q(s, a) = E[r + sum_a' pi(a' | s') Q(s', a')]``. Fitted-Q evaluation (Le, Voloshin and Yue 2019, "Batch
policy learning under constraints") starts at Q = 0 and repeats a regression of the right-hand side, with the current
Q, on the inputs of s. Here it is a ridge regression for each action, so one factorisation serves all rounds; its limit
is that of LSTDQ (Lagoudakis and Parr 2003).

**Inputs** of a decision: its key (the feature key, or the state key if there are no feature keys), the calls so far,
and the key combined with a bucket of steps left. The ridge penalty shrinks a combination towards its key, so that rare
combinations do not fit noise. Further inputs, ``(n, D)`` numbers, can be added.

**Folds.** Q of a decision comes from the episodes of other tasks (of other episodes, if there are fewer tasks than
folds). The estimate is the mean over the folds. Its interval is the jackknife over the left-out groups (Tukey 1958),
``variance = (G - 1) / G sum_g (v_g - mean)^2``, where ``v_g`` is the value without group g. It covers the error of the
regression, but not the bias of inputs that hide the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from selfreg_gym.off_policy.logged import Logged
from selfreg_gym.types import Episode

__all__ = ["Evaluated", "decision_inputs", "fitted_q", "folds_of"]

PENALTY = 1.0
"""Weight of the ridge penalty, in visits."""

BUCKETS = 8
"""Number of buckets of steps left, with about equally many decisions."""

MOST_CALLS = 3
"""Calls so far of this number and above are one input."""

MOST_DENSE = 800
"""Systems with more inputs than this are factorised as sparse matrices."""

TOLERANCE = 1e-6
"""The rounds end when no value changes by more than this."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Fitted values of one policy.

    Attributes:
        q: ``(n, 1 + K, R)`` values of each decision, from the other folds.
        value: ``(R,)`` mean value of the first decisions.
        left_out: ``(G, R)`` the same without each group.
    """

    q: np.ndarray
    value: np.ndarray
    left_out: np.ndarray


def decision_inputs(episodes: list[Episode], logged: Logged, more: Any = None) -> Any:
    """``(n, F)`` sparse inputs of the decisions.

    Args:
        episodes: the episodes.
        logged: their arrays.
        more: ``(n, D)`` further inputs, dense, of about unit size; None for none.
    """
    steps = [step for one in episodes for step in one.decisions]
    has_features = all(step.feature_key is not None for step in steps)
    key = _codes([step.feature_key if has_features else step.state_key for step in steps])
    left = np.array([-1 if step.steps_left is None else step.steps_left for step in steps])
    known = left[left >= 0]
    edges = np.unique(np.quantile(known, np.arange(1, BUCKETS) / BUCKETS)) if len(known) else np.zeros(0)
    bucket = np.where(left >= 0, 1 + np.searchsorted(edges, left, side="left"), 0)
    blocks = [np.ones((len(steps), 1)), _one_hot(key), _one_hot(np.minimum(logged.calls, MOST_CALLS))]
    if len(np.unique(bucket)) > 1:
        blocks += [_one_hot(bucket), _one_hot(key * (BUCKETS + 1) + bucket)]
    if more is not None:
        blocks.append(np.asarray(more, np.float64))
    return sparse.csr_array(sparse.hstack(blocks))


def folds_of(logged: Logged, folds: int, seed: int) -> np.ndarray:
    """``(E,)`` the fold of each episode: whole tasks, or episodes if there are fewer tasks than folds."""
    rng = np.random.default_rng(seed)
    tasks = int(logged.task.max()) + 1
    if tasks >= folds:
        return (rng.permutation(tasks) % folds)[logged.task]
    return rng.permutation(logged.episodes) % folds


def fitted_q(logged: Logged, inputs: Any, policy: np.ndarray, fold: np.ndarray) -> Evaluated:
    """Fit the values of a policy.

    Args:
        logged: the decisions.
        inputs: ``(n, F)`` sparse, of :func:`decision_inputs`.
        policy: ``(n, 1 + K)`` the helper's action probabilities.
        fold: ``(E,)`` of :func:`folds_of`.
    """
    n, outcomes = logged.outcome.shape
    q = np.zeros((n, policy.shape[1], outcomes))
    first = logged.begin[:-1]
    value = np.zeros(outcomes)
    left_out = []
    count = int(fold.max()) + 1
    for g in range(count):
        mine = (fold == g)[logged.episode]
        fitted = _fit(logged, inputs, policy, ~mine)
        q[mine] = fitted[mine]
        v = np.einsum("na,nar->nr", policy[first], fitted[first])
        left_out.append(v[fold != g].mean(axis=0))
        value += v[fold == g].sum(axis=0) / logged.episodes
    return Evaluated(q, value, np.stack(left_out))


def _fit(logged: Logged, inputs: Any, policy: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Values of all decisions, ``(n, 1 + K, R)``, fitted to the ``train`` decisions; clipped to their ranges."""
    n, outcomes = logged.outcome.shape
    actions = policy.shape[1]
    # An input that occurs in no training decision has no weight; it is left out, and the other inputs decide.
    seen = np.asarray(abs(inputs[train]).sum(axis=0)).ravel() > 0
    x = sparse.csr_array(inputs[:, np.flatnonzero(seen)])
    penalty = sparse.diags_array(np.r_[1e-6, np.full(x.shape[1] - 1, PENALTY)])  # none for the constant
    rows = [np.flatnonzero(train & (logged.action == a)) for a in range(actions)]
    own = [sparse.csr_array(x[some]) for some in rows]
    solves = [_factorised(sparse.csc_array(one.T @ one + penalty)) for one in own]
    highest = _highest(logged, outcomes)
    goes_on = ~logged.last
    following = np.flatnonzero(goes_on) + 1
    q = np.zeros((n, actions, outcomes))
    for _ in range(2 * (int(logged.t.max()) + 1) + 10):
        target = logged.outcome.copy()
        target[goes_on] += np.einsum("na,nar->nr", policy[following], q[following])
        new = np.stack(
            [
                np.clip(x @ solve(one.T @ target[some]), 0.0, highest)
                for solve, one, some in zip(solves, own, rows, strict=True)
            ],
            axis=1,
        )
        change = float(np.abs(new - q).max())
        q = new
        if change < TOLERANCE:
            break
    return q


def _factorised(matrix: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The solution of a positive definite system as a function of its right-hand sides ``(F, R)``."""
    if matrix.shape[0] <= MOST_DENSE:
        from scipy.linalg import cho_factor, cho_solve

        factor = cho_factor(matrix.toarray())
        return lambda right: cho_solve(factor, right)
    from scipy.sparse.linalg import splu

    return splu(matrix).solve


def _highest(logged: Logged, outcomes: int) -> np.ndarray:
    """``(R,)`` the largest value: success 1, and the largest cost of an episode that asks at every step."""
    longest = int(logged.t.max()) + 1
    return np.r_[1.0, longest * logged.outcome[:, 1:].max(axis=0)][:outcomes]


def _one_hot(codes: np.ndarray) -> Any:
    _, columns = np.unique(codes, return_inverse=True)
    n = len(codes)
    return sparse.csr_array((np.ones(n), columns.reshape(-1), np.arange(n + 1)), shape=(n, int(columns.max()) + 1))


def _codes(texts: list[Any]) -> np.ndarray:
    names: dict[Any, int] = {}
    return np.array([names.setdefault(text, len(names)) for text in texts], np.int64)
