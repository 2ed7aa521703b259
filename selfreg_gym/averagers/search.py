"""The neighbours of decisions: for each action, the most similar stored decisions that took it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.averagers.neighbours import Nearest, NeighbourIndex
from selfreg_gym.utils.arguments import check_number
from selfreg_gym.utils.random_streams import AVERAGER_TIES, stream

__all__ = ["DecisionIndex", "Kernel", "Neighbours", "merge"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of n decisions, for each of A actions.

    Attributes:
        index: ``(n, A, k)`` int32 stored decisions, -1 where there are fewer.
        weight: ``(n, A, k)`` float64, sums to 1 over k; 0 where there is none.
        distance: ``(n, A)`` float64 mean distance of the neighbours, infinite where there is none.
        fails: ``(n, A)`` float64 probability of a failure because of the distance, 1 where there is no neighbour.
    """

    index: NDArray[np.int32]
    weight: NDArray[np.float64]
    distance: NDArray[np.float64]
    fails: NDArray[np.float64]


class DecisionIndex:
    """An index of stored decisions by action, for the search for the nearest ones.

    Args:
        points: ``(m, r)`` float32, the projected representations.
        action: ``(m,)`` actions from 0 to ``actions`` - 1; -1 for decisions that cannot be neighbours.
        episode: ``(m,)`` episodes.
        actions: A.
        seed: seed of the order of decisions at equal distance.
    """

    def __init__(
        self, points: NDArray[np.float32], action: NDArray[np.int64], episode: NDArray[np.int64] | None = None, *,
        actions: int, seed: int,
    ) -> None:  # fmt: skip
        self.seed = seed
        rank = stream(AVERAGER_TIES, seed).permutation(len(points))
        self.rows = [np.flatnonzero(action == a) for a in range(actions)]
        self.parts = [
            NeighbourIndex(points[rows], group=None if episode is None else episode[rows], rank=rank[rows])
            for rows in self.rows
        ]

    def query(
        self, x: NDArray[np.float32], count: int, *, exclude: NDArray[np.int64] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Nearest:  # fmt: skip
        """Find the ``count`` nearest stored decisions of every action.

        Args:
            x: ``(n, r)`` projected representations.
            count: k.
            exclude: ``(n,)`` one episode per row; its decisions are not returned. None: all decisions are considered.
            progress: called with the number of queries just done.

        Returns:
            Arrays ``(n, A, k)``; the nearest first.
        """
        shape = (len(x), len(self.parts), count)
        found = Nearest(np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32))
        for first in range(0, len(x), 2048):
            block = slice(first, first + 2048)
            own = None if exclude is None else exclude[block]
            for action, (rows, part) in enumerate(zip(self.rows, self.parts, strict=True)):
                local = part.query(x[block], count, exclude=own)
                found.distance[block, action] = local.distance
                found.index[block, action] = np.where(local.index >= 0, rows[local.index] if len(rows) else -1, -1)
            if progress is not None:
                progress(min(2048, len(x) - first))
        return found


def merge(parts: Sequence[Nearest], count: int) -> Nearest:
    """Return the ``count`` nearest of several lists of neighbours, arrays ``(n, A, k)`` each."""
    if len(parts) == 1:
        return parts[0]
    index = np.concatenate([part.index for part in parts], axis=-1)
    distance = np.concatenate([part.distance for part in parts], axis=-1)
    order = np.argsort(distance, axis=-1, kind="stable")[..., :count]
    return Nearest(np.take_along_axis(index, order, -1), np.take_along_axis(distance, order, -1))


@dataclass(frozen=True, slots=True)
class Kernel:
    """Weights of neighbours by distance, and the probability of a failure for a large distance.

    Attributes:
        scale: the unit of distances.
        smoothing: added to distances in the weights 1 / (distance / scale + smoothing).
        distance_cost: probability of a failure per mean distance of the neighbours, in units of ``scale``.

    Raises:
        InvalidArgumentError: ``smoothing`` is not above 0, or ``distance_cost`` is negative.
    """

    scale: float
    smoothing: float
    distance_cost: float

    def __post_init__(self) -> None:
        check_number("smoothing", self.smoothing, above=True)
        check_number("distance_cost", self.distance_cost)

    def weigh(self, nearest: Nearest) -> Neighbours:
        """Weigh nearest decisions, arrays ``(n, A, k)``."""
        some = nearest.index >= 0
        distance = np.where(some, nearest.distance, 0.0).astype(np.float64)
        weight = np.where(some, 1.0 / (distance / self.scale + self.smoothing), 0.0)
        total = weight.sum(axis=-1, keepdims=True)
        weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        count = some.sum(axis=-1)
        mean = np.divide(distance.sum(axis=-1), count, out=np.full(count.shape, np.inf), where=count > 0)
        far = np.divide(distance.sum(axis=-1), count, out=np.zeros(count.shape), where=count > 0)
        fails = np.where(count > 0, np.minimum(self.distance_cost * far / self.scale, 1.0), 1.0)
        return Neighbours(nearest.index, weight, mean, fails)
