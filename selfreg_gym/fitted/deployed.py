"""Usage and success of the deployed policy, which uses the mean of the networks of all folds, on the collected tasks.

The held-out estimates of a frontier are those of the policies of single folds. The mean of all networks is less noisy,
so at the same price the deployed policy asks in other decisions, above all near a price of 0, where help is nearly
free. The usage of its actions is evaluated here as in :mod:`selfreg_gym.fitted.held_out`: on each fold, with the values
of networks that were not fitted to the fold, corrected by the fold's own episodes.

Its success cannot be evaluated in this way, because its actions were chosen by the outcomes of the same episodes: with
60 tasks of 22 episodes the result is 98 % where 88 % are observed. Success is therefore that of the held-out policies
at equal usage.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.decisions import LoggedDecisions, assign_folds
from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.fitted.held_out import FoldRows, episode_values
from selfreg_gym.fitted.refinement import interpolated, refined
from selfreg_gym.fitted.settings import Settings

__all__ = ["deployed_curve"]


def deployed_curve(frontier: FittedFrontier, decisions: LoggedDecisions) -> tuple[np.ndarray, np.ndarray] | None:
    """Usage and success of the greedy policies of a frontier without hard caps.

    Args:
        frontier: the fitted values.
        decisions: those to which it was fitted.

    Returns:
        ``(Q,)`` rising prices: those of the frontier, and others between them where the estimates jump; and float64
        ``(Q, 2)``: usage in cost units, and held-out success at this usage, in [0, 1]. None if the frontier was fitted
        to other decisions.
    """
    from selfreg_gym.fitted.networks import mean_values
    from selfreg_gym.fitted.packed import PackedInputs
    from selfreg_gym.fitted.threads import one_thread

    if frontier.caps or (frontier.decisions, frontier.episodes) != (len(decisions), decisions.episodes):
        return None
    settings = Settings(**frontier.settings)
    folds = assign_folds(decisions, folds=settings.folds, members=settings.members, seed=settings.seed)
    prices, order = frontier.prices, decisions.order
    with one_thread():
        x = PackedInputs(decisions.x)
        parts = []
        for fold, networks in enumerate(frontier.networks):
            episodes = order[folds.fold[order] == fold]
            rows = decisions.rows_of(episodes)
            data = FoldRows(
                networks.hidden_rows(x, rows), decisions.tried[rows], decisions.cost[rows], decisions.success[rows],
                decisions.last[rows],
            )  # fmt: skip
            held_out, mean = mean_values([networks], x, rows), mean_values(frontier.networks, x, rows)
            parts.append((episodes, data, data.components(), held_out, mean[0] - prices * mean[1], networks.unit))

    def terms(price: float) -> np.ndarray:
        i, j, share = interpolated(prices, price)
        result = np.empty((decisions.episodes, 2))
        for episodes, data, components, values, net, unit in parts:
            action = ((1 - share) * net[..., i] + share * net[..., j]).argmax(axis=1)
            every = np.arange(len(action))
            s, m = ((1 - share) * one[every, action, i] + share * one[every, action, j] for one in values)
            result[episodes] = episode_values(data, components, action, s, m, unit=unit)
        return result

    found, all_terms = refined(prices, terms)
    usage = np.maximum(all_terms[..., 1].mean(axis=1), 0.0)
    return found, np.stack([usage, np.clip(frontier.success_at(usage), 0.0, 1.0)], axis=1)
