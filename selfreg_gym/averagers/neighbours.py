"""Exact search for nearest neighbours: blocks of one matrix product each, and a bound that leaves few candidates.

Squared distances of a block of queries to all points are one product in single precision. The minima over ``GROUPS``
disjoint groups of points bound the distance of the k-th neighbour from above: the k-th smallest minimum is the distance
of a k-th point. Points within the bound, plus the rounding error of the product, are the candidates. Their distances
are computed again from differences, so the result is exact and does not depend on the batch of a query. The time is
proportional to queries times points, the memory to one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["Nearest", "NeighbourIndex"]

GROUPS = 512
"""Number of groups of points; the minima of the groups bound the distance of the k-th neighbour."""

BLOCK = 4_000_000
"""Number of distances that are computed at once (16 MB, about the size of a CPU cache)."""

LARGEST = 2**21
"""Largest number of points."""

ROUNDING = 4e-6
"""Bound on the rounding error of a squared distance in single precision, relative to the squared norms."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Nearest points of n queries, nearest first.

    Attributes:
        index: ``(n, k)`` int32, -1 where there are fewer points.
        distance: ``(n, k)`` float32, infinite where there are fewer points.
    """

    index: NDArray[np.int32]
    distance: NDArray[np.float32]


class NeighbourIndex:
    """An index of points for the exact search for nearest neighbours in Euclidean distance.

    Args:
        points: ``(m, r)`` float32, m >= 0.
        group: ``(m,)`` integers, optional: a query can exclude the points of a group.
        rank: ``(m,)`` numbers that order points at equal distance; by default the order of the points.

    Raises:
        InvalidArgumentError: more than ``LARGEST`` points.
    """

    def __init__(
        self,
        points: NDArray[np.float32],
        *,
        group: NDArray[np.int64] | None = None,
        rank: NDArray[np.int64] | None = None,
    ) -> None:
        if len(points) > LARGEST:
            raise InvalidArgumentError(f"at most {LARGEST} points can be searched, received {len(points)}: take fewer.")
        self.points = np.ascontiguousarray(points, np.float32)
        self._by_rank = np.arange(len(points)) if rank is None else np.argsort(rank, kind="stable")
        self._rank = np.empty(len(points), np.int64)
        self._rank[self._by_rank] = np.arange(len(points))
        square = np.square(self.points).sum(axis=1)
        self._largest = float(square.max(initial=0.0))
        padding = -len(points) % GROUPS if len(points) >= 2 * GROUPS else 0  # at an infinite distance
        columns = np.concatenate([-2 * self.points, square[:, None]], axis=1).T
        self._columns = np.pad(columns, ((0, 0), (0, padding)))
        self._columns[-1, len(points) :] = np.inf
        self._by_group = np.zeros(0, np.int64) if group is None else np.argsort(group, kind="stable")
        self._groups = self._by_group if group is None else np.asarray(group)[self._by_group]

    def __len__(self) -> int:
        return len(self.points)

    def query(self, x: NDArray[np.float32], count: int, *, exclude: NDArray[np.int64] | None = None) -> Nearest:
        """Find the nearest points.

        Args:
            x: ``(n, r)`` float32.
            count: k, number of points per query.
            exclude: ``(n,)`` one group per query; points of this group are not returned.
        """
        n, m = len(x), len(self.points)
        found = Nearest(np.full((n, count), -1, np.int32), np.full((n, count), np.inf, np.float32))
        if not m:
            return found
        width = self._columns.shape[1]
        size = max(1, min(BLOCK // width, 1024, n))
        space = np.empty((size, width), np.float32)
        for first in range(0, n, size):
            block = slice(first, min(first + size, n))
            here = np.ascontiguousarray(x[block], np.float32)
            self._search(here, space[: len(here)], None if exclude is None else exclude[block], block, found)
        return found

    def _search(
        self, x: NDArray[np.float32], space: NDArray[np.float32], exclude: NDArray[np.int64] | None, block: slice,
        found: Nearest,
    ) -> None:  # fmt: skip
        """Write the nearest points of one block of queries into ``found``; ``space`` takes the distances."""
        count = found.index.shape[1]
        ones = np.ones((len(x), 1), np.float32)
        np.matmul(np.concatenate([x, ones], axis=1), self._columns, out=space)  # |p|^2 - 2 x p
        if exclude is not None:
            low = np.searchsorted(self._groups, exclude, side="left")
            length = np.searchsorted(self._groups, exclude, side="right") - low
            row = np.repeat(np.arange(len(x)), length)
            inside = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
            space[row, self._by_group[np.repeat(low, length) + inside]] = np.inf
        square = np.square(x).sum(axis=1)
        bound = _bound(space, count) + ROUNDING * (square + self._largest)
        hit = np.flatnonzero(space <= bound[:, None])
        hit = hit[space.ravel()[hit] < np.inf]
        row, point = np.divmod(hit, space.shape[1])
        distance = np.sqrt(np.square(x[row] - self.points[point]).sum(axis=1))
        # One integer sorts by query, distance and rank: the bits of floats >= 0 are in the order of their values.
        key = (row << 53) | (distance.view(np.int32).astype(np.int64) << 21) | self._rank[point]
        key.sort()
        row, distance = key >> 53, (key >> 21).astype(np.int32).view(np.float32)
        point = self._by_rank[key & (LARGEST - 1)]
        place = np.arange(len(row)) - np.searchsorted(row, row, side="left")
        kept = place < count
        at = block.start + row[kept], place[kept]
        found.index[at], found.distance[at] = point[kept], distance[kept]


def _bound(space: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return ``(n,)`` upper bounds of the ``count``-th smallest entry of each row."""
    n, m = space.shape
    if m <= count:
        return np.full(n, np.inf, np.float32)
    width = m // GROUPS
    if m % GROUPS == 0 and width >= 2 and count <= GROUPS // 4:
        space = space.reshape(n, width, GROUPS).min(axis=1)
    return np.partition(space, count - 1, axis=1)[:, count - 1]
