"""What helpers with a memory share: where episodes begin, and how one row or N are answered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def begins(n: int | None, state: Any, episode_start: np.ndarray | None) -> NDArray[np.bool_]:
    """``(n,)``: the rows whose memory is empty or must be forgotten."""
    rows = 1 if n is None else n
    fresh = np.full(rows, state is None)
    return fresh if episode_start is None else fresh | np.atleast_1d(episode_start).astype(bool)


def answer(actions: NDArray[Any], n: int | None) -> Any:
    """``(n,)`` integer actions; a plain int for a single observation."""
    actions = np.asarray(actions, dtype=np.int64)
    return int(actions[0]) if n is None else actions
