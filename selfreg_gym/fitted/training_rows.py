"""``TrainingRows``: the decisions to which the networks of one fold are fitted in one round.

A round uses all of them, or whole episodes drawn at random if there are more than ``Settings.rows``. Each round draws
other episodes, so the time of a round is bounded, and all episodes are used in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.fitted.decisions import Folds, LoggedDecisions
from selfreg_gym.fitted.targets import Backward

__all__ = ["TrainingRows", "drawn_episodes"]


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """m decisions of whole episodes, episode by episode.

    Attributes:
        rows: ``(m,)`` their rows in the data.
        part: ``(m,)`` int8 part of the episode (:class:`selfreg_gym.fitted.decisions.Folds`).
        backward: of the lengths of the episodes.
        success: ``(m,)`` float32 success of each step.
        cost: ``(m,)`` float32 cost of each step, in units of usage.
        action: ``(m,)`` logged actions.
        cut: ``(m,)`` bool, decisions that are excluded from training.
        closed: ``(m,)`` bool, True where only nohelp is possible; None: nowhere.
    """

    rows: np.ndarray
    part: np.ndarray
    backward: Backward
    success: np.ndarray
    cost: np.ndarray
    action: np.ndarray
    cut: np.ndarray
    closed: np.ndarray | None

    @classmethod
    def of(cls, decisions: LoggedDecisions, folds: Folds, episodes: np.ndarray, unit: float) -> TrainingRows:
        """The decisions of some episodes; ``unit`` is the unit of usage, in cost units."""
        rows, length = decisions.rows_of(episodes), decisions.length[episodes]
        return cls(
            rows=rows,
            part=np.repeat(folds.part[episodes], length).astype(np.int8),
            backward=Backward(length),
            success=decisions.success[rows].astype(np.float32),
            cost=decisions.cost[rows] / np.float32(unit),
            action=decisions.action[rows],
            cut=decisions.cut[rows],
            closed=None if decisions.closed is None else decisions.closed[rows],
        )

    def __len__(self) -> int:
        return len(self.rows)


def drawn_episodes(length: np.ndarray, part: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray | None:
    """Episodes drawn at random without replacement, with about ``most`` decisions, an equal share of each part.

    Args:
        length: ``(E,)`` decisions of each episode.
        part: ``(E,)`` the part of each episode.
        most: largest number of decisions; each part has at least one episode, whatever its length.
        rng: random generator.

    Returns:
        Rising positions in these arrays; None if all episodes together have at most ``most`` decisions.
    """
    if int(length.sum()) <= most:
        return None
    parts = np.unique(part)
    found = []
    for one in parts:
        own = rng.permutation(np.flatnonzero(part == one))
        count = int(np.searchsorted(np.cumsum(length[own]), most // len(parts), side="right"))
        found.append(own[: max(count, 1)])
    return np.sort(np.concatenate(found))
