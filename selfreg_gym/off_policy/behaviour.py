"""The behaviour policies of a collection, and importance weights against them.

Each stored decision has the probability with which the collection drew each action (``Transition.propensities``). An
episode of a collection with random help has the same probabilities ``b_j(a)`` at all of its decisions: those of its
help probability p and of the shares of the interventions. A share ``q_j`` of the episodes has ``b_j``. So a sequence of
actions in which action a occurs ``n_a`` times has the probability

    b(n) = sum_j q_j prod_a b_j(a)^{n_a}

in the collection as a whole. The mixture is over whole sequences: its probability is not the product of step-wise
averages. The importance weight of the first t steps of an episode, for a helper with action probabilities pi, is

    rho_t = prod over s <= t of pi(a_s | decision s) / b(n_t).

The probabilities of the task and of the actor are the same under both policies and cancel. Weights against the mixture
instead of the episode's own probabilities are the *balance heuristic* of multiple importance sampling (Veach and Guibas
1995). They are unbiased for shares fixed in advance, and their variance is almost always smaller. For example, an
episode of h steps with p = 0.1 has a weight of up to 10^h against its own probabilities, and of at most 1 / b(n)
against the mixture.

Where the probabilities of an episode differ between its decisions (a wrapper masked actions), those of the other
episodes at the same decision are unknown. Then the denominator is the product of the episode's own probabilities.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.off_policy.logged import Logged

__all__ = ["importance_weights", "log_mixture", "out_of_support"]


def log_mixture(counts: np.ndarray, behaviours: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """``log b(n)``, ``(n,)``; -inf where the sequence does not occur.

    Args:
        counts: ``(n, A)`` how often each action occurs.
        behaviours: ``(J, A)`` probabilities of the actions of each behaviour.
        shares: ``(J,)`` the ``q_j``.
    """
    from scipy.special import logsumexp, xlogy

    # The counts repeat, so each row is computed once.
    rows, which = np.unique(counts, axis=0, return_inverse=True)
    with np.errstate(divide="ignore"):
        terms = np.log(shares) + xlogy(rows[:, None, :].astype(float), behaviours).sum(axis=2)
        return np.asarray(logsumexp(terms, axis=1))[which.reshape(-1)]


def importance_weights(logged: Logged, probability: np.ndarray) -> np.ndarray:
    """``rho_t`` of each decision, ``(n,)``.

    Args:
        logged: the decisions.
        probability: ``(n,)`` the helper's probability of the logged action.
    """
    if logged.stationary:
        log_b = log_mixture(logged.counts + _one_hot(logged), *logged.behaviours)
    else:
        own = logged.propensity[np.arange(len(logged.action)), logged.action]
        log_b = _running(logged, np.log(own))
    with np.errstate(divide="ignore"):
        log_pi = np.log(probability)
    # A running sum over all episodes would keep a probability of 0, so zeros are counted apart.
    zero = _running(logged, (probability <= 0).astype(float))
    finite = _running(logged, np.where(probability > 0, log_pi, 0.0))
    return np.where(zero > 0, 0.0, np.exp(finite - log_b))


def out_of_support(logged: Logged, policy: np.ndarray, weights: np.ndarray) -> float:
    """The probability that the helper takes, at some step, a sequence of actions that the collection never takes.

    Args:
        logged: the decisions.
        policy: ``(n, 1 + K)`` the helper's action probabilities.
        weights: ``(n,)`` of :func:`importance_weights`.
    """
    leaves = np.zeros(len(policy))
    for action in range(policy.shape[1]):
        if logged.stationary:
            after = logged.counts.copy()
            after[:, action] += 1
            taken = np.isfinite(log_mixture(after, *logged.behaviours))
        else:
            taken = logged.propensity[:, action] > 0
        leaves += np.where(taken, 0.0, policy[:, action])
    before = np.where(logged.t > 0, np.concatenate(([1.0], weights[:-1])), 1.0)
    return float((before * leaves).sum() / logged.episodes)


def _one_hot(logged: Logged) -> np.ndarray:
    return np.eye(1 + logged.interventions, dtype=np.int64)[logged.action]


def _running(logged: Logged, values: np.ndarray) -> np.ndarray:
    """``(n,)`` sums within each episode up to each decision."""
    sums = np.cumsum(values)
    first = logged.begin[logged.episode]
    return sums - np.where(first > 0, sums[first - 1], 0.0)
