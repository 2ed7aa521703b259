"""Reliability figures, compared with scikit-learn and with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.prm.reliability import auc, calibration_table, platt, sigmoid


def sample(count: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 3, size=count)
    return p, (rng.random(count) < p).astype(float), rng.exponential(size=count)


def test_auc_and_brier_score_are_those_of_their_definitions() -> None:
    p, y, w = sample(400)
    p = np.round(p, 1)  # many ties
    table = calibration_table(p, y, weight=w)
    above = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    pairs = (w * y)[:, None] * (w * (1 - y))
    assert table["auc"] == pytest.approx((above * pairs).sum() / pairs.sum(), abs=1e-12)
    assert table["brier"] == pytest.approx(np.average((p - y) ** 2, weights=w), abs=1e-12)


def test_the_bins_are_those_of_scikit_learns_quantile_strategy() -> None:
    from sklearn.calibration import calibration_curve

    p, y, _ = sample(1000)
    table = calibration_table(p, y, bins=10)
    rate, mean = calibration_curve(y, p, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table["mean"], mean, atol=1e-12)
    np.testing.assert_allclose(table["rate"], rate, atol=1e-12)
    assert table["count"] == [100] * 10


def test_a_table_computed_by_hand() -> None:
    table = calibration_table(np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 1, 1, 1]), bins=2)
    assert table["count"] == [2, 2]
    assert table["mean"] == pytest.approx([0.1, 0.8])
    assert table["rate"] == [0.5, 1.0]
    assert table["edges"] == pytest.approx([0.1, 0.45, 0.8])
    assert table["ece"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.2)
    assert table["brier"] == pytest.approx((0.01 + 0.81 + 0.04 + 0.04) / 4)
    assert table["auc"] == pytest.approx((1 + 1 + 0.5) / 3)


def test_equal_probabilities_share_a_bin() -> None:
    table = calibration_table(np.full(50, 0.3), np.arange(50) % 2, bins=10)
    assert table["count"] == [50]
    assert table["ece"] == pytest.approx(0.2)


def test_true_probabilities_are_calibrated() -> None:
    p, y, _ = sample(20_000)
    assert calibration_table(p, y)["ece"] < 0.012


def test_a_single_outcome_has_no_auc() -> None:
    assert auc(np.array([0.1, 0.2]), np.array([1, 1])) is None
    assert auc(np.array([0.1, 0.2]), np.array([1, 0]), np.array([1.0, 0.0])) is None
    assert calibration_table(np.array([0.1, 0.2]), np.array([1, 1]))["auc"] is None


def test_platt_recovers_the_scale_of_the_data() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(size=50_000) * 3
    y = (rng.random(50_000) < sigmoid(0.5 * logit - 0.7)).astype(float)
    a, b = platt(logit, y)
    assert a == pytest.approx(0.5, abs=0.02)
    assert b == pytest.approx(-0.7, abs=0.04)


@pytest.mark.parametrize("slope", [-1.0, 0.02, 0.3, 2.0])
def test_platt_minimises_its_documented_objective(slope: float) -> None:
    rng = np.random.default_rng(2)
    logit, weight = 3 * rng.normal(size=200), rng.exponential(size=200)
    y = (rng.random(200) < sigmoid(slope * logit + 0.4)).astype(float)
    a, b = platt(logit, y, weight=weight)
    error = weight * (sigmoid(a * logit + b) - y)
    assert error.sum() + 0.01 * b == pytest.approx(0, abs=1e-6)
    slope_gradient = error @ logit + 0.01 * (a - 1)
    assert slope_gradient > 0 if a == 0.05 else slope_gradient == pytest.approx(0, abs=1e-6)


def test_platt_preserves_the_order_and_survives_extremes() -> None:
    logit = np.array([-2.0, -1.0, 1.0, 2.0])
    assert platt(logit, np.array([1, 1, 0, 0]))[0] == pytest.approx(0.05)
    a, b = platt(logit, np.array([0, 0, 1, 1]))  # separable
    assert np.isfinite([a, b]).all()
    assert a > 0
    a, b = platt(logit * 1e3, np.array([0, 1, 0, 1]))
    assert np.isfinite([a, b]).all()


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_a_single_outcome_leaves_the_logits_unscaled(outcome: float) -> None:
    logit = np.linspace(-4, 2, 50)
    assert platt(logit, np.full(50, outcome)) == (1.0, 0.0)
    other = np.append(np.full(50, outcome), 1 - outcome)
    weight = np.append(np.ones(50), 0.0)
    assert platt(np.append(logit, 0.0), other, weight=weight) == (1.0, 0.0)


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("p", "y"), [([], []), ([0.5], [0, 1]), ([1.5], [1]), ([0.5], [2]), ([float("nan")], [1])])
def test_bad_input_says_what_is_wrong(p: list[float], y: list[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="probabilities"):
        calibration_table(np.array(p), np.array(y))
