"""The behaviour policy of a collection, a mixture over help probabilities, and importance weights against it.

An episode of a collection has a help probability p, drawn or assigned once: a share ``q_j`` of the episodes has
``p_j``. Given p, each step asks with probability p, one of K interventions uniformly. So a sequence of actions with m
steps of nohelp and h of help has the probability

    b(m, h) = sum_j q_j (1 - p_j)^m (p_j / K)^h

in the collection as a whole. The mixture is over whole sequences: its probability is not the product of step-wise
averages. The importance weight of the first t steps of an episode, for a helper with action probabilities pi, is

    rho_t = prod over s <= t of pi(a_s | decision s) / b(m_t, h_t).

The probabilities of the task and of the actor are the same under both policies and cancel. Weights against the mixture
instead of the episode's own p are the *balance heuristic* of multiple importance sampling (Veach and Guibas 1995): they
are unbiased for shares fixed in advance, and their variance is almost always smaller: with the own p, an episode with
p = 0.1 has a weight of up to 10^h; with the mixture, no weight exceeds 1 / b(m, h).
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.off_policy.logged import Logged

__all__ = ["importance_weights", "log_mixture", "out_of_support"]


def log_mixture(m: np.ndarray, h: np.ndarray, help_probability: np.ndarray, interventions: int) -> np.ndarray:
    """``log b(m, h)``, ``(n,)``; -inf where the sequence does not occur.

    Args:
        m, h: ``(n,)`` numbers of steps of nohelp and of help.
        help_probability: ``(E,)`` p of each episode; their shares are the ``q_j``.
        interventions: K.
    """
    from scipy.special import logsumexp, xlogy

    p, counts = np.unique(help_probability, return_counts=True)
    log_share = np.log(counts / counts.sum())
    # The counts repeat, so each pair is computed once.
    pairs, which = np.unique(np.stack([m, h], axis=1), axis=0, return_inverse=True)
    some, helped = pairs[:, :1].astype(float), pairs[:, 1:].astype(float)
    with np.errstate(divide="ignore"):
        terms = log_share + xlogy(some, 1 - p) + xlogy(helped, p / max(interventions, 1))
        return np.asarray(logsumexp(terms, axis=1))[which.reshape(-1)]


def importance_weights(logged: Logged, probability: np.ndarray) -> np.ndarray:
    """``rho_t`` of each decision, ``(n,)``.

    Args:
        logged: the decisions.
        probability: ``(n,)`` the helper's probability of the logged action.
    """
    h = logged.calls + (logged.action > 0)
    m = logged.t + 1 - h
    log_b = log_mixture(m, h, logged.help_probability, logged.interventions)
    with np.errstate(divide="ignore"):
        log_pi = np.log(probability)
    # A running sum over all episodes would keep a probability of 0, so zeros are counted apart.
    zero = np.cumsum(probability <= 0)
    finite = np.cumsum(np.where(probability > 0, log_pi, 0.0))
    first = logged.begin[logged.episode]
    before_zero = np.where(first > 0, zero[first - 1], 0)
    before = np.where(first > 0, finite[first - 1], 0.0)
    return np.where(zero > before_zero, 0.0, np.exp(finite - before - log_b))


def out_of_support(logged: Logged, policy: np.ndarray, weights: np.ndarray) -> float:
    """The probability that the helper takes, at some step, a sequence of actions that the collection never takes.

    Args:
        logged: the decisions.
        policy: ``(n, 1 + K)`` the helper's action probabilities.
        weights: ``(n,)`` of :func:`importance_weights`.
    """
    h, t = logged.calls, logged.t
    stays = np.isfinite(log_mixture(t + 1 - h, h, logged.help_probability, logged.interventions))
    asks = np.isfinite(log_mixture(t - h, h + 1, logged.help_probability, logged.interventions))
    leaves = np.where(stays, 0.0, policy[:, 0]) + np.where(asks, 0.0, policy[:, 1:].sum(axis=1))
    before = np.where(t > 0, np.concatenate(([1.0], weights[:-1])), 1.0)
    return float((before * leaves).sum() / logged.episodes)
