"""Inputs of counts: the steps left of the episode, and the calls so far of each intervention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs.blocks import column, one_hot
from selfreg_gym.inputs.table import DecisionTable

__all__ = ["Calls", "StepsLeft"]

_MOST_STEPS = 64
"""Largest number of steps left with a column of its own."""

_MOST_CALLS = 3
"""Counts of this number and above share a column."""


class StepsLeft:
    """``steps_left``: the one-hot number, and the number divided by the largest one in fitting.

    Numbers above the largest one in fitting, or above 64, share the last one-hot column.
    """

    name: ClassVar[str] = "steps_left"

    def __init__(self, largest: int) -> None:
        self.largest = int(largest)

    @classmethod
    def fit(cls, table: DecisionTable) -> StepsLeft:
        """Find the largest number of the table.

        Raises:
            InvalidArgumentError: the task does not report steps left.
        """
        largest = int(table.steps_left.max())
        if largest < 0:
            raise InvalidArgumentError(
                "the input 'steps_left' needs info['steps_left'], and the task does not report it: leave the input "
                "out, or give the env max_episode_steps."
            )
        return cls(largest)

    @property
    def width(self) -> int:
        """One column per number from 0, and one for the scaled number."""
        return min(self.largest, _MOST_STEPS) + 2

    def encode(self, table: DecisionTable) -> np.ndarray:
        """The one-hot number, then the scaled number; zeros where steps left are unknown."""
        left = table.steps_left
        scaled = np.maximum(left, 0) / max(self.largest, 1)
        return np.concatenate([one_hot(np.minimum(left, self.width - 2), self.width - 1), column(scaled)], axis=1)

    def record(self) -> dict[str, Any]:
        """The largest number."""
        return {"largest": self.largest}

    def arrays(self) -> dict[str, np.ndarray]:
        """There are none."""
        return {}

    @classmethod
    def restored(cls, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> StepsLeft:
        """The block with this constant."""
        return cls(record["largest"])


class Calls:
    """``calls_so_far``: for each intervention the one-hot count (0, 1, 2, 3 or more) and the scaled count."""

    name: ClassVar[str] = "calls_so_far"

    def __init__(self, largest: Sequence[int]) -> None:
        self.largest = tuple(int(number) for number in largest)

    @classmethod
    def fit(cls, table: DecisionTable) -> Calls:
        """Find the largest count of each intervention in the table."""
        return cls(table.calls_so_far.max(axis=0).tolist())

    @property
    def width(self) -> int:
        """Five columns for each of K interventions."""
        return (_MOST_CALLS + 2) * len(self.largest)

    def encode(self, table: DecisionTable) -> np.ndarray:
        """The columns of the first intervention, then those of the second, and so on.

        Raises:
            InvalidArgumentError: another number of interventions than in fitting.
        """
        if table.interventions != len(self.largest):
            raise InvalidArgumentError(
                f"the input 'calls_so_far' was fitted with {len(self.largest)} interventions, and the env has "
                f"{table.interventions}: use it with the interventions of its rollouts."
            )
        parts: list[np.ndarray] = [np.zeros((len(table), 0), np.float32)]
        for k, largest in enumerate(self.largest):
            count = table.calls_so_far[:, k]
            parts += [one_hot(np.minimum(count, _MOST_CALLS), _MOST_CALLS + 1), column(count / max(largest, 1))]
        return np.concatenate(parts, axis=1)

    def record(self) -> dict[str, Any]:
        """The largest counts."""
        return {"largest": list(self.largest)}

    def arrays(self) -> dict[str, np.ndarray]:
        """There are none."""
        return {}

    @classmethod
    def restored(cls, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Calls:
        """The block with these constants."""
        return cls(record["largest"])
