"""Always ask the same intervention: the upper end of the usage axis in every comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import deprecated_k
from selfreg_gym.agents.helpers._choice import AsksOne

__all__ = ["Always"]


class Always(AsksOne):
    """Ask ``intervention`` at every step.

    Args:
        intervention: which one: a number from 1, or its name. Default: the first.
        k: deprecated name of ``intervention``.

    Raises:
        InvalidArgumentError: ``intervention`` is neither a number from 1 nor a name.
    """

    role, reference, label, marker, colour = "baseline", "upper", "always", "o", "black"

    def __init__(self, *, intervention: int | str | None = None, k: int | None = None) -> None:
        super().__init__(deprecated_k(intervention, k, 1))

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Help for every observation."""
        return self.ask_where(np.ones(len(start), dtype=bool)), state

    def __repr__(self) -> str:
        return f"Always(intervention={self.intervention!r})"
