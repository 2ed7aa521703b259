"""Deep averagers: a finite model whose states are the collected decisions, without state keys.

Let ``N_a(s)`` be the k stored decisions with action ``a`` whose representation is nearest to that of ``s``, at
distances ``d_j``. The model follows one of them, drawn with probability

    w_j = (1 / (d_j / scale + smoothing)) / sum over i in N_a(s) of (1 / (d_i / scale + smoothing)),

to the decision that came after it, or to the end of its episode with its outcome. So only stored decisions are reached,
and the model is finite: the exact solver finds its whole frontier. Let ``d`` be the mean of the ``d_j``. With
probability ``min(1, distance_cost * d / scale)`` the episode fails instead, which penalises decisions far from the
data. ``scale`` is the median of ``d`` over the stored decisions, so that the other constants do not depend on the unit
of the representation. (Shrestha, Lee, Tadepalli and Fern 2020, *DeepAveragers*, https://arxiv.org/abs/2010.08891; they
subtract the cost from the reward, and their ``smoothing`` is small. Averagers: Gordon 1995.)

Decisions of one episode are never neighbours of each other. Otherwise a decision would be its own nearest neighbour,
the model would follow each episode to its known end, and the values would be those of hindsight.

Episodes are divided into folds of tasks. The neighbours in each fold are stored, so a model of some of the folds needs
no new search (:mod:`selfreg_gym.averagers.held_out`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.averagers.neighbours import Nearest
from selfreg_gym.averagers.projection import Projection
from selfreg_gym.averagers.search import DecisionIndex, Kernel, Neighbours, merge
from selfreg_gym.fitted.decisions import LoggedDecisions, assign_folds
from selfreg_gym.transitions import Rows, TransitionModel
from selfreg_gym.utils.arguments import check_count
from selfreg_gym.utils.progress import progress_bar

__all__ = ["AveragerModel", "fit_averagers"]


@dataclass(frozen=True, eq=False)
class AveragerModel:
    """Stored decisions and their neighbours; :func:`fit_averagers` makes it.

    Attributes:
        decisions: n stored decisions; ``x`` is their representation.
        projection: of representations, before distances are computed.
        points: ``(n, r)`` float32, the projected representations.
        fold: ``(n,)`` folds of tasks, 0 to F - 1; all 0 without folds.
        lists: for each fold, the neighbours in it: arrays ``(n, A, k)``.
        neighbours: k.
        kernel: weights of neighbours by distance.
        seed: of the order of decisions at equal distance.
    """

    decisions: LoggedDecisions
    projection: Projection
    points: NDArray[np.float32]
    fold: NDArray[np.int64]
    lists: tuple[Nearest, ...]
    neighbours: int
    kernel: Kernel
    seed: int

    @property
    def folds(self) -> int:
        """F, the number of folds."""
        return len(self.lists)

    def rows(self, folds: Iterable[int] | None = None) -> NDArray[np.int64]:
        """Indices of the decisions in some folds, all by default."""
        return np.flatnonzero(np.isin(self.fold, list(range(self.folds) if folds is None else folds)))

    def neighbours_of(self, rows: NDArray[np.int64], folds: Iterable[int] | None = None) -> Neighbours:
        """The neighbours of stored decisions, in some folds (all by default), without those of the same episode."""
        chosen = list(range(self.folds) if folds is None else folds)
        parts = [Nearest(self.lists[f].index[rows], self.lists[f].distance[rows]) for f in chosen]
        return self.kernel.weigh(merge(parts, self.neighbours))

    def transitions(self, folds: Iterable[int] | None = None) -> TransitionModel:
        """The transition model of the decisions of some folds, all by default.

        Its nodes are the decisions, in their order. Its levels are the steps left; there are as many as the longest
        episode has decisions, and an episode with more steps is a failure. So the model has no cycles.
        """
        given, rows = self.decisions, self.rows(folds)
        near = self.neighbours_of(rows, folds)
        position = np.full(len(given) + 1, -1, np.int32)
        position[rows] = np.arange(len(rows))
        success, cost, moves = np.zeros((given.actions, len(rows))), np.zeros((given.actions, len(rows))), []
        for a in range(given.actions):
            other, weight = np.maximum(near.index[:, a], 0), near.weight[:, a]
            cost[a] = (weight * given.cost[other]).sum(axis=1)
            weight = weight * (1 - near.fails[:, a, None])
            success[a] = (weight * given.success[other]).sum(axis=1)
            goes_on = (weight > 0) & ~given.last[other]
            pointer = np.r_[0, np.cumsum(goes_on.sum(axis=1))]
            head = position[other[goes_on] + 1]
            moves.append(Rows(pointer, head, weight[goes_on], np.ones(len(head), np.int32)))
        levels = int(given.length.max())
        first = np.zeros(len(given))
        first[given.first] = 1.0
        start = np.zeros(levels * len(rows))
        start[-len(rows) :] = first[rows] / first[rows].sum()
        available = near.index[:, :, 0].T >= 0
        available[0] = True
        return TransitionModel.levelled(
            moves, levels, np.minimum(success, 1.0), start, cost, available=available, endless="fail"
        )

    def with_neighbours(self, count: int) -> AveragerModel:
        """The model with fewer neighbours of each decision.

        Raises:
            InvalidArgumentError: more than it has.
        """
        check_count("the number of neighbours", count, low=1, high=self.neighbours)
        lists = tuple(Nearest(one.index[..., :count], one.distance[..., :count]) for one in self.lists)
        return replace(self, lists=lists, neighbours=count)._scaled()

    def _scaled(self) -> AveragerModel:
        """The model with the median distance of neighbours as the unit of distances."""
        distance = self.neighbours_of(np.arange(len(self.decisions))).distance
        finite = distance[np.isfinite(distance)]
        scale = float(np.median(finite)) if len(finite) else 0.0
        return replace(self, kernel=replace(self.kernel, scale=scale if scale > 0 else 1.0))

    def index(self) -> DecisionIndex:
        """An index of all stored decisions, to find the neighbours of new decisions."""
        return DecisionIndex(self.points, self.decisions.tried, actions=self.decisions.actions, seed=self.seed)

    def __repr__(self) -> str:
        return (
            f"AveragerModel({len(self.decisions)} decisions, {self.decisions.actions} actions, "
            f"{self.neighbours} neighbours, {self.points.shape[1]} dimensions, {self.folds} folds)"
        )


def fit_averagers(
    decisions: LoggedDecisions,
    *,
    neighbours: int = 30,
    smoothing: float = 1.0,
    distance_cost: float = 0.0,
    dimensions: int = 32,
    folds: int = 4,
    same_episode: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> AveragerModel:
    """Find the neighbours of every decision.

    The time of the search is proportional to the square of the number of decisions, the memory to their number.

    Args:
        decisions: n stored decisions; ``x`` is a representation of the state before each, and distances in it are
            Euclidean, so its columns must have comparable scales.
        neighbours: k, neighbours per action.
        smoothing: added to relative distances in the weights. With small values the nearest decision has most of the
            weight, so the values are noisy; with large values the weights are equal.
        distance_cost: probability of a failure per relative distance.
        dimensions: a representation with more dimensions is projected on this number of principal components.
        folds: F, folds of tasks for held-out values; 1: none.
        same_episode: also accept neighbours of the same episode. The values are then optimistic.
        seed: of the folds and of the order of decisions at equal distance.
        progress: show a progress bar.

    Raises:
        InvalidArgumentError: an argument out of range.
    """
    check_count("neighbours", neighbours, low=1)
    check_count("dimensions", dimensions, low=1)
    check_count("folds", folds, low=1)
    kernel = Kernel(1.0, smoothing, distance_cost)
    given = decisions
    fold = np.zeros(len(given), np.int64)
    if folds > 1:
        fold = assign_folds(given, folds=folds, members=1, seed=seed).fold[given.episode]
    projection = Projection.fit(given.x, dimensions)
    points = np.concatenate([projection(given.x[i : i + 8192]) for i in range(0, len(given), 8192)])
    lists = []
    with progress_bar("neighbours", folds * len(given), shown=progress) as update:
        done = 0

        def count(queries: int) -> None:
            nonlocal done
            done += queries
            update(done)

        for number in range(folds):
            rows = np.flatnonzero(fold == number)
            index = DecisionIndex(
                points[rows], given.tried[rows], given.episode[rows], actions=given.actions, seed=seed
            )
            exclude = None if same_episode else given.episode
            found = index.query(points, neighbours, exclude=exclude, progress=count)
            to_all = np.where(found.index >= 0, rows[found.index], -1).astype(np.int32)
            lists.append(Nearest(to_all, found.distance))
    return AveragerModel(given, projection, points, fold, tuple(lists), neighbours, kernel, seed)._scaled()
