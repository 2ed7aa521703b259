"""The exact search for nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.averagers.neighbours import GROUPS, NeighbourIndex
from selfreg_gym.averagers.projection import Projection
from selfreg_gym.averagers.search import DecisionIndex, Kernel, Nearest, merge
from selfreg_gym.errors import InvalidArgumentError


def brute_force(
    points: np.ndarray, x: np.ndarray, count: int, group: np.ndarray, own: np.ndarray, rank: np.ndarray
) -> list[list[int]]:
    """The definition: sort by distance, then by rank, without the points of the own group."""
    found = []
    for query, mine in zip(x, own, strict=True):
        distance = np.sqrt(np.square(query - points).sum(axis=1))
        order = [i for i in np.lexsort((rank, distance)).tolist() if group[i] != mine]
        found.append(order[:count])
    return found


@pytest.mark.parametrize("m", [0, 3, 700, 2 * GROUPS, 5 * GROUPS + 17])
@pytest.mark.parametrize("tied", [False, True])
def test_neighbours_are_those_of_brute_force(m: int, tied: bool) -> None:
    rng = np.random.default_rng(m)
    points = rng.standard_normal((m, 5)).astype(np.float32)
    if tied:  # a coarse grid has many equal points
        points = np.round(points)
    group, rank = rng.integers(50, size=m), rng.permutation(m)
    x = np.concatenate([points[:20], rng.standard_normal((20, 5)).astype(np.float32)])
    own = np.concatenate([group[:20], np.full(20, -1)])
    found = NeighbourIndex(points, group=group, rank=rank).query(x, 7, exclude=own)
    for row, expected in enumerate(brute_force(points, x, 7, group, own, rank)):
        assert found.index[row, : len(expected)].tolist() == expected
        assert (found.index[row, len(expected) :] == -1).all()
        assert np.isinf(found.distance[row, len(expected) :]).all()
        assert (np.diff(found.distance[row, : len(expected)]) >= 0).all()


def test_a_query_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(1)
    points = np.round(rng.standard_normal((3000, 12)), 1).astype(np.float32)
    index = NeighbourIndex(points, rank=rng.permutation(3000))
    x = rng.standard_normal((90, 12)).astype(np.float32)
    x[::3] = points[:30]
    whole = index.query(x, 9)
    for i in range(90):
        alone = index.query(x[i : i + 1], 9)
        assert (alone.index[0] == whole.index[i]).all()
        assert (alone.distance[0] == whole.distance[i]).all()


def test_lists_of_parts_merge_into_the_list_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    points = rng.standard_normal((400, 4)).astype(np.float32)
    action, fold, none = rng.integers(3, size=400), rng.integers(2, size=400), np.full(400, -1)
    whole = DecisionIndex(points, action, actions=4, seed=0).query(points, 6)
    parts = []
    for number in range(2):
        rows = np.flatnonzero(fold == number)
        found = DecisionIndex(points[rows], action[rows], none[rows], actions=4, seed=0).query(points, 6)
        parts.append(Nearest(np.where(found.index >= 0, rows[found.index], -1).astype(np.int32), found.distance))
    merged = merge(parts, 6)
    assert (merged.index == whole.index).all()
    assert (whole.index[:, 3] == -1).all()  # no decision has this action


def test_weights_fall_with_distance_and_sum_to_one() -> None:
    nearest = Nearest(np.array([[[4, 7, -1]], [[-1, -1, -1]]], np.int32), np.array([[[1, 3, np.inf]], [[np.inf] * 3]]))
    near = Kernel(scale=2.0, smoothing=0.5, distance_cost=0.25).weigh(nearest)
    assert near.weight[0, 0] == pytest.approx([2 / 3, 1 / 3, 0])  # 1 / (0.5 + 0.5) and 1 / (1.5 + 0.5)
    assert near.distance[:, 0].tolist() == [2.0, np.inf]
    assert near.fails[:, 0].tolist() == [0.25, 1.0]
    assert not near.weight[1].any()


def test_projection_keeps_the_distances_of_the_principal_components() -> None:
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((500, 3)) @ rng.standard_normal((3, 40)) + 5).astype(np.float32)
    projection = Projection.fit(x, 3)
    z = projection(x)
    assert projection.explained == pytest.approx(1.0)
    assert z.shape == (500, 3)
    assert np.linalg.norm(z[0] - z[1:], axis=1) == pytest.approx(np.linalg.norm(x[0] - x[1:], axis=1), rel=1e-3)
    assert all((projection(x[i : i + 1])[0] == z[i]).all() for i in range(5))


def test_too_many_points_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at most 2097152 points can be searched, received 2097153"):
        NeighbourIndex(np.zeros((2**21 + 1, 1), np.float32))
