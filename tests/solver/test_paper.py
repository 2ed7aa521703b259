"""The paper's method, compared with the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.solver import evaluate_policy, solve, solve_budget
from selfreg_gym.transitions import TransitionModel


def test_the_alternation_converges_near_the_optimum_on_a_layered_problem(objective, random_model):
    model = random_model(np.random.default_rng(13), 40, density=0.1)
    paper, exact = solve(model, help_cost=0.1, method="paper"), solve(model, help_cost=0.1)
    assert paper.message == ""
    assert paper.method == "paper"
    never = evaluate_policy(model, np.zeros(40, int))
    assert objective(model, never, 0.1) < objective(model, paper, 0.1) <= objective(model, exact, 0.1) + 1e-12


def test_bisection_stays_below_a_budget_that_the_mixture_meets():
    """Ten equal states, so usage jumps from none to all at one price."""
    P = [np.zeros((10, 10))] * 2
    model = TransitionModel(P, [[0.2] * 10, [0.7] * 10], np.full(10, 0.1))
    paper = solve_budget(model, budget=0.5, method="paper")
    exact = solve_budget(model, budget=0.5)
    assert paper.expected_usage == 0
    assert exact.expected_usage == pytest.approx(0.5)
    assert exact.expected_success == pytest.approx(0.45)
