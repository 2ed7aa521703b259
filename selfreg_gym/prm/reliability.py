"""Reliability of predicted probabilities (calibration error, Brier score, AUC), and Platt scaling.

For probabilities ``p_i``, outcomes ``y_i`` in {0, 1} and weights ``w_i`` with sum W::

    ECE   = sum_b W_b / W * |mean_b(p) - mean_b(y)|     over bins b of equal weight W_b (Naeini et al. 2015; bins of
                                                        equal mass after Nixon et al. 2019)
    Brier = sum_i w_i (p_i - y_i)^2 / W                 (Brier 1950)
    AUC   = P(p_i > p_j | y_i = 1, y_j = 0)             a tie counts half (Mann-Whitney)

Brier score and AUC are scikit-learn's. Its ``calibration_curve`` takes no weights, and its Platt scaling
(``CalibratedClassifierCV``) smooths the outcomes where :func:`platt` has a ridge, so these two are computed here.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["CalibrationTable", "auc", "calibration_table", "platt", "sigmoid"]

_SMALLEST_SLOPE = 0.05  # of the logit in Platt scaling


class CalibrationTable(TypedDict):
    """Reliability of n predictions in B bins of equal weight.

    Attributes:
        edges: B + 1 probabilities between the bins.
        mean, rate, count, mass: per bin the mean of p, the success rate, the number of examples, the share of weight.
        ece, brier, auc: see the head of this module; ``auc`` is None if only one outcome occurs.
        n, base_rate: number of examples, weighted success rate.
    """

    edges: list[float]
    mean: list[float]
    rate: list[float]
    count: list[int]
    mass: list[float]
    ece: float
    brier: float
    auc: float | None
    n: int
    base_rate: float


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


def calibration_table(
    probability: np.ndarray, outcome: np.ndarray, *, weight: np.ndarray | None = None, bins: int = 10
) -> CalibrationTable:
    """Compare predicted probabilities with outcomes.

    Args:
        probability: ``(N,)`` in [0, 1].
        outcome: ``(N,)`` 0 or 1.
        weight: ``(N,)`` non-negative, default 1.
        bins: number of bins of equal weight. Equal probabilities share a bin, so there can be fewer (B <= bins).

    Raises:
        InvalidArgumentError: empty, of different lengths, or out of range.
    """
    from sklearn.metrics import brier_score_loss

    p, y, w = _checked(probability, outcome, weight)
    if bins < 1:
        raise InvalidArgumentError(f"there must be at least 1 bin, received bins={bins!r}.")
    order = np.argsort(p, kind="stable")
    p, y, w = p[order], y[order], w[order]
    before = np.cumsum(w) - w
    wanted = np.minimum((before / w.sum() * bins).astype(int), bins - 1)
    first = np.concatenate([[True], p[1:] != p[:-1]])  # examples of equal probability join the bin of the first
    label = wanted[np.maximum.accumulate(np.where(first, np.arange(len(p)), 0))]
    starts = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
    mass = np.add.reduceat(w, starts)
    keep = mass > 0
    mean = np.add.reduceat(w * p, starts)[keep] / mass[keep]
    rate = np.add.reduceat(w * y, starts)[keep] / mass[keep]
    share = mass[keep] / w.sum()
    return {
        "edges": [float(p[0]), *((p[starts[1:] - 1] + p[starts[1:]]) / 2).tolist(), float(p[-1])],
        "mean": mean.tolist(),
        "rate": rate.tolist(),
        "count": np.diff([*starts, len(p)])[keep].tolist(),
        "mass": share.tolist(),
        "ece": float(np.sum(share * np.abs(mean - rate))),
        "brier": float(brier_score_loss(y, p, sample_weight=w, pos_label=1)),
        "auc": auc(p, y, w),
        "n": len(p),
        "base_rate": float(np.average(y, weights=w)),
    }


def auc(score: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    """Weighted area under the ROC curve of N scores, ``(N,)`` each; None if only one outcome has weight."""
    from sklearn.metrics import roc_auc_score

    outcome = np.asarray(outcome, dtype=bool)
    weight = np.ones(len(outcome)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not weight[outcome].any() or not weight[~outcome].any():
        return None
    return float(roc_auc_score(outcome, score, sample_weight=weight))


def platt(
    logit: np.ndarray, outcome: np.ndarray, *, weight: np.ndarray | None = None, ridge: float = 1e-2
) -> tuple[float, float]:
    """Fit ``P(success) = sigmoid(a * logit + b)`` (Platt 1999) and return ``(a, b)``.

    Minimises, over ``a >= 0.05`` (so that scaling preserves the order) and b,

        sum_i w_i (log(1 + exp(z_i)) - y_i z_i) + ridge / 2 * ((a - 1)^2 + b^2),    z_i = a * logit_i + b.

    Args:
        logit: ``(N,)``.
        outcome: ``(N,)`` 0 or 1.
        weight: ``(N,)`` non-negative, default 1.
        ridge: pull towards (a, b) = (1, 0), in units of one example, so that few examples change little.

    With a single outcome the result is (1, 0): no scale can be fitted, and every p would be near this outcome.
    """
    from scipy.optimize import minimize

    logit = np.asarray(logit, dtype=np.float64)
    _, y, w = _checked(np.full(len(logit), 0.5), outcome, weight)
    if len(set(y[w > 0])) < 2:
        return 1.0, 0.0
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    identity = np.array([1.0, 0.0])

    def loss(scale: np.ndarray) -> tuple[float, np.ndarray]:
        z, pull = design @ scale, scale - identity
        value = np.sum(w * (np.logaddexp(0.0, z) - y * z)) + 0.5 * ridge * pull @ pull
        return value, design.T @ (w * (sigmoid(z) - y)) + ridge * pull

    options = {"ftol": 0.0, "gtol": 1e-10, "maxiter": 1000}
    found = minimize(loss, identity, jac=True, bounds=[(_SMALLEST_SLOPE, None), (None, None)], options=options)
    return float(found.x[0]), float(found.x[1])


def _checked(
    probability: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = np.asarray(probability, dtype=np.float64)
    y = np.asarray(outcome, dtype=np.float64)
    w = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    if p.ndim != 1 or len(p) == 0 or p.shape != y.shape or p.shape != w.shape:
        rule = "probabilities, outcomes and weights must be vectors of equal length"
        raise InvalidArgumentError(f"{rule}, received the shapes {p.shape}, {y.shape}, {w.shape}.")
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0, 1)).all() or (w < 0).any() or w.sum() <= 0:
        raise InvalidArgumentError(
            "probabilities must be in [0, 1], outcomes 0 or 1, and weights non-negative and not all 0."
        )
    return p, y, w
