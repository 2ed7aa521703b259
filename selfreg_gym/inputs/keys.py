"""Inputs of keys: the one-hot state key, and the one-hot feature key with the feature vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs.blocks import Scale, one_hot
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.store.columns import Coded

__all__ = ["Features", "StateKeys"]

_MOST_KEYS = 2048
"""Largest number of keys with a column of their own; rarer keys are all zero."""


class _Keys:
    """The keys that have a column of their own, in the order of the columns."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self._index = {key: i for i, key in enumerate(self.keys)}

    @classmethod
    def of(cls, column: Coded) -> _Keys:
        """The most frequent keys, at most 2,048, sorted, so that the order of the rows does not matter."""
        used, counts = np.unique(column.codes[column.codes >= 0], return_counts=True)
        ranked = sorted((-count, column.values[code]) for code, count in zip(used, counts.tolist(), strict=True))
        return cls(sorted(key for _, key in ranked[:_MOST_KEYS]))

    def one_hot(self, column: Coded) -> np.ndarray:
        """float32 ``(n, keys)``; all zero for a missing or unknown key."""
        place = np.array([*(self._index.get(key, -1) for key in column.values), -1], np.int64)[column.codes]
        return one_hot(place, len(self.keys))


class StateKeys:
    """``state``: the one-hot state key."""

    name: ClassVar[str] = "state"

    def __init__(self, keys: _Keys) -> None:
        self._keys = keys

    @classmethod
    def fit(cls, table: DecisionTable) -> StateKeys:
        """Find the state keys of the table."""
        return cls(_Keys.of(table.state_key))

    @property
    def width(self) -> int:
        """Number of keys."""
        return len(self._keys.keys)

    def encode(self, table: DecisionTable) -> np.ndarray:
        """One-hot state keys."""
        return self._keys.one_hot(table.state_key)

    def record(self) -> dict[str, Any]:
        """The keys."""
        return {"keys": list(self._keys.keys)}

    def arrays(self) -> dict[str, np.ndarray]:
        """There are none."""
        return {}

    @classmethod
    def restored(cls, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> StateKeys:
        """The block with these keys."""
        return cls(_Keys(record["keys"]))


class Features:
    """``features``: the one-hot feature key, and the standardised feature vector where the task has one."""

    name: ClassVar[str] = "features"

    def __init__(self, keys: _Keys, scale: Scale | None) -> None:
        self._keys, self._scale = keys, scale

    @classmethod
    def fit(cls, table: DecisionTable) -> Features:
        """Find the feature keys of the table, and the scale of its feature vectors.

        Raises:
            InvalidArgumentError: the task reports neither.
        """
        keys = _Keys.of(table.feature_key)
        if not keys.keys and table.feature_vector is None:
            raise InvalidArgumentError(
                "the input 'features' needs info['feature_key'] or info['feature_vector'], and the task reports "
                "neither: leave the input out, or use 'embedding'."
            )
        return cls(keys, None if table.feature_vector is None else Scale.of(table.feature_vector, smallest=0.0))

    @property
    def width(self) -> int:
        """Number of keys, plus the length of the vector."""
        return len(self._keys.keys) + (0 if self._scale is None else len(self._scale.mean))

    def encode(self, table: DecisionTable) -> np.ndarray:
        """One-hot keys, then the vector.

        Raises:
            InvalidArgumentError: the vectors are missing, or have another length than in fitting.
        """
        keys = self._keys.one_hot(table.feature_key)
        if self._scale is None:
            return keys
        vectors = table.feature_vector
        if vectors is None or vectors.shape[1] != len(self._scale.mean):
            received = "none" if vectors is None else f"vectors of length {vectors.shape[1]}"
            raise InvalidArgumentError(
                f"the input 'features' was fitted to feature vectors of length {len(self._scale.mean)}, received "
                f"{received}: use it with the task of its rollouts, made with the same arguments."
            )
        return np.concatenate([keys, self._scale(vectors)], axis=1)

    def record(self) -> dict[str, Any]:
        """The keys."""
        return {"keys": list(self._keys.keys)}

    def arrays(self) -> dict[str, np.ndarray]:
        """The scale of the vectors."""
        return {} if self._scale is None else self._scale.arrays()

    @classmethod
    def restored(cls, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Features:
        """The block with these constants."""
        return cls(_Keys(record["keys"]), Scale.restored(arrays) if arrays else None)
