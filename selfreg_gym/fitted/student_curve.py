"""Usage and success of a student's policies, estimated from the rollouts by linear fitted-Q evaluation."""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.held_out import FoldRows, episode_values

__all__ = ["student_curve"]


def student_curve(decisions: LoggedDecisions, values: tuple[np.ndarray, np.ndarray], actions: np.ndarray) -> np.ndarray:
    """Usage and success of P policies on the tasks of the rollouts.

    The teacher's values of the policy's actions are corrected by the temporal differences of the rollouts
    (:mod:`selfreg_gym.fitted.held_out`). Teacher and student were fitted to the same rollouts, so the estimates are
    slightly optimistic.

    Args:
        decisions: the n decisions.
        values: the teacher's success and usage, each ``(n, P, K + 1)``.
        actions: ``(n, P)`` the action of each policy.

    Returns:
        float64 ``(P, 2)``: usage in cost units, and success in [0, 1].
    """
    success, usage = values
    n, grid, _ = success.shape
    unit = float(usage.std()) or 1.0
    hidden = np.concatenate([success.reshape(n, -1), usage.reshape(n, -1) / unit], axis=1)
    ending = decisions.success.astype(np.float32)
    rows = FoldRows(hidden, decisions.action, decisions.cost, ending, decisions.last)
    components = rows.components()
    found, every = np.zeros((grid, 2)), np.arange(n)
    for i in range(grid):
        chosen = actions[:, i]
        terms = episode_values(rows, components, chosen, success[every, i, chosen], usage[every, i, chosen], unit=unit)
        won, used = terms.mean(axis=0)
        found[i] = max(float(used), 0.0), float(np.clip(won, 0.0, 1.0))
    return found
