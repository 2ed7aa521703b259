"""``HeldOut``: the policies of the networks of each fold, evaluated on the episodes of the fold."""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.ensemble import Ensemble
from selfreg_gym.fitted.held_out import episode_values
from selfreg_gym.fitted.refinement import interpolated, refined

__all__ = ["HeldOut"]


class HeldOut:
    """Held-out success and usage of greedy and of constant policies.

    Args:
        ensembles: the networks of all folds, at the same prices.
    """

    def __init__(self, ensembles: list[Ensemble]) -> None:
        self.ensembles = ensembles
        self.prices = ensembles[0].prices
        self.held_out = [ensemble.held_out for ensemble in ensembles]
        held_out = list(zip(ensembles, self.held_out, strict=True))
        self.values = [ensemble.values_at(rows) for ensemble, rows in held_out]  # (n, A, P) each
        self.rows = [ensemble.fold_rows(rows) for ensemble, rows in held_out]
        self.components = [rows.components() for rows in self.rows]

    def terms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The evaluated prices ``(Q,)``, and the terms of success and usage, ``(E, Q + 1 + K)`` each.

        The columns are the greedy policies at these prices, never asking, and always asking intervention k.
        """
        prices, greedy = refined(self.prices, self.at_price)
        actions = self.ensembles[0].decisions.actions
        terms = np.concatenate([greedy, [self.constant(action) for action in range(actions)]])
        success, usage = np.ascontiguousarray(terms.transpose(2, 1, 0))
        usage[:, len(prices)] = 0.0  # never asking costs nothing
        return prices, success, usage

    def at_price(self, price: float) -> np.ndarray:
        """``(E, 2)`` terms of the policy that is greedy at a price; between two prices, gains are interpolated."""
        i, j, share = interpolated(self.prices, price)
        weights = np.zeros(len(self.prices), np.float32)
        weights[i], weights[j] = 1 - share, share
        actions = []
        for success, usage in self.values:
            low, high = (success[..., at] - self.prices[at] * usage[..., at] for at in (i, j))
            actions.append(((1 - share) * low + share * high).argmax(axis=1))
        return self._evaluated(actions, weights)

    def constant(self, action: int) -> np.ndarray:
        """``(E, 2)`` terms of the policy that takes one action always, if it is possible."""
        weights = np.zeros(len(self.prices), np.float32)
        weights[-1 if action == 0 else 0] = (
            1.0  # never uses the values at the highest price, always those at the lowest
        )
        return self._evaluated([np.full(len(success), action) for success, _ in self.values], weights)

    def _evaluated(self, actions: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """The terms of a policy with these actions on each fold; the values are a mean over the prices."""
        decisions = self.ensembles[0].decisions
        result = np.empty((decisions.episodes, 2))
        for f, ensemble in enumerate(self.ensembles):
            action, rows = actions[f], self.rows[f]
            if (closed := ensemble.closed_at(self.held_out[f])) is not None:
                action = np.where(closed, 0, action)
            at = np.arange(len(action))
            success, usage = (part[at, action] @ weights for part in self.values[f])
            result[ensemble.held_out_episodes] = episode_values(
                rows, self.components[f], action, success, usage, unit=ensemble.networks.unit
            )
        return result
