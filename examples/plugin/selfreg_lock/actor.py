"""An actor that guesses any of the digits that are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym import Act, Decision

__all__ = ["Guesser"]


class Guesser:
    """Says one of the offered digits, each with the same probability."""

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Answer each decision with a draw from its own random stream."""
        return [self._act(decision) for decision in decisions]

    @staticmethod
    def _act(decision: Decision) -> Act:
        offered = decision.admissible_actions or ("0",)
        chosen = offered[int(decision.rng.integers(len(offered)))]
        return Act(chosen, logprobs=(float(-np.log(len(offered))),) * len(offered))

    def __deepcopy__(self, memo: dict[int, Any]) -> Guesser:
        return self
