"""Never ask: the actor alone. The lower end of the usage axis in every comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.helper import Helper

__all__ = ["Never"]


class Never(Helper):
    """Nohelp at every step."""

    role, reference, label, marker, colour = "baseline", "lower", "never", "o", "black"

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Nohelp for every observation."""
        return np.zeros(len(start), dtype=np.int64), state
