"""Occupancy of a policy: the expected number of visits of each state per episode.

For a policy with transition matrix ``P`` (n, n) and start distribution ``d`` (n,), the occupancy is ``m = d + P^T m``
(Puterman, *Markov Decision Processes*, section 6.9). Every episode ends, so the equation has one solution.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.solver import MixedPolicy, Solution
from selfreg_gym.transitions import TransitionModel

__all__ = ["gain_in_success", "node_average", "occupancy"]


def occupancy(model: TransitionModel, policy: MixedPolicy) -> np.ndarray:
    """``(n,)`` expected visits per episode of each state under a mixture of policies."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    total = np.zeros(model.n)
    P = model.P
    for weight, part in zip(policy.weights, policy.policies, strict=True):
        if weight <= 0:
            continue
        chosen = sum(
            (sparse.diags_array((part.policy == a).astype(float)) @ matrix for a, matrix in enumerate(P)),
            start=sparse.csr_array((model.n, model.n)),
        )
        system = sparse.csc_array(sparse.eye_array(model.n, format="csc") - chosen.T)
        total += weight * np.maximum(spsolve(system, model.start), 0.0)
    return total


def gain_in_success(solution: Solution) -> np.ndarray:
    """``(n,)`` gain in success of the best intervention in each state; 0 where help is not available.

    The gain is the success of asking now and following the policy afterwards, minus that of not asking now.
    """
    success = solution.success_by_action
    if len(success) < 2:
        return np.zeros(success.shape[1])
    best = np.where(np.isnan(success[1:]), -np.inf, success[1:]).max(axis=0)
    return np.where(np.isfinite(best), best - success[0], 0.0)


def node_average(model: TransitionModel, values: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average values of states over the levels (steps left) of each node, weighted by mass.

    Args:
        model: n states, which are N nodes at several levels.
        values, mass: ``(n,)``.

    Returns:
        ``(N,)`` averages and ``(N,)`` masses. Where a node has no mass, its levels have equal weights.
    """
    by_level, weight = values.reshape(model.levels, model.nodes), mass.reshape(model.levels, model.nodes)
    total = weight.sum(axis=0)
    mean = by_level.mean(axis=0)
    return np.divide((by_level * weight).sum(axis=0), total, out=mean, where=total > 0), total
