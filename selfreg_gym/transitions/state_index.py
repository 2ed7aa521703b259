"""``StateIndex``: the states of a transition model by their keys."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import Any

from selfreg_gym.transitions.description import Fitted

__all__ = ["StateIndex", "timed_key"]


def timed_key(key: Any, bucket: int) -> str:
    """The key of a state with its bucket of steps left, or with the number of steps left."""
    return f"{key} [time {bucket}]"


class StateIndex:
    """Finds states by key.

    Args:
        keys: those of the nodes; empty: none are known.
        fitted: the description of the data, which says what the keys are; None for a model built from arrays.
        levels: number of steps left of a levelled model, 1 for a flat one.
    """

    def __init__(self, keys: Sequence[Hashable], fitted: Fitted | None, levels: int) -> None:
        self.nodes, self.levels = len(keys), levels
        self._edges: Sequence[int] | None = None if fitted is None else fitted.settings.get("time_edges")
        self._states: dict[Hashable, int] = {}
        self._features: dict[Hashable, int] = {}
        for i, key in enumerate(keys):
            of_feature = fitted is not None and bool(fitted.is_feature[i])
            (self._features if of_feature else self._states)[key] = i

    def node(self, key: Hashable, *, of_feature: bool = False) -> int:
        """The node of a state key, or of a feature key; -1 if it is unknown."""
        return (self._features if of_feature else self._states).get(key, -1)

    def locate(self, state_key: Hashable, feature_key: Hashable, steps_left: int | None) -> int:
        """The index of a state; :meth:`selfreg_gym.TransitionModel.locate` explains the arguments."""
        if self._edges is not None:
            return self._locate_timed(state_key, feature_key, self._edges, steps_left)
        node = self._states.get(state_key, -1)
        if node < 0 and steps_left is not None and self.levels == 1:
            node = self._states.get(timed_key(state_key, int(steps_left)), -1)
        if node < 0 and feature_key is not None:
            node = self._features.get(feature_key, -1)
        if node < 0 or self.levels == 1:
            return node
        level = self.levels if steps_left is None else min(max(int(steps_left), 1), self.levels)
        return (level - 1) * self.nodes + node

    def _locate_timed(self, state_key: Any, feature_key: Any, edges: Sequence[int], steps_left: int | None) -> int:
        """The node of a key with its bucket of steps left.

        A key that has no node in the bucket of ``steps_left`` (None: the last bucket) has that of the nearest bucket.
        """
        bucket = len(edges) if steps_left is None else bisect_left(edges, steps_left)
        for other in sorted(range(len(edges) + 1), key=lambda b: abs(b - bucket)):
            node = self._states.get(timed_key(state_key, other), -1)
            if node < 0 and feature_key is not None:
                node = self._features.get(timed_key(feature_key, other), -1)
            if node >= 0:
                return node
        return -1
