"""The global random generators of Python and NumPy, replaced by those of one game while it runs."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["GlobalRandom"]


@dataclass
class GlobalRandom:
    """The states of the global generators for one game.

    Attributes:
        python: state of ``random``.
        numpy: state of ``np.random``.
    """

    python: Any
    numpy: Any

    @classmethod
    def seeded(cls, seed: int) -> GlobalRandom:
        """The states after ``random.seed(seed)`` and ``np.random.seed(seed % 2**32)``."""
        return cls(
            random.Random(seed).getstate(),
            np.random.RandomState(seed % 2**32).get_state(legacy=False),
        )

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Set the global generators to these states. Afterwards keep their new states here and restore the old ones."""
        before = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        try:
            yield
        finally:
            self.python, self.numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
