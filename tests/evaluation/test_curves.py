"""Hulls, areas and interpolation against SciPy, NumPy and values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.curves import Curve, area_between, curve_of, hull, read_off

NEVER, ALWAYS = (0.0, 0.4), (8.0, 0.9)


def test_hull_agrees_with_scipy_on_random_points():
    rng = np.random.default_rng(0)
    for _ in range(50):
        usage, success = rng.uniform(0, 8, 12), rng.uniform(0, 1, 12)
        ours = set(zip(*(axis.tolist() for axis in hull(usage, success)), strict=True))
        points = np.stack([usage, success], axis=1)
        corners = points[ConvexHull(points).vertices]
        best = corners[np.argmax(corners[:, 1])]
        left = corners[np.argmin(corners[:, 0])]
        upper = {
            tuple(p)
            for p in corners.tolist()
            if p[0] <= best[0] and p[1] >= np.interp(p[0], [left[0], best[0]], [left[1], best[1]]) - 1e-12
        }
        assert ours == upper


def test_hull_is_concave_and_never_falls():
    rng = np.random.default_rng(1)
    usage, success = hull(rng.uniform(0, 1, 200), rng.uniform(0, 1, 200))
    slopes = np.diff(success) / np.diff(usage)
    assert np.all(slopes > 0)
    assert np.all(np.diff(slopes) < 0)


def test_of_points_with_equal_usage_the_best_is_kept():
    usage, success = np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.5, 0.8, 0.6, 0.4])
    for order in ([0, 1, 2, 3], [2, 1, 0, 3], [1, 3, 0, 2]):
        x, y = hull(usage[order], success[order])
        assert x.tolist() == [0.0, 1.0]
        assert y.tolist() == [0.4, 0.8]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 0.5),  # the coin line
        ([(0.0, 0.9)], 1.0),  # the whole gap at no usage
        ([(4.0, 0.9)], 0.75),
        ([(4.0, 0.4)], 0.25),  # worse than the coin
        ([(9.0, 0.9), (4.0, 0.9)], 0.75),  # a usage above that of always counts for nothing
    ],
)
def test_areas_of_known_curves(points, expected):
    usage, success = np.array([NEVER, *points, ALWAYS]).T[:, None]
    assert area_between(usage, success)[0] == pytest.approx(expected)


def test_an_area_includes_all_measured_points():
    usage = np.array([[0.0, 6.0, 2.0, 8.0]])  # never, two points in any order, always
    success = np.array([[0.4, 0.8, 0.6, 0.9]])
    by_hand = np.trapezoid([0.0, 0.2, 0.4, 0.5], [0, 2, 6, 8]) / (8 * 0.5)
    assert area_between(usage, success)[0] == pytest.approx(by_hand)
    assert np.isnan(area_between(np.zeros((1, 3)), np.ones((1, 3)))[0])


def test_reading_a_curve():
    curve = curve_of([(1.0, 0.7), (4.0, 0.65)], NEVER, ALWAYS)  # the second point lies under the hull
    assert curve.at(0.5) == pytest.approx(0.55)
    assert curve.recovered(1.0) == pytest.approx(0.6)


def test_a_helper_better_than_always_needs_no_more():
    curve = curve_of([(2.0, 0.95)], NEVER, ALWAYS)
    assert curve.at(8.0) == pytest.approx(0.95)
    assert curve.recovered(8.0) > 1


def test_missing_usages_fill_the_curve():
    curve = curve_of([(0.1, 0.5), (3.0, 0.7)], NEVER, ALWAYS)
    wanted = curve.missing_usages()
    every = np.sort([0.0, 0.1, 3.0, 8.0, *wanted])
    assert np.diff(every).max() <= 0.05 * 8 + 1e-9
    assert Curve(every, np.zeros_like(every), NEVER, ALWAYS).missing_usages() == []


def test_read_off_is_linear_between_neighbours_and_flat_outside():
    rng = np.random.default_rng(2)
    usage, values = rng.uniform(0, 5, (40, 6)), rng.uniform(0, 1, (40, 6))
    at = rng.uniform(-1, 6, 40)
    for row in range(40):
        order = np.argsort(usage[row])
        expected = np.interp(at[row], usage[row][order], values[row][order])
        assert read_off(usage, values, at)[row] == pytest.approx(expected)
    assert read_off(np.array([[1.0]]), np.array([[0.3]]), 4.0).tolist() == [0.3]
    assert np.isfinite(read_off(np.array([[1.0, 1.0]]), np.array([[0.3, 0.5]]), 1.0)).all()


def test_errors_of_invalid_curves():
    with pytest.raises(InvalidArgumentError, match="more help than never"):
        curve_of([], (1.0, 0.4), (1.0, 0.9))
    with pytest.raises(InvalidArgumentError, match="one success rate per usage"):
        Curve(np.zeros(2), np.zeros(3), NEVER, ALWAYS)
