"""Validation of arguments, and costs of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError, ModelError, SelfRegError, UnknownNameError
from selfreg_gym.labels import label
from selfreg_gym.solver import (
    cross_fitted_value,
    evaluate_policy,
    solve,
    solve_budget,
    solve_caps,
    solve_frontier,
)
from selfreg_gym.solver.many_budgets import solve_budgets
from selfreg_gym.transitions import TransitionModel


@pytest.fixture(scope="module")
def model(random_model) -> TransitionModel:
    return random_model(np.random.default_rng(0), 8, 3)


NOT_A_NUMBER = ["1", True, None, float("nan"), -1, [[1.0]], {}, 1j, object()]


@pytest.mark.parametrize("value", NOT_A_NUMBER)
def test_invalid_prices_and_budgets_raise(model, value):
    calls = [
        lambda: solve(model, help_cost=value),
        lambda: solve_caps(model, hard_cap=1, help_cost=value),
        lambda: evaluate_policy(model, np.zeros(8, int), help_cost=value),
        lambda: solve_frontier(model, gap=value),
        lambda: solve(model, help_cost=0.1, discount=value),
        lambda: solve_frontier(model).policy(value),
        lambda: solve_caps(model, hard_cap=value),
    ]
    if value is not None:
        calls += [lambda: solve_budget(model, budget=value), lambda: solve_budget(model, hard_cap=value)]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match="received"):
            call()


@pytest.mark.parametrize("value", [[0.1], ["a", "b"], [0.1, -1], [0.1, float("nan")], [True, False], [[1, 2]], "ab"])
def test_invalid_arrays_of_budgets_and_prices_raise(model, value):
    with pytest.raises(InvalidArgumentError, match="received"):
        solve_budget(model, budget=value)
    with pytest.raises(InvalidArgumentError, match="received"):
        solve_budgets(model, budget=value)
    with pytest.raises(InvalidArgumentError, match="received"):
        solve(model, help_cost=value)


@pytest.mark.parametrize("cap", ["2", 1.5, float("inf"), True, -1, [1]])
def test_invalid_hard_caps_raise(model, cap):
    for call in (lambda: solve(model, help_cost=0, hard_cap=cap), lambda: solve_budget(model, hard_cap=cap)):
        with pytest.raises(InvalidArgumentError, match="an integer"):
            call()


@pytest.mark.parametrize("policy", [[0] * 7, ["0"] * 8, [0.5] * 8, [True] * 8, [float("nan")] * 8, 0, [[0] * 8], []])
def test_invalid_policies_raise(model, policy):
    with pytest.raises(InvalidArgumentError, match="a policy"):
        evaluate_policy(model, policy)


def test_a_policy_may_have_whole_floats(model):
    assert evaluate_policy(model, [1.0] * 8).expected_usage == evaluate_policy(model, [1] * 8).expected_usage


@pytest.mark.parametrize("prm", [["a"] * 8, [0.5] * 7, [float("nan")] * 8, [1.5] * 8, 0.5, [True] * 8, []])
def test_invalid_success_probabilities_raise(model, prm):
    with pytest.raises(InvalidArgumentError, match="success probability of each state"):
        solve(model, help_cost=0.1, value="prm", prm=prm)


def test_unknown_names_raise_in_all_solvers(model):
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        solve_budget(model, budget=1, method="papers")
    with pytest.raises(UnknownNameError, match="value"):
        solve_budget(model, budget=1, value="exakt")
    for name in (None, 3, ["auto"]):
        with pytest.raises(UnknownNameError):
            solve(model, help_cost=0, method=name)
        with pytest.raises(UnknownNameError):
            solve_frontier(model, backend=name)


@pytest.mark.parametrize("function", [solve, solve_budget, solve_frontier, solve_caps])
def test_other_objects_than_models_raise(function):
    arguments = {solve: {"help_cost": 1}, solve_budget: {"budget": 1}, solve_caps: {"hard_cap": 1}}.get(function, {})
    with pytest.raises(InvalidArgumentError, match="TransitionModel"):
        function("transitions.npz", **arguments)


def test_invalid_arguments_of_cross_fitting_raise(model, played):
    data = played(model, 20, np.random.default_rng(0))
    for bad in ({"budget": "1"}, {"budget": True}, {"folds": 2.5}, {"folds": "2"}, {"bootstrap": -1}, {"bootstrap": 1}):
        with pytest.raises(InvalidArgumentError, match="received"):
            cross_fitted_value(data, **{"budget": 1.0} | bad, horizon=None)


def test_invalid_budgets_of_labels_raise(model, played):
    for budgets in (["1"], [True], "1", [float("nan")], 1.0):
        with pytest.raises(InvalidArgumentError, match="received"):
            label(played(model, 3, np.random.default_rng(0)), solve_frontier(model), budgets=budgets)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("scale", [1e-13, 1e9])
@pytest.mark.parametrize("cyclic", [False, True])
def test_results_do_not_depend_on_the_unit_of_costs(random_model, backend, scale, cyclic):
    base = random_model(np.random.default_rng(3), 12, 3, cyclic=cyclic)
    scaled = TransitionModel(base.P, base.success, base.start, base.cost * scale)
    curve, plain = (solve_frontier(one, gap=0, backend=backend) for one in (scaled, base))
    assert curve.usage[0] == 0.0  # the end that never asks
    np.testing.assert_allclose(curve.usage / scale, plain.usage, rtol=1e-9)
    np.testing.assert_allclose(curve.success, plain.success, atol=1e-12)
    budget = 0.4 * plain.usage[-1]
    for found in (solve_budget(scaled, budget=budget * scale, backend=backend), curve.policy(budget * scale)):
        assert found.expected_usage / scale == pytest.approx(budget)
        assert found.expected_success == pytest.approx(plain.success_at(budget))
    one, two = solve(scaled, help_cost=0.1 / scale, backend=backend), solve(base, help_cost=0.1, backend=backend)
    np.testing.assert_allclose(one.value, two.value, atol=1e-12)
    np.testing.assert_allclose(one.usage_by_action / scale, two.usage_by_action, atol=1e-9)
    np.testing.assert_allclose(one.expected_usage_by_intervention / scale, two.expected_usage_by_intervention)
    several = [
        solve_budget(m, budget=np.array([0.2, 0.3]) * s, backend=backend) for m, s in ((scaled, scale), (base, 1))
    ]
    assert several[0].expected_success == pytest.approx(several[1].expected_success, abs=1e-8)
    caps = [solve_caps(m, hard_cap=2, backend=backend) for m in (scaled, base)]
    np.testing.assert_allclose(caps[0].usage / scale, caps[1].usage, atol=1e-9)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_free_calls_in_cycles_give_one_point_to_rounding(backend):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n = 12
        P = rng.random((2, n, n)) * (rng.random((2, n, n)) < 0.3)
        P *= 0.95 / np.maximum(P.sum(axis=2, keepdims=True), 1)
        success = rng.random((2, n)) * (1 - P.sum(axis=2))
        cost = np.zeros((2, n))
        cost[1] = rng.choice([0.0, 0.0, 1.0, 0.1, 1e-13], size=n)
        model = TransitionModel(list(P), success, np.full(n, 1 / n), cost, endless="fail")
        curve = solve_frontier(model, gap=0, backend=backend)
        assert (np.diff(curve.usage) > 0).all()
        assert (np.diff(curve.success) > 0).all()
        for budget in (0.0, 1e-14, 0.3, *curve.usage):
            assert curve.policy(budget).expected_usage <= budget + 1e-9
            assert solve_budget(model, budget=budget, backend=backend).expected_usage <= budget + 1e-9


def damaged_frontiers(read):
    yield "usage", np.array([1.0, np.nan])
    yield "usage", read["usage"][::-1]
    yield "usage", read["usage"][:-1]
    yield "success", np.array(["a"])
    yield "success", np.ones((2, 2))
    yield "help_cost", np.array([])
    yield "gap", np.array(-1.0)
    yield "discount", np.array([1.0, 1.0])
    yield "passes", None


def test_damaged_solution_files_raise(model, tmp_path: Path):
    from selfreg_gym.errors import CheckpointError
    from selfreg_gym.solver import Frontier

    path = tmp_path / "solution.npz"
    solve_frontier(model).save(path)
    with np.load(path) as archive:
        read = {name: archive[name] for name in archive.files}
    for name, value in damaged_frontiers(read):
        changed = {key: array for key, array in (read | {name: value}).items() if array is not None}
        np.savez(path, **changed)
        with pytest.raises(CheckpointError, match=r"solution\.npz is damaged: .* Make it again"):
            Frontier.load(path, model)
    path.write_text("not an archive")
    with pytest.raises(CheckpointError, match=r"is not a frontier.*it is not an \.npz file"):
        Frontier.load(path, model)
    assert issubclass(CheckpointError, SelfRegError)


def test_a_failed_save_of_a_frontier_keeps_the_former_file(model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from selfreg_gym.solver import Frontier

    path = tmp_path / "solution.npz"
    frontier = solve_frontier(model)
    frontier.save(path)

    def full_disk(file, **arrays):
        file.write(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        frontier.save(path)
    assert np.array_equal(Frontier.load(path, model).usage, frontier.usage)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def three_ways(*costs: float) -> TransitionModel:
    """A single step: success 0.2 without help, 0.5 with the first intervention, 0.9 with the second."""
    return TransitionModel([np.zeros((1, 1))] * 3, np.array([[0.2], [0.5], [0.9]]), np.ones(1), [0.0, *costs])


@pytest.mark.parametrize("solver", [solve_budget, solve_frontier])
@pytest.mark.parametrize("costs", [(1.0, 1e16), (1e-9, 1e20), (1.0, 1e30), (1e-310, 2e-310)])
def test_costs_that_cannot_be_added_raise(solver: Any, costs: tuple[float, float]) -> None:
    arguments = {"budget": 0.5} if solver is solve_budget else {}
    with pytest.raises(ModelError, match="a budget needs costs"):
        solver(three_ways(*costs), **arguments)
    with pytest.raises(ModelError, match="a budget needs costs"):
        solve_budget(three_ways(*costs), budget=[0.5, 0.5])


@pytest.mark.parametrize("scale", [1e-280, 1e-9, 1.0, 1e200])
def test_costs_that_can_be_added_are_solved(scale: float) -> None:
    model = three_ways(scale, 1e15 * scale)
    for budget, success in ((0.5, 0.35), (1.0, 0.5), (5e14, 0.7), (1e15, 0.9)):
        found = solve_budget(model, budget=budget * scale)
        assert found.expected_success == pytest.approx(success)
        assert found.expected_usage == pytest.approx(budget * scale)
    assert solve_frontier(model).success == pytest.approx([0.2, 0.5, 0.9])
    assert solve_budget(three_ways(0.0, scale), budget=0).expected_success == pytest.approx(0.5)
