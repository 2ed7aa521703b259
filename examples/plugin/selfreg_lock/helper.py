"""A helper that asks when few tries are left."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from selfreg_gym import Helper

__all__ = ["LastTries"]


class LastTries(Helper):
    """Ask the first intervention in the last tries of an episode.

    Args:
        tries: the number of tries left, up to which it asks; its knob.
    """

    label = "last tries"
    knob_bounds = (0.0, 20.0)

    def __init__(self, tries: float = 2.0) -> None:
        self.tries = tries

    @property
    def knob(self) -> float:
        """The number of tries."""
        return self.tries

    def with_knob(self, tries: float) -> LastTries:
        """The same helper with another number of tries."""
        return LastTries(tries)

    def decide(self, observations: Any, state: Any, start: Any) -> tuple[np.ndarray, Any]:
        """Ask where the observation says that few tries are left."""
        left = [re.search(r"(\d+) tries left", text) for text in observations]
        return np.array([bool(found) and int(found[1]) <= self.tries for found in left], np.int64), None
