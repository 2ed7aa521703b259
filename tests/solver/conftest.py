"""Random intervention problems, and reference solutions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from selfreg_gym.transitions import Rows, TransitionModel
from selfreg_gym.types import Episode, Transition


def make_random_model(
    rng: np.random.Generator,
    n: int,
    actions: int = 2,
    *,
    cyclic: bool = False,
    density: float = 0.4,
    exits: float = 0.3,
) -> TransitionModel:
    """A problem of ``n`` states; without cycles, successors have larger numbers. Help tends to increase success."""
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


def make_random_levels(rng: np.random.Generator, nodes: int, levels: int, *, waits: bool = True) -> TransitionModel:
    """Random nodes with drops of 1 or 2, and with ``waits`` also of 0, so that levels have cycles."""
    rows = []
    for _ in range(2):
        head = rng.integers(nodes, size=4 * nodes).astype(np.int32)
        weight = 0.6 * rng.dirichlet(np.ones(5), size=nodes)[:, :4].ravel()
        drop = rng.choice([0, 1, 1, 2] if waits else [1, 2], size=4 * nodes).astype(np.int32)
        rows.append(Rows(np.arange(0, 4 * nodes + 1, 4), head, weight, drop))
    success, last = 0.1 * rng.random((2, nodes)), 0.25 * rng.random((2, nodes))
    return TransitionModel.levelled(rows, levels, success, rng.dirichlet(np.ones(nodes * levels)), last_success=last)


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
    """The largest success for a budget (or one per intervention): the occupancy-measure LP, by HiGHS.

    What arrives at a state may also stay there for ever: in a closed cycle there are no finite visits that balance.
    """
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
        -model.success.ravel(),
        A_ub=sparse.vstack([sparse.csr_array(limits), flow]),
        b_ub=np.r_[bounds, model.start],
        bounds=upper,
        method="highs",
    )
    assert result.status == 0, result.message
    return -float(result.fun)


def net_value(model: TransitionModel, solution, price: float) -> float:
    """S - r M over the start states."""
    return solution.expected_success - price * solution.expected_usage


def play_at_random(model: TransitionModel, count: int, rng: np.random.Generator) -> list[Episode]:
    """Episodes of a flat model with A = 2, each with its own probability of help."""
    P = [matrix.toarray() for matrix in model.P]
    episodes = []
    for i in range(count):
        state, steps = int(rng.choice(model.n, p=model.start)), []
        while state < model.n:
            action = int(rng.random() < (i % 11) / 10)
            row = np.append(P[action][state], model.success[action, state])
            to = int(rng.choice(model.n + 2, p=np.append(row, max(1 - row.sum(), 0.0))))
            step = Transition(
                t=len(steps), observation="", admissible_actions=None, state_key=f"s{state}", feature_key=None,
                steps_left=None, action=action, action_text="x", cost=float(action), reward=0.0,
                terminated=to >= model.n, truncated=False, invalid=False,
            )  # fmt: skip
            steps.append(step)
            state = to
        usage = (sum(step.cost for step in steps),)
        episodes.append(Episode(0, i, "task", "", (i % 11) / 10, state == model.n, usage, tuple(steps)))
    return episodes


@pytest.fixture(scope="session")
def random_model() -> Callable[..., TransitionModel]:
    return make_random_model


@pytest.fixture(scope="session")
def enumerate_points() -> Callable[[TransitionModel], np.ndarray]:
    return all_points


@pytest.fixture(scope="session")
def lp() -> Callable[..., float]:
    return lp_success


@pytest.fixture(scope="session")
def played() -> Callable[..., list[Episode]]:
    return play_at_random


@pytest.fixture(scope="session")
def objective() -> Callable[..., float]:
    return net_value


@pytest.fixture(scope="session")
def random_levels() -> Callable[..., TransitionModel]:
    return make_random_levels
