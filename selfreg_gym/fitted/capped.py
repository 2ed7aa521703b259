"""Hard caps on the calls of an episode: the calls left are inputs, for all caps from 1 to c.

Under a cap the state is (s, h) with h calls left; at h = 0 only nohelp is possible, as in the exact solver for caps.
Each logged episode is used once for each cap, up to the first call that the cap does not allow. The episode is cut at
this decision, and the value of the decision is that of nohelp.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.decisions import LoggedDecisions

__all__ = ["calls_left_inputs", "with_caps"]


def with_caps(decisions: LoggedDecisions, cap: int) -> tuple[LoggedDecisions, np.ndarray]:
    """The decisions under each cap from 1 to ``cap``.

    Returns:
        The decisions, whose inputs end with the ``cap + 1`` columns of :func:`calls_left_inputs`, and the cap of each
        of their episodes.
    """
    asked = (decisions.action > 0).astype(np.int64)
    calls = np.cumsum(asked) - asked
    calls -= np.repeat(calls[decisions.first], decisions.length)
    parts, caps = [], []
    for most in range(1, cap + 1):
        rows = np.flatnonzero(calls <= most)  # each episode up to the first call that the cap does not allow
        parts.append((rows, most - calls[rows]))
        caps.append(np.full(decisions.episodes, most))
    rows, left = (np.concatenate(one) for one in zip(*parts, strict=True))
    episode = np.concatenate(
        [decisions.episode[own] + (most - 1) * decisions.episodes for most, (own, _) in enumerate(parts, 1)]
    )
    last = np.r_[episode[1:] != episode[:-1], True]
    closed = left == 0
    cut = closed & (decisions.action[rows] > 0)
    return (
        LoggedDecisions(
            calls_left_inputs(decisions.x[rows], left, cap), decisions.action[rows], decisions.cost[rows], last,
            decisions.success[rows] & ~cut, np.tile(decisions.task, cap), actions=decisions.actions, closed=closed,
            aborted=None if decisions.aborted is None else decisions.aborted[rows],
        ),
        np.concatenate(caps),
    )  # fmt: skip


def calls_left_inputs(x: np.ndarray, left: np.ndarray, cap: int) -> np.ndarray:
    """``(n, D + cap + 1)``: the inputs ``(n, D)`` and the one-hot number of calls left, from 0 to ``cap``."""
    result = np.zeros((len(x), x.shape[1] + cap + 1), np.float32)
    result[:, : x.shape[1]] = x
    result[np.arange(len(x)), x.shape[1] + np.clip(left, 0, cap)] = 1
    return result
