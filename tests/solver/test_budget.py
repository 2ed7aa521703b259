"""A budget: met exactly by a coin between two policies, as good as the linear program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import MixedPolicy, solve, solve_budget, solve_frontier
from selfreg_gym.solver.frontier import Frontier
from selfreg_gym.transitions import TransitionModel


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 60), cyclic=st.booleans(), share=st.floats(0, 1))
def test_a_budget_is_met_and_is_as_good_as_the_lp(random_model, lp, seed, n, cyclic, share):
    model = random_model(np.random.default_rng(seed), n, 3, cyclic=cyclic, density=3 / n)
    budget = share * solve(model, help_cost=0).expected_usage
    policy = solve_budget(model, budget=budget)
    assert policy.expected_usage <= budget + 1e-9
    assert policy.expected_success == pytest.approx(lp(model, budget), abs=1e-7)
    assert len(policy.policies) <= 2
    assert policy.iterations <= 30


def test_agrees_with_the_lp_at_two_thousand_states(random_model, lp):
    model = random_model(np.random.default_rng(1), 2000, density=0.002)
    for share in (0.1, 0.5):
        budget = share * solve(model, help_cost=0).expected_usage
        policy = solve_budget(model, budget=budget)
        assert policy.expected_usage == pytest.approx(budget, abs=1e-12)
        assert policy.expected_success == pytest.approx(lp(model, budget), abs=1e-9)


def test_no_budget_asks_nobody_and_too_much_says_so(random_model):
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
def test_a_budget_below_nothing_is_refused(random_model, budget):
    with pytest.raises(InvalidArgumentError, match=">= 0"):
        solve_budget(random_model(np.random.default_rng(2), 4), budget=budget)


def test_the_papers_bisection_stays_below_a_budget_that_the_coin_meets():
    """Ten equal states, so every policy price jumps from no help to all of it."""
    P = [np.zeros((10, 10))] * 2
    model = TransitionModel(P, [[0.2] * 10, [0.7] * 10], np.full(10, 0.1))
    paper = solve_budget(model, budget=0.5, method="paper")
    exact = solve_budget(model, budget=0.5)
    assert paper.expected_usage == 0
    assert exact.expected_usage == pytest.approx(0.5)
    assert exact.expected_success == pytest.approx(0.45)


def test_a_fixed_p_meets_its_budget_too(random_model):
    model = random_model(np.random.default_rng(3), 80, density=0.05)
    p = solve(model, help_cost=10).success
    budget = 0.4 * solve(model, help_cost=0).expected_usage
    fixed = solve_budget(model, budget=budget, value="prm", prm=p)
    assert fixed.expected_usage == pytest.approx(budget, abs=1e-9)
    assert fixed.expected_success <= solve_budget(model, budget=budget).expected_success + 1e-12


# -- the frontier ------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 50), cyclic=st.booleans())
def test_the_frontier_is_the_hull_and_its_gap_holds(random_model, seed, n, cyclic):
    model = random_model(np.random.default_rng(seed), n, 2, cyclic=cyclic, density=3 / n)
    exact, rough = solve_frontier(model, gap=0), solve_frontier(model, gap=1e-2)
    assert exact.gap <= 1e-12
    assert rough.gap <= 1e-2
    grid = np.linspace(0, exact.usage[-1], 50)
    assert np.max(exact.success_at(grid) - rough.success_at(grid)) <= rough.gap + 1e-12
    slopes = np.diff(exact.success) / np.diff(exact.usage)
    assert (np.diff(exact.usage) > 0).all()
    assert (np.diff(exact.help_cost) < 0).all()
    assert (np.diff(slopes) < 1e-6).all()
    for price in (0.0, 0.07, 0.3, 1.1):  # the hull identity: max over the hull of S - r M is the solve at r
        value = solve(model, help_cost=price)
        assert np.max(exact.success - price * exact.usage) == pytest.approx(model.start @ value.value, abs=1e-11)
    for budget in grid[1::17]:
        point = exact.policy(budget)
        assert point.expected_usage == pytest.approx(budget, abs=1e-9)
        assert point.expected_success == pytest.approx(solve_budget(model, budget=budget).expected_success, abs=1e-10)


def test_the_frontier_of_all_policies_of_a_small_problem(random_model, enumerate_points):
    from scipy.spatial import ConvexHull

    model = random_model(np.random.default_rng(21), 9)
    points = enumerate_points(model)
    frontier = solve_frontier(model, gap=0)
    hull = points[ConvexHull(points).vertices]
    for success, usage in hull:
        assert success <= frontier.success_at(min(usage, frontier.usage[-1])) + 1e-12
    for success, usage in zip(frontier.success, frontier.usage, strict=True):
        assert np.min(np.abs(points - [success, usage]).max(axis=1)) < 1e-12


def test_both_backends_find_the_same_frontier(random_model):
    model = random_model(np.random.default_rng(22), 200, density=0.1)
    numba, numpy = (solve_frontier(model, backend=backend) for backend in ("numba", "numpy"))
    np.testing.assert_allclose(numba.usage, numpy.usage, atol=1e-12)
    np.testing.assert_allclose(numba.success, numpy.success, atol=1e-12)
    assert numba.passes < numpy.passes  # eight prices in one pass


def test_the_frontier_is_written_read_shown_and_drawn(random_model, tmp_path):
    from selfreg_gym.errors import CheckpointError

    model = random_model(np.random.default_rng(23), 50, density=0.05)
    found: list[int] = []
    frontier = solve_frontier(model, progress=lambda points, gap: found.append(points))
    assert found == sorted(found)
    frontier.save(tmp_path / "solution.npz")
    model.save(tmp_path / "transitions.npz")
    again = Frontier.load(tmp_path / "solution.npz", TransitionModel.load(tmp_path / "transitions.npz"))
    assert np.array_equal(again.policy(0.3).help_probability(), frontier.policy(0.3).help_probability())
    assert again.gap == frontier.gap
    assert again.rows()[-1]["usage"] == frontier.usage[-1]
    assert "points" in repr(again)
    axes = frontier.plot()
    assert axes.get_ylabel() == "expected success"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), frontier.usage)
    other = random_model(np.random.default_rng(24), 50, density=0.05)
    with pytest.raises(CheckpointError, match="another model"):
        Frontier.load(tmp_path / "solution.npz", other)
    with pytest.raises(CheckpointError, match="no file"):
        Frontier.load(tmp_path / "nothing.npz", model)
    with pytest.raises(CheckpointError, match="expected format"):
        Frontier.load(tmp_path / "transitions.npz", model)


def test_a_mixture_tosses_its_coin_with_its_weights(random_model):
    model = random_model(np.random.default_rng(25), 30, density=0.1)
    policy = solve_budget(model, budget=0.5 * solve(model, help_cost=0).expected_usage)
    rng = np.random.default_rng(0)
    draws = np.bincount([policy.draw(rng) for _ in range(4000)], minlength=len(policy.policies)) / 4000
    np.testing.assert_allclose(draws, policy.weights, atol=0.03)
    with pytest.raises(InvalidArgumentError, match="one weight"):
        MixedPolicy(policy.policies, np.array([0.5]), 0.1)
