"""Isotonic regression over prices."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.fitted.isotonic import CHUNK, non_increasing


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_rows_equal_the_isotonic_regression_of_scikit_learn(count):
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(count)
    values = rng.normal(size=(50, count)) - 0.3 * np.arange(count)
    expected = [IsotonicRegression(increasing=False).fit_transform(np.arange(count), row) for row in values]
    found = non_increasing(values)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(non_increasing(found), found)


def test_rows_without_a_rise_are_unchanged_and_types_are_kept():
    values = np.array([[3.0, 2.0, 2.0, -1.0], [0.1, 0.3, 0.2, 0.2]], np.float32)
    found = non_increasing(values)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], values[0])
    np.testing.assert_allclose(found[1], 0.2, rtol=1e-6)


def test_any_leading_axes_and_more_rows_than_a_chunk():
    values = np.random.default_rng(0).normal(size=(CHUNK // 2 + 1, 3, 4))
    found = non_increasing(values)
    assert found.shape == values.shape
    assert (np.diff(found, axis=-1) <= 1e-12).all()
    np.testing.assert_allclose(found.mean(axis=-1), values.mean(axis=-1))
    np.testing.assert_allclose(found[5, 1], non_increasing(values[5, 1]))
