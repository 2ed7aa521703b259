"""How good probabilities are: reliability by equal-mass bins, ECE, Brier, AUC; and Platt's scaling.

In NumPy, with weights. Definitions: ECE after Naeini et al. 2015 with equal-mass bins (Nixon et al. 2019), Brier 1950,
AUC as the Mann-Whitney statistic with ties counted half, scaling after Platt 1999 (two parameters on the logit,
with his smoothed targets left out because a ridge does the same for separable data).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["auc", "calibration_table", "logistic_newton", "platt", "sigmoid"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


def calibration_table(
    probability: np.ndarray, outcome: np.ndarray, *, weight: np.ndarray | None = None, bins: int = 10
) -> dict[str, Any]:
    """Compare predicted probabilities with what happened.

    Args:
        probability: ``(N,)`` in [0, 1].
        outcome: ``(N,)`` 0 or 1.
        weight: ``(N,)`` non-negative, default 1.
        bins: wanted number of bins of equal mass; equal probabilities are never split over two bins, so there can be
            fewer.

    Returns:
        ``edges (B + 1), mean (B), rate (B), count (B)`` (rows), ``mass (B)`` (weight share) as lists, and the numbers
        ``ece, brier, auc`` (None if only one outcome occurs), ``n``, ``base_rate``.

    Raises:
        InvalidArgumentError: empty, of different lengths, or out of range.
    """
    p, y, w = _checked(probability, outcome, weight)
    if bins < 1:
        raise InvalidArgumentError(f"there must be at least 1 bin, received bins={bins!r}.")
    order = np.argsort(p, kind="stable")
    p, y, w = p[order], y[order], w[order]
    before = np.cumsum(w) - w
    wanted = np.minimum((before / w.sum() * bins).astype(int), bins - 1)
    first = np.concatenate([[True], p[1:] != p[:-1]])  # rows of one probability go where the first of them goes
    label = wanted[np.maximum.accumulate(np.where(first, np.arange(len(p)), 0))]
    starts = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
    mass = np.add.reduceat(w, starts)
    keep = mass > 0
    mean = np.add.reduceat(w * p, starts)[keep] / mass[keep]
    rate = np.add.reduceat(w * y, starts)[keep] / mass[keep]
    count = np.diff([*starts, len(p)])[keep]
    share = mass[keep] / w.sum()
    area = auc(p, y, w)
    return {
        "edges": [float(p[0]), *((p[starts[1:] - 1] + p[starts[1:]]) / 2).tolist(), float(p[-1])],
        "mean": mean.tolist(),
        "rate": rate.tolist(),
        "count": count.tolist(),
        "mass": share.tolist(),
        "ece": float(np.sum(share * np.abs(mean - rate))),
        "brier": float(np.sum(w * (p - y) ** 2) / w.sum()),
        "auc": area,
        "n": len(p),
        "base_rate": float(np.sum(w * y) / w.sum()),
    }


def auc(score: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    """Weighted probability that a success scores above a failure, ties half; None if only one outcome occurs."""
    score, outcome = np.asarray(score, dtype=np.float64), np.asarray(outcome, dtype=bool)
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, dtype=np.float64)
    _, group = np.unique(score, return_inverse=True)
    good = np.bincount(group, weight * outcome)
    bad = np.bincount(group, weight * ~outcome)
    if good.sum() == 0 or bad.sum() == 0:
        return None
    below = np.cumsum(bad) - bad
    return float(np.sum(good * (below + 0.5 * bad)) / (good.sum() * bad.sum()))


def platt(
    logit: np.ndarray, outcome: np.ndarray, *, weight: np.ndarray | None = None, ridge: float = 1e-2
) -> tuple[float, float]:
    """Fit ``P(success) = sigmoid(a * logit + b)`` and return ``(a, b)``.

    ``ridge`` pulls (a, b) to (1, 0), in units of one observation: with few rows or a single outcome the model is left
    as it is. ``a`` is kept above 0.05, so scaling never turns the order round.
    """
    logit = np.asarray(logit, dtype=np.float64)
    _, y, w = _checked(np.full(len(logit), 0.5), outcome, weight)
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    a, b = logistic_newton(design, y, w, ridge=np.array([1.0, 1.0]) * max(ridge, 1e-9), centre=np.array([1.0, 0.0]))
    if a < 0.05:
        a = 0.05
        shift = logistic_newton(
            np.ones((len(y), 1)), y, w, ridge=np.array([max(ridge, 1e-9)]), centre=np.zeros(1), offset=a * logit
        )
        b = float(shift[0])
    return float(a), float(b)


def logistic_newton(
    design: np.ndarray,
    outcome: np.ndarray,
    weight: np.ndarray,
    *,
    ridge: np.ndarray,
    centre: np.ndarray,
    offset: np.ndarray | float = 0.0,
    iterations: int = 100,
) -> np.ndarray:
    """Minimise weighted logistic loss + sum ridge/2 * (beta - centre)^2 by Newton's method with halved steps.

    Args:
        design: ``(N, D)``, D small. outcome, weight: ``(N,)``. ridge (positive), centre: ``(D,)``.
        offset: ``(N,)`` or a number added to the linear predictor.
    """
    beta = centre.astype(np.float64).copy()

    def objective(value: np.ndarray) -> float:
        z = design @ value + offset
        return float(
            np.sum(weight * (np.logaddexp(0.0, z) - outcome * z)) + 0.5 * np.sum(ridge * (value - centre) ** 2)
        )

    current = objective(beta)
    for _ in range(iterations):
        p = sigmoid(design @ beta + offset)
        gradient = design.T @ (weight * (p - outcome)) + ridge * (beta - centre)
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-8 and objective(beta - scale * step) > current:
            scale *= 0.5
        beta = beta - scale * step
        previous, current = current, objective(beta)
        if previous - current < 1e-12 * (1 + abs(current)):
            break
    return beta


def _checked(
    probability: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = np.asarray(probability, dtype=np.float64)
    y = np.asarray(outcome, dtype=np.float64)
    w = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    if p.ndim != 1 or len(p) == 0 or p.shape != y.shape or p.shape != w.shape:
        raise InvalidArgumentError(
            "probabilities, outcomes and weights must be equally long vectors, "
            f"received {p.shape}, {y.shape}, {w.shape}."
        )
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0, 1)).all() or (w < 0).any() or w.sum() <= 0:
        raise InvalidArgumentError(
            "probabilities must lie in [0, 1], outcomes be 0 or 1, weights non-negative and not all 0."
        )
    return p, y, w
