"""Targets of fitted Q-iteration: the regression targets of success and usage at each decision.

For the greedy policy at a price, with values S and M at the next decision under its action ``a*``, the one-step
targets are ``success + S(s', a*)`` and ``cost + M(s', a*)``. The targets with trace ``lam`` follow the logged episode
for as long as its actions are those of the policy:

    T_t = r_t + (1 - lam * agree_{t+1}) V(s_{t+1}) + lam * agree_{t+1} T_{t+1},

where ``agree`` is 1 if the logged action is the greedy one. This is tree backup for a deterministic policy (Precup,
Sutton and Singh 2000), also known as Watkins's Q(lambda). No importance weights are needed: from the first logged
action that is not the policy's, the target uses the policy's values. ``lam = 0`` is the bootstrapped target;
``lam = 1`` is the Monte-Carlo return of the logged episode up to that action, and a bootstrapped value from there on.

Where the inputs hide part of the state, values of the next input are biased. A large ``lam`` depends less on them.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.isotonic import non_increasing

__all__ = ["Backward", "chosen", "greedy", "policy_values", "trace_targets"]


def greedy(success: np.ndarray, usage: np.ndarray, prices: np.ndarray, closed: np.ndarray | None = None) -> np.ndarray:
    """``(n, P)`` int8 actions with the largest S - r M, for ``(n, A, P)`` values; ties go to the smaller action.

    ``closed`` ``(n,)`` is True where only nohelp is possible.
    """
    action = (success - prices * usage).argmax(axis=1).astype(np.int8)
    if closed is not None:
        action[closed] = 0
    return action


def chosen(values: np.ndarray, action: np.ndarray) -> np.ndarray:
    """``(n, P)`` values of the actions ``(n, P)``, from ``(n, A, P)``."""
    return np.take_along_axis(values, action[:, None].astype(np.int64), axis=1)[:, 0]


class Backward:
    """The rows of episodes by their distance from the end, for recursions from the end to the beginning.

    Args:
        length: ``(E,)`` lengths of episodes whose rows follow each other.
    """

    def __init__(self, length: np.ndarray) -> None:
        ends = np.cumsum(length) - 1
        by_length = np.argsort(-length, kind="stable")
        counts = len(length) - np.searchsorted(np.sort(length), np.arange(1, int(length.max()) + 1), side="left")
        self.rows = [ends[by_length[:count]] - distance for distance, count in enumerate(counts)]


def trace_targets(
    reward: np.ndarray, value: np.ndarray, agree: np.ndarray, backward: Backward, *, trace: float
) -> np.ndarray:
    """``(n, P)`` targets of one quantity.

    Args:
        reward: ``(n,)`` success or cost of each step.
        value: ``(n, P)`` the policy's values at each row's own input.
        agree: ``(n, P)`` bool, whether the logged action of each row is the policy's.
        backward: of the episodes' lengths.
        trace: lam, from 0 to 1.
    """
    targets = np.empty_like(value)
    last = backward.rows[0]
    targets[last] = reward[last, None]
    for rows in backward.rows[1:]:
        after = rows + 1
        onward = value[after]
        if trace > 0:
            onward = onward + (trace * agree[after]) * (targets[after] - onward)
        targets[rows] = reward[rows, None] + onward
    return targets


def policy_values(
    success: np.ndarray, usage: np.ndarray, prices: np.ndarray, closed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Greedy actions, and their success and usage as sequences that do not rise with the price, ``(n, P)`` each."""
    action = greedy(success, usage, prices, closed)
    return action, non_increasing(chosen(success, action)), non_increasing(chosen(usage, action))
