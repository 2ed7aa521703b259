"""Held-out usage and success of the policies of a fitted frontier, with bootstrap replicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.fitted.isotonic import non_increasing
from selfreg_gym.utils.random_streams import BOOTSTRAP, stream

__all__ = ["Estimates", "estimate"]

REPLICATES = 400


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of Q + 1 + K policies: greedy at each of Q rising prices, never asking, always asking intervention k.

    Attributes:
        success, usage: ``(Q + 1 + K,)`` held-out E[S], and E[M] in cost units. Those of the greedy policies are
            projected to sequences that do not rise with the price.
        success_replicates, usage_replicates: ``(B, Q + 1 + K)`` the same for bootstrap samples of the episodes.
        prices: ``(Q,)`` those of the values, and others between them (:mod:`selfreg_gym.fitted.refinement`).
    """

    success: np.ndarray
    usage: np.ndarray
    success_replicates: np.ndarray
    usage_replicates: np.ndarray
    prices: np.ndarray

    @property
    def never(self) -> int:
        """Index of the policy that never asks, which is Q."""
        return len(self.prices)

    def best_always(self) -> int:
        """Index of the constant policy with the largest success among those that always ask."""
        return self.never + 1 + int(np.argmax(self.success[self.never + 1 :]))

    def interval(self, weights: np.ndarray, *, of: str) -> tuple[float, float]:
        """95 % interval of a mixture, ``weights`` ``(Q + 1 + K,)``, of ``"success"`` or ``"usage"``."""
        replicates = self.success_replicates if of == "success" else self.usage_replicates
        low, high = np.quantile(replicates @ weights, [0.025, 0.975])
        return float(low), float(high)


def estimate(
    success: np.ndarray, usage: np.ndarray, *, prices: np.ndarray, seed: int, most: float = np.inf
) -> Estimates:
    """Means over episodes, and over bootstrap samples of them.

    Args:
        success, usage: ``(E, Q + 1 + K)`` terms of each episode, sorted by :attr:`LoggedDecisions.order`, so that the
            bootstrap does not depend on the order of the data.
        prices: ``(Q,)`` rising.
        seed: seed of the bootstrap.
        most: the largest possible usage of an episode, in cost units.
    """
    episodes = len(success)
    rng = stream(BOOTSTRAP, seed, 0xF17)
    terms = np.concatenate([success, usage], axis=1)
    equal = np.full(episodes, 1 / episodes)
    samples = [rng.multinomial(episodes, equal) @ terms / episodes for _ in range(REPLICATES)]
    found = np.maximum([terms.mean(axis=0), *samples], 0.0)
    s, m = np.minimum(found[:, : success.shape[1]], 1.0), np.minimum(found[:, success.shape[1] :], most)
    for one in (s, m):
        one[:, : len(prices)] = non_increasing(one[:, : len(prices)])
    return Estimates(s[0], m[0], s[1:], m[1:], prices)
