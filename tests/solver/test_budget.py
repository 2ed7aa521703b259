"""Budgets: met exactly by a mixture, with the success of the linear program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import solve, solve_budget, solve_frontier
from selfreg_gym.transitions import TransitionModel


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32), n=st.integers(2, 60), cyclic=st.booleans(), share=st.floats(0, 1),
    density=st.sampled_from([0.05, 0.5]),
)  # fmt: skip
def test_a_budget_is_met_with_the_success_of_the_lp(random_model, lp, seed, n, cyclic, share, density):
    """Dense problems without cycles are solved at eight prices per pass."""
    model = random_model(np.random.default_rng(seed), n, 3, cyclic=cyclic, density=density)
    budget = share * solve(model, help_cost=0).expected_usage
    policy = solve_budget(model, budget=budget)
    assert policy.expected_usage <= budget + 1e-9
    assert policy.expected_success == pytest.approx(lp(model, budget), abs=1e-7)
    assert len(policy.policies) <= 2
    assert policy.iterations <= 30


def test_equals_the_lp_at_two_thousand_states(random_model, lp):
    model = random_model(np.random.default_rng(1), 2000, density=0.002)
    for share in (0.1, 0.5):
        budget = share * solve(model, help_cost=0).expected_usage
        told: list[tuple[int, float]] = []
        policy = solve_budget(model, budget=budget, progress=lambda *done, told=told: told.append(done))
        assert policy.expected_usage == pytest.approx(budget, abs=1e-12)
        assert [width for _, width in told] == sorted((width for _, width in told), reverse=True)
        assert policy.expected_success == pytest.approx(lp(model, budget), abs=1e-9)


def loop_with_a_rare_exit() -> TransitionModel:
    """Help returns with 0.9999 and succeeds otherwise: one call gains 1e-4, ten thousand calls about one half."""
    return TransitionModel([[[0.0]], [[1 - 1e-4]]], [[0.5], [1e-4]], [1])


def costs_that_differ_by_a_million() -> TransitionModel:
    P = [np.zeros((2, 2))] * 3
    return TransitionModel(P, [[0.1, 0.1], [0.4, 0.4], [0.9, 0.9]], [0.5, 0.5], cost=[0, 1e-3, 1e3])


def duplicated_states() -> TransitionModel:
    half = np.kron([[0, 1], [0, 0]], np.full((3, 3), 0.3))
    return TransitionModel([half, half], [[0.0] * 3 + [0.2] * 3, [0.05] * 3 + [0.7] * 3], [1 / 3] * 3 + [0] * 3)


def asking_now_saves_later() -> TransitionModel:
    """Help in the first state succeeds; without it two calls are needed later (dM < 0)."""
    onward, helped = np.zeros((3, 3)), np.zeros((3, 3))
    onward[0, 1] = helped[1, 2] = 1.0
    return TransitionModel([onward, helped], [[0, 0, 0], [0.95, 0, 1]], [1, 0, 0])


def closed_cycle() -> TransitionModel:
    return TransitionModel([[[0.0, 1.0], [1.0, 0.0]], np.zeros((2, 2))], [[0, 0], [0.5, 0.9]], [1, 0])


@pytest.mark.parametrize(
    "hard",
    [loop_with_a_rare_exit, costs_that_differ_by_a_million, duplicated_states, asking_now_saves_later, closed_cycle],
)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_hard_cases_at_every_budget(lp, hard, backend):
    model = hard()
    most = solve(model, help_cost=0).expected_usage
    frontier = solve_frontier(model, gap=0, backend=backend)
    for budget in (0.0, 1e-9, 0.1 * most, 0.5 * most, most * (1 - 1e-9), most, 2 * most + 1):
        policy, best = solve_budget(model, budget=budget, backend=backend), lp(model, budget)
        assert policy.expected_usage <= budget * (1 + 1e-12)
        assert policy.expected_success == pytest.approx(best, abs=1e-7)
        assert frontier.policy(budget).expected_success == pytest.approx(best, abs=1e-7)


def test_budget_zero_never_asks_and_a_slack_budget_has_a_message(random_model):
    model = random_model(np.random.default_rng(2), 30, density=0.1)
    nothing = solve_budget(model, budget=0)
    assert nothing.expected_usage == 0
    assert not nothing.policies[0].policy.any()
    best = solve(model, help_cost=0)
    enough = solve_budget(model, budget=100)
    assert enough.expected_success == pytest.approx(best.expected_success)
    assert "more budget cannot help" in enough.message
    assert solve_budget(model, budget=best.expected_usage).message == ""


@pytest.mark.parametrize("budget", [-1, float("nan")])
def test_an_invalid_budget_raises(random_model, budget):
    with pytest.raises(InvalidArgumentError, match=">= 0"):
        solve_budget(random_model(np.random.default_rng(2), 4), budget=budget)


def test_a_budget_is_met_with_a_fixed_p(random_model):
    model = random_model(np.random.default_rng(3), 80, density=0.05)
    p = solve(model, help_cost=10).success
    budget = 0.4 * solve(model, help_cost=0).expected_usage
    fixed = solve_budget(model, budget=budget, value="prm", prm=p)
    assert fixed.expected_usage == pytest.approx(budget, abs=1e-9)
    assert fixed.expected_success <= solve_budget(model, budget=budget).expected_success + 1e-12
