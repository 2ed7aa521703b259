"""Usage and success of a student's policies, estimated from the rollouts by linear fitted-Q evaluation."""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.held_out import FoldRows, episode_values
from selfreg_gym.fitted.refinement import interpolated, refined

__all__ = ["student_curve"]


def student_curve(
    decisions: LoggedDecisions, values: tuple[np.ndarray, np.ndarray], gains: np.ndarray, prices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Usage and success of a student's policies on the tasks of the rollouts.

    The teacher's values of the policy's actions are corrected by the temporal differences of the rollouts
    (:mod:`selfreg_gym.fitted.held_out`). Teacher and student were fitted to the same rollouts, so the estimates are
    slightly optimistic.

    Args:
        decisions: the n decisions.
        values: the teacher's success and usage, each ``(n, P, K + 1)``.
        gains: ``(n, P, K)`` the student's gains S - r M of help; where none is positive, it does not ask.
        prices: ``(P,)`` rising.

    Returns:
        ``(Q,)`` rising prices: those of the student, and others between them where the estimates jump; and float64
        ``(Q, 2)``: usage in cost units, and success in [0, 1].
    """
    success, usage = values
    n = len(success)
    unit = float(usage.std()) or 1.0
    hidden = np.concatenate([success.reshape(n, -1), usage.reshape(n, -1) / unit], axis=1)
    ending = decisions.success.astype(np.float32)
    rows = FoldRows(hidden, decisions.action, decisions.cost, ending, decisions.last)
    components, every = rows.components(), np.arange(n)

    def terms(price: float) -> np.ndarray:
        i, j, share = interpolated(prices, price)
        gain = (1 - share) * gains[:, i] + share * gains[:, j]
        chosen = np.where(gain.max(axis=1) > 0, gain.argmax(axis=1) + 1, 0)
        s, m = ((1 - share) * value[every, i, chosen] + share * value[every, j, chosen] for value in values)
        return episode_values(rows, components, chosen, s, m, unit=unit)

    found, all_terms = refined(np.asarray(prices, np.float64), terms)
    won, used = all_terms.mean(axis=1).T
    return found, np.stack([np.maximum(used, 0.0), np.clip(won, 0.0, 1.0)], axis=1)
