"""Calls left of helpers under a hard cap: the state that counts the calls of each episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["CappedState"]


@dataclass(frozen=True, eq=False)
class CappedState:
    """The memory of a helper with a hard cap in N episodes.

    Attributes:
        draws: the coins of the episodes.
        calls: int64 ``(N,)``, calls of the episode so far.
    """

    draws: EpisodeDraws | None
    calls: NDArray[np.int64]

    @classmethod
    def at(cls, state: CappedState | None, start: NDArray[np.bool_]) -> CappedState:
        """The memory at a decision, or at the beginning of episodes, where ``start`` (N,) is True."""
        if state is None:
            return cls(None, np.zeros(len(start), np.int64))
        return cls(state.draws, np.where(start, 0, state.calls))
