"""Random intervention problems, and the oracles that the solver is checked against."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from selfreg_gym.transitions import TransitionModel


def make_random_model(
    rng: np.random.Generator,
    n: int,
    actions: int = 2,
    *,
    cyclic: bool = False,
    density: float = 0.4,
    exits: float = 0.3,
) -> TransitionModel:
    """A problem of ``n`` states; without cycles every successor has a larger number. Help tends to succeed more."""
    P, success = [], np.zeros((actions, n))
    for a in range(actions):
        matrix = rng.random((n, n)) * (rng.random((n, n)) < density)
        if not cyclic:
            matrix = np.triu(matrix, 1)
        leave = exits * rng.random(n) + 1e-3
        total = matrix.sum(axis=1)
        scale = np.where(total > 0, (1 - leave) / np.maximum(total, 1e-300), 0)
        P.append(sparse.csr_array(matrix * scale[:, None]))
        leave = np.where(total > 0, leave, 1.0)
        success[a] = leave * np.clip(rng.random(n) * (0.5 + 0.5 * (a > 0)), 0, 1)
    start = rng.random(n) * (rng.random(n) < 0.5) + 1e-3
    cost = np.r_[0.0, 0.2 + rng.random(actions - 1)]
    return TransitionModel(P, success, start / start.sum(), cost)


def all_points(model: TransitionModel) -> np.ndarray:
    """``(policies, 2)``: S and M over the start of every deterministic policy that ends (dense linear algebra)."""
    P = [matrix.toarray() for matrix in model.P]
    choices = [[a for a in range(model.actions) if model.available[a, s]] for s in range(model.n)]
    points = []
    for policy in itertools.product(*choices):
        move = np.array([P[a][s] for s, a in enumerate(policy)])
        reward = np.array([[model.success[a, s], model.cost[a, s]] for s, a in enumerate(policy)])
        points.append(model.start @ np.linalg.solve(np.eye(model.n) - move, reward))
    return np.array(points)


def lp_success(model: TransitionModel, budget: float | np.ndarray) -> float:
    """The largest success within a budget (or one per intervention): the occupancy-measure LP, by HiGHS."""
    n, actions = model.n, model.actions
    flow = sparse.hstack([sparse.eye_array(n) - matrix.T for matrix in model.P])
    budget = np.asarray(budget, float)
    if budget.ndim == 0:
        limits, bounds = model.cost.reshape(1, -1), budget.reshape(1)
    else:
        limits = np.zeros((actions - 1, actions * n))
        for k in range(1, actions):
            limits[k - 1, k * n : (k + 1) * n] = model.cost[k]
        bounds = budget
    upper = [(0, None) if model.available[a, s] else (0, 0) for a in range(actions) for s in range(n)]
    result = linprog(
        -model.success.ravel(), A_ub=limits, b_ub=bounds, A_eq=flow, b_eq=model.start, bounds=upper, method="highs"
    )
    assert result.status == 0, result.message
    return -float(result.fun)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., TransitionModel]:
    return make_random_model


@pytest.fixture(scope="session")
def enumerate_points() -> Callable[[TransitionModel], np.ndarray]:
    return all_points


@pytest.fixture(scope="session")
def lp() -> Callable[..., float]:
    return lp_success
