"""Shared by helpers with a memory or with draws: where episodes begin, and answers for one row or N."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.intervention_env.building import check_seed

__all__ = ["answer", "begins", "checked_seed"]


def begins(n: int | None, state: Any, episode_start: np.ndarray | None) -> NDArray[np.bool_]:
    """``(n,)``: the rows whose memory is empty or must be forgotten."""
    rows = 1 if n is None else n
    fresh = np.full(rows, state is None)
    return fresh if episode_start is None else fresh | np.atleast_1d(episode_start).astype(bool)


def answer(actions: NDArray[Any], n: int | None) -> Any:
    """``(n,)`` integer actions; a plain int for a single observation."""
    actions = np.asarray(actions, dtype=np.int64)
    return int(actions[0]) if n is None else actions


def checked_seed(seed: Any) -> int:
    """Return the seed of a helper's draws: an integer of at least 0.

    Raises:
        InvalidArgumentError: anything else.
    """
    value = check_seed(seed)
    if value is None:
        raise InvalidArgumentError("the seed of a helper's draws must be an integer of at least 0, received None.")
    return value
