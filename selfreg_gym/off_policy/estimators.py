"""Importance-weighted estimates: per-decision weighted importance sampling, and the weighted doubly robust estimate.

With importance weights ``rho_t`` (:mod:`selfreg_gym.off_policy.behaviour`), an outcome ``r_t`` per step (success on the
last step, or cost units), and inner sums over the episodes, in which an ended episode keeps its last weight:

    WIS  = sum_t  sum rho_t r_t / sum rho_t                                (per-decision weighted; Precup et al. 2000)
    WDR  = sum_t [ sum rho_{t-1} V(s_t) / sum rho_{t-1} + sum rho_t (r_t - Q(s_t, a_t)) / sum rho_t ]

WDR is the weighted doubly robust estimate (Jiang and Li 2016; Thomas and Brunskill 2016, eq. 8): Q is a fitted value,
``V(s) = sum_a pi(a | s) Q(s, a)``. The terms of Q cancel in expectation, so the estimate is consistent for any Q, and a
good Q reduces the variance. Q of an episode comes from other tasks (cross-fitting), so that its errors are independent
of the episode's outcome.

**Intervals.** An estimate ``sum_t N_t / D_t`` has the influence function

    psi_u = sum_t (N_{t,u} - (N_t / D_t) D_{t,u}) / D_t

for a unit u, which is a task with all its episodes, or an episode within its task. The variance is the sum of
``psi_u^2``, centred within strata (the delta method; Owen, *Monte Carlo theory*, ch. 9). The interval has Student's
quantile, and is wider if few units have most of the weight (:func:`selfreg_gym.evaluation.bootstrap.widening`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.off_policy.logged import Logged

__all__ = ["Part", "Terms", "weighted_doubly_robust", "weighted_importance_sampling"]


@dataclass(frozen=True, eq=False)
class Part:
    """One policy of a mixture from which a helper draws at the start of an episode.

    Attributes:
        share: its probability.
        policy: ``(n, 1 + K)`` its action probabilities.
        weights: ``(n,)`` its importance weights.
        q: ``(n, 1 + K, R)`` the fitted value of each action, for each of R outcomes; None if the method needs none.
    """

    share: float
    policy: np.ndarray
    weights: np.ndarray
    q: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Terms:
    """An estimate of R outcomes.

    Attributes:
        value: ``(R,)``.
        influence: ``(E, R)`` of each episode; their sum is 0.
    """

    value: np.ndarray
    influence: np.ndarray


def weighted_importance_sampling(logged: Logged, parts: list[Part]) -> Terms:
    """Per-decision weighted importance sampling of the R outcomes of ``logged``; parts are weighted by their shares."""
    return _mixed(parts, [_ratio_sum(logged, one, one.weights, one.weights[:, None] * logged.outcome) for one in parts])


def weighted_doubly_robust(logged: Logged, parts: list[Part]) -> Terms:
    """The weighted doubly robust estimate of the R outcomes; each part has its fitted values."""
    terms = []
    for part in parts:
        assert part.q is not None, "the weighted doubly robust estimate needs fitted values"
        v = np.einsum("na,nar->nr", part.policy, part.q)
        taken = np.take_along_axis(part.q, logged.action[:, None, None], axis=1)[:, 0]
        before = np.where(logged.t == 0, 1.0, np.concatenate(([1.0], part.weights[:-1])))
        predicted = _ratio_sum(logged, part, before, before[:, None] * v)
        corrected = _ratio_sum(logged, part, part.weights, part.weights[:, None] * (logged.outcome - taken))
        terms.append(Terms(predicted.value + corrected.value, predicted.influence + corrected.influence))
    return _mixed(parts, terms)


def _ratio_sum(logged: Logged, part: Part, weight: np.ndarray, numerator: np.ndarray) -> Terms:
    """``sum_t N_t / D_t`` with its influence function.

    Args:
        logged: the decisions.
        part: an ended episode keeps the last of its ``weights``.
        weight: ``(n,)`` weights of the steps, of which ``D_t`` is the sum over the episodes.
        numerator: ``(n, R)``, of which ``N_t`` is the sum over the episodes.
    """
    steps, t, episode = int(logged.t.max()) + 1, logged.t, logged.episode
    final = part.weights[logged.last]
    ended = np.bincount(t[logged.last] + 1, final, minlength=steps + 1)[:steps]
    total = np.bincount(t, weight, minlength=steps) + np.cumsum(ended)
    inverse = np.divide(1.0, total, out=np.zeros(steps), where=total > 0)
    sums = np.stack([np.bincount(t, column, minlength=steps) for column in numerator.T], axis=1)
    ratio = sums * inverse[:, None]
    per_weight = ratio * inverse[:, None]
    later = np.cumsum(per_weight[::-1], axis=0)[::-1] - per_weight  # the sum over the steps after t
    per_decision = numerator * inverse[t, None] - per_weight[t] * weight[:, None]
    influence = np.stack([np.bincount(episode, column) for column in per_decision.T], axis=1)
    influence -= final[:, None] * later[t[logged.last]]
    return Terms(ratio.sum(axis=0), influence)


def _mixed(parts: list[Part], terms: list[Terms]) -> Terms:
    shares = np.array([part.share for part in parts])
    return Terms(
        np.tensordot(shares, np.stack([one.value for one in terms]), axes=1),
        np.tensordot(shares, np.stack([one.influence for one in terms]), axes=1),
    )
