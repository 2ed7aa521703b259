"""Held-out values of deep averagers: the policies of the other folds' decisions are evaluated on each fold.

The largest of several noisy values is optimistic, so the frontier of a model has more success than its policies attain.
Here the model of the other folds chooses the actions at the decisions of a fold and predicts their values; the episodes
of the fold correct the predictions (:mod:`selfreg_gym.fitted.held_out`). The model depends on neither the tasks nor the
outcomes of the fold, unless the representation was learned from them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.averagers.model import AveragerModel
from selfreg_gym.averagers.values import ValueTables, action_values
from selfreg_gym.fitted.estimates import Estimates, estimate
from selfreg_gym.fitted.held_out import FoldRows, episode_values

__all__ = ["held_out_estimates"]


def held_out_estimates(
    model: AveragerModel, prices: NDArray[np.float64], *, progress: Callable[[int], None] | None = None
) -> Estimates:
    """Estimate success and usage of the greedy policies of the prices and of the constant policies.

    Args:
        model: with at least two folds.
        prices: ``(P,)`` rising, success per cost unit.
        progress: called with the number of policies done, of F (P + 1 + K).
    """
    given = model.decisions
    policies = len(prices) + given.actions
    terms = np.zeros((2, given.episodes, policies))
    unit = float(given.cost[given.action > 0].mean()) if (given.action > 0).any() else 1.0
    done = 0
    for fold in range(model.folds):
        others = [other for other in range(model.folds) if other != fold]
        rows = model.rows([fold])
        S, M = action_values(model.neighbours_of(rows, others), ValueTables.solve(model, prices, folds=others))
        greedy = (S - prices[:, None].astype(np.float32) * M).argmax(axis=2)
        data = FoldRows(model.points[rows], given.action[rows], given.cost[rows], given.success[rows], given.last[rows])
        components = data.components()
        episodes = given.episode[rows][data.last]
        for p in range(policies):
            if p < len(prices):
                action, q = greedy[:, p], p
            else:  # constant policies: never uses the values at the highest price, always those at the lowest
                action = np.full(len(rows), p - len(prices))
                q = len(prices) - 1 if p == len(prices) else 0
            at = np.arange(len(rows)), q, action
            found = episode_values(data, components, action, S[at], M[at], unit=unit if unit > 0 else 1.0)
            terms[:, episodes, p] = found.T
            done += 1
            if progress is not None:
                progress(done)
    order = given.order
    return estimate(terms[0][order], terms[1][order], prices=prices, seed=model.seed)
