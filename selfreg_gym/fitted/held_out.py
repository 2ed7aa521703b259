"""The value of policies on episodes to which they were not fitted: linear fitted-Q evaluation.

The networks of a fold are fitted to the other folds only. On the fold, the value of a policy is the value by these
networks plus a linear correction, which is fitted to the temporal differences of the fold's own episodes (least
squares, LSTD; Bradtke and Barto 1996). With features ``f`` of a decision, and over the rows whose logged action is the
policy's,

    A = sum f (f - f')^T + ridge I,     w_i = f_i^T A^-T sum_starts f,     value = mean over episodes of
    V(start) + sum_i w_i (r_i + V(s_{i+1}) - V(s_i)).

This is also the doubly robust estimator whose ratio of state distributions is linear in ``f``. The terms of the mean
are the influence function of linear fitted-Q evaluation (Duan, Jia and Wang 2020), so a bootstrap of these terms over
episodes gives intervals without a new fit. Probabilities of the logged actions are not needed, but the data must
contain the policy's actions in the states where it chooses them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["FoldRows", "episode_values"]

COMPONENTS = 32
"""Largest number of principal components of the networks' hidden layer among the features."""
ROWS_PER_FEATURE = 25
RIDGE = 5.0
"""Ridge penalty, in rows, on features of unit variance."""


@dataclass(frozen=True, eq=False)
class FoldRows:
    """The decisions of the episodes of one fold, episode by episode.

    Attributes:
        hidden: ``(n, H)`` features of the inputs.
        action: ``(n,)`` logged actions, -1 where what follows is unknown.
        cost, success: ``(n,)`` of each step.
        last: ``(n,)`` bool, whether it ends an episode.
    """

    hidden: np.ndarray
    action: np.ndarray
    cost: np.ndarray
    success: np.ndarray
    last: np.ndarray

    def components(self) -> np.ndarray:
        """``(n, d)`` principal components; the first has unit variance."""
        most = int(min(COMPONENTS, self.hidden.shape[1], max(len(self.hidden) // ROWS_PER_FEATURE, 1)))
        centred = self.hidden - self.hidden.mean(axis=0)
        variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(centred))
        leading = axes[:, ::-1][:, :most].astype(np.float32)
        scale = np.sqrt(max(float(variances[-1]), 1e-12))
        # The sign of an eigenvector is arbitrary; the values below do not depend on it.
        return (centred @ leading) / scale


def episode_values(
    rows: FoldRows, components: np.ndarray, policy: np.ndarray, success: np.ndarray, usage: np.ndarray, *, unit: float
) -> np.ndarray:
    """The value of one policy in each episode: the terms of the mean.

    Args:
        rows: the decisions.
        components: ``(n, d)``, :meth:`FoldRows.components` of ``rows``.
        policy: ``(n,)`` its action at each decision.
        success, usage: ``(n,)`` values of its action at each decision, by networks that were not fitted to the fold.
        unit: unit of usage, in cost units.

    Returns:
        ``(E, 2)`` success and usage of each episode. Their means are the estimates.
    """
    n = len(policy)
    helps = [policy == k for k in range(1, int(policy.max()) + 1) if (policy == k).any() and (policy != k).any()]
    features = np.column_stack([*helps, success, usage / unit, components]).astype(np.float32)
    features -= features.mean(axis=0)
    features = np.column_stack([np.ones(n, np.float32), features])
    agree = np.flatnonzero(rows.action == policy)
    goes_on = ~rows.last[agree]
    after = np.minimum(agree + 1, n - 1)
    following = features[after] * goes_on[:, None]
    start = np.r_[0, np.flatnonzero(rows.last)[:-1] + 1]
    own = features[agree]
    matrix = (own.T @ (own - following)).astype(np.float64) + RIDGE * np.eye(own.shape[1])
    weights = np.zeros(n)
    weights[agree] = own @ np.linalg.solve(matrix.T, features[start].sum(axis=0, dtype=np.float64))
    values = np.stack([success, usage], axis=1).astype(np.float64)
    reward = np.stack([rows.success, rows.cost], axis=1).astype(np.float64)
    difference = reward - values
    difference[:-1] += values[1:] * ~rows.last[:-1, None]
    terms = np.add.reduceat(weights[:, None] * difference, start, axis=0)
    return values[start] + terms
