"""The frontier: the concave hull, its certified gap, files and plots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.errors import CheckpointError
from selfreg_gym.solver import Frontier, solve, solve_budget, solve_frontier
from selfreg_gym.transitions import TransitionModel


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 50), cyclic=st.booleans(), density=st.sampled_from([0.05, 0.5]))
def test_the_frontier_is_within_its_gap_of_the_hull(random_model, seed, n, cyclic, density):
    model = random_model(np.random.default_rng(seed), n, 2, cyclic=cyclic, density=density)
    exact, rough = solve_frontier(model, gap=0), solve_frontier(model, gap=1e-2)
    assert exact.gap <= 1e-12
    assert rough.gap <= 1e-2
    grid = np.linspace(0, exact.usage[-1], 50)
    assert np.max(exact.success_at(grid) - rough.success_at(grid)) <= rough.gap + 1e-12
    slopes = np.diff(exact.success) / np.diff(exact.usage)  # concave
    assert (np.diff(exact.usage) > 0).all()
    assert (np.diff(exact.help_cost) < 0).all()
    assert (np.diff(slopes) < 1e-6).all()
    used = np.inf
    for price in (0.0, 0.07, 0.3, 1.1):  # the hull identity: max over the hull of S - r M is the solve at r
        value = solve(model, help_cost=price)
        assert value.expected_usage <= used + 1e-9  # a higher price never buys more
        used = value.expected_usage
        assert np.max(exact.success - price * exact.usage) == pytest.approx(model.start @ value.value, abs=1e-11)
    for budget in grid[1::17]:
        point = exact.policy(budget)
        assert point.expected_usage == pytest.approx(budget, abs=1e-9)
        assert point.expected_success == pytest.approx(solve_budget(model, budget=budget).expected_success, abs=1e-10)


def test_the_frontier_is_the_hull_of_all_policies_of_a_small_problem(random_model, enumerate_points):
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


def test_rows_plot_save_and_load(random_model, tmp_path):

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


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_costs_of_one_model_may_differ_by_many_orders_of_magnitude(backend: str) -> None:
    """A single step: success 0.2 without help, 0.5 with the cheap intervention, 0.9 with the expensive one."""
    nothing = np.zeros((1, 1))
    model = TransitionModel([nothing] * 3, np.array([[0.2], [0.5], [0.9]]), np.ones(1), [0.0, 1e-13, 1.0])
    frontier = solve_frontier(model, gap=1e-6, backend=backend)
    assert frontier.usage == pytest.approx([0, 1e-13, 1.0], rel=1e-9)
    assert frontier.success == pytest.approx([0.2, 0.5, 0.9])
    assert float(frontier.success_at(0.5)) == pytest.approx(0.7)
    assert frontier.policy(0.0).expected_success == pytest.approx(0.2)
