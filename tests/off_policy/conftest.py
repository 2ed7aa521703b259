"""Known models, and helpers on them."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.transitions import TransitionModel


def make_known(seed: int, n: int = 12, interventions: int = 1) -> TransitionModel:
    """An episodic problem of 3 to 8 steps in which help succeeds more often."""
    rng = np.random.default_rng(seed)
    P, success = [], np.zeros((1 + interventions, n))
    common = rng.random((n, n)) * (rng.random((n, n)) < 0.3) + 1e-3
    for a in range(1 + interventions):
        matrix = common * rng.random((n, n))
        matrix *= rng.uniform(0.6, 0.85, (n, 1)) / matrix.sum(axis=1, keepdims=True)
        chance = np.clip(rng.random(n) * (0.3 + 0.6 * (a > 0)) + 0.2 * (a > 0), 0, 1)
        success[a] = (1 - matrix.sum(axis=1)) * chance
        P.append(matrix)
    return TransitionModel(P, success, rng.dirichlet(np.ones(n)))


def make_helper(policy: np.ndarray):
    """A helper that reads the number of the state, which is the observation."""
    table = {str(i): int(action) for i, action in enumerate(policy)}
    return lambda text: table[text]


def action_probabilities(episodes, policy: np.ndarray, count: int = 2) -> np.ndarray:
    """``(n, count)`` of a policy on a known model, at the decisions of the episodes."""
    return np.eye(count)[policy[[int(step.state_key) for one in episodes for step in one]]]


@pytest.fixture(scope="session")
def probabilities():
    return action_probabilities


@pytest.fixture(scope="session")
def known():
    return make_known


@pytest.fixture(scope="session")
def tabular():
    return make_helper
