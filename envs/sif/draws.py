"""Uniform random numbers from an env's ``np_random``, drawn in blocks of 32.

A call of ``Generator.random()`` takes longer than the physics of a step, and a block of numbers little longer than one
number. The unused rest of the block is part of the random state, so a snapshot includes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Draws"]

_BLOCK = 32


class Draws:
    """A source of numbers: each call returns the next one in [0, 1)."""

    __slots__ = ("_at", "_block", "_generator")

    def __init__(self, generator: Callable[[], np.random.Generator]) -> None:
        """``generator`` returns the random generator; it is called when the first number is drawn."""
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
        """Discard the rest of the block."""
        self._block, self._at = [], 0

    def state(self) -> Any:
        """The rest of the block."""
        return tuple(self._block[self._at :])

    def set_state(self, state: Any) -> None:
        """Continue with the rest of a block, from ``state``."""
        self._block, self._at = list(state), 0
