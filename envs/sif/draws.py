"""Uniform numbers from an env's ``np_random``, drawn in blocks.

A call of ``Generator.random()`` costs more than the whole physics of a step; a block of 32 costs little more than one.
The block and the position in it belong to the random state, and a snapshot keeps both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Draws"]

_BLOCK = 32


class Draws:
    """Call it for the next number in [0, 1)."""

    __slots__ = ("_at", "_block", "_generator")

    def __init__(self, generator: Callable[[], np.random.Generator]) -> None:
        """``generator`` is asked for the random generator when the first number is drawn, not before."""
        self._generator = generator
        self._block: list[float] = []
        self._at = 0

    def __call__(self) -> float:
        """The next number."""
        at = self._at
        if at == len(self._block):
            self._block, at = self._generator().random(_BLOCK).tolist(), 0
        self._at = at + 1
        return self._block[at]

    def clear(self) -> None:
        """Forget what is left of the block; the next number comes fresh from the generator."""
        self._block, self._at = [], 0

    def state(self) -> Any:
        """The rest of the block."""
        return tuple(self._block[self._at :])

    def set_state(self, state: Any) -> None:
        """Take up a rest that ``state`` gave."""
        self._block, self._at = list(state), 0
