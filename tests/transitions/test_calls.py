"""Models of problems whose calls last several steps: exact against backward induction, and fitted against exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import SUBGOALS, exact, optimum, played

from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.solver import evaluate_policy, solve, solve_budget, solve_caps, solve_frontier
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.transitions.calls import with_calls

DURATIONS = (1, 2, 3, "subgoal", "end")


def lasting(duration: Any, cost_per: Any = "call") -> TransitionModel:
    return with_calls(exact(), [duration], costs_per=[cost_per], subgoals=SUBGOALS)


# --- the exact optimum ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("cost_per", ["call", "step"])
@pytest.mark.parametrize("duration", DURATIONS)
def test_the_solution_is_that_of_backward_induction(duration: Any, cost_per: Any, backend: str) -> None:
    model = lasting(duration, cost_per)
    for price in (0.0, 0.03, 0.07, 0.15, 0.4):
        found = solve(model, help_cost=price, backend=backend)
        success, usage = optimum(price, duration, cost_per=cost_per)
        assert found.expected_success - price * found.expected_usage == pytest.approx(success - price * usage, abs=1e-9)
        if price:  # without a price, help that changes nothing is a tie
            assert (found.expected_success, found.expected_usage) == pytest.approx((success, usage), abs=1e-9)
        assert found.expected_usage_by_intervention.tolist() == pytest.approx([found.expected_usage])


@pytest.mark.parametrize("duration", [2, "subgoal", "end"])
def test_the_time_expanded_model_has_the_same_solution(duration: Any) -> None:
    model = lasting(duration, "step")
    levelled, flat = solve(model, help_cost=0.05), solve(model.flat(), help_cost=0.05)
    np.testing.assert_allclose(levelled.success, flat.success)
    np.testing.assert_allclose(levelled.usage, flat.usage)


def test_one_call_to_the_end_is_one_decision() -> None:
    # Help before the start or never: success of the expert alone against that of the actor alone, for one cost unit.
    model = lasting("end", "call")
    alone, helped = (_constant(model, action) for action in (0, 1))
    assert helped[1] == pytest.approx(1.0)
    caps = solve_caps(model, hard_cap=2)
    assert caps.expected_success[0] == pytest.approx(alone[0])
    assert caps.expected_success[1] == pytest.approx(caps.expected_success[2])
    assert caps.expected_success[1] >= helped[0] - 1e-12


def _constant(model: TransitionModel, action: int) -> tuple[float, float]:
    policy = np.where(model.available[action], action, 0)
    found = evaluate_policy(model, np.tile(policy, model.levels))
    return found.expected_success, found.expected_usage


def test_caps_count_calls_and_not_steps() -> None:
    three, one = solve_caps(lasting(3), hard_cap=3), solve_caps(lasting(1), hard_cap=9)
    assert (three.expected_success[:4] >= one.expected_success[:4] - 1e-12).all()
    assert three.expected_success[3] == pytest.approx(one.expected_success[9], abs=0.02)
    assert three.expected_usage[1] <= 1 + 1e-12


def test_budgets_and_the_frontier_agree() -> None:
    model = lasting(3, "step")
    frontier = solve_frontier(model)
    for budget in (0.5, 1.5, 3.0):
        mixture = solve_budget(model, budget=budget)
        assert mixture.expected_usage <= budget + 1e-9
        assert frontier.policy(budget=budget).expected_success == pytest.approx(mixture.expected_success, abs=1e-7)


def test_usage_counts_for_the_intervention_whose_call_goes_on() -> None:
    base = exact()
    P, success = base.rows, base.success
    two = TransitionModel.levelled(
        [P[0], P[1], P[1]], base.levels, np.stack([success[0], success[1], success[1]]), base.start, [0.0, 1.0, 0.4]
    )
    model = with_calls(two, [1, "end"], costs_per=["call", "step"])
    found = solve(model, help_cost=0.05)
    by_one = found.expected_usage_by_intervention
    assert by_one.sum() == pytest.approx(found.expected_usage)
    assert by_one[1] > 0.4  # more than the first step of a call
    budgets = solve_budget(model, budget=[0.2, 0.8])
    assert (budgets.expected_usage_by_intervention <= np.array([0.2, 0.8]) + 1e-7).all()


def test_a_call_as_long_as_a_step_changes_nothing() -> None:
    assert solve(lasting(1), help_cost=0.1).value.tolist() == solve(exact(), help_cost=0.1).value.tolist()


def test_saved_models_keep_their_calls(tmp_path: Path) -> None:
    model = with_calls(exact(), [2], costs_per=["step"])
    model = model._replaced(keys=tuple(map(str, model.keys or ())))
    model.save(tmp_path / "model.npz")
    again = TransitionModel.load(tmp_path / "model.npz")
    assert again.fingerprint == model.fingerprint
    assert again.calling.tolist() == model.calling.tolist()
    assert exact().fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([2, 3],), InvalidArgumentError, "one entry per intervention, 1"),
        ((["subgoal"],), InvalidArgumentError, "needs subgoals"),
        ((["later"],), InvalidArgumentError, "'subgoal' or 'end'"),
        (([0],), InvalidArgumentError, "at least 1 step"),
    ],
)
def test_wrong_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        with_calls(exact(), *arguments)


def test_a_wrong_unit_of_costs() -> None:
    with pytest.raises(InvalidArgumentError, match="costs_per must be 'call' or 'step', received 'stp'"):
        with_calls(exact(), [2], costs_per=["stp"])  # type: ignore[list-item]


def test_calls_go_on_where_no_help_is_available_only() -> None:
    P = np.full((2, 2, 2), 0.3)
    arrays: Any = (list(P), np.full((2, 2), 0.2), [1.0, 0.0])
    available = np.array([[True, True], [True, False]])
    cost = np.array([[0.0, 0.5], [1.0, 0.0]])
    model = TransitionModel(*arrays, cost, available=available, calling=[0, 1])
    assert model.charged.tolist() == [[0, 1], [1, 1]]
    with pytest.raises(ModelError, match="help must not be available"):
        TransitionModel(*arrays, cost, calling=[0, 1])
    with pytest.raises(ModelError, match="cost of nohelp must be 0"):
        TransitionModel(*arrays, cost, available=available)
    with pytest.raises(ModelError, match="calling must have 2 integers"):
        TransitionModel(*arrays, cost, available=available, calling=[0, 2])


# --- fitted to episodes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("duration", "cost_per"), [(3, "call"), (2, "step"), ("subgoal", "step"), ("end", "step")])
def test_a_model_fitted_to_many_episodes_is_the_exact_one(duration: Any, cost_per: Any) -> None:
    model = TransitionModel.fit(played(duration, cost_per, 3000), prior=0.0, backoff=None)
    assert model.calling.any()
    for price in (0.0, 0.05, 0.15):
        found = solve(model, help_cost=price)
        success, usage = optimum(price, duration, cost_per=cost_per)
        assert found.expected_success - price * found.expected_usage == pytest.approx(success - price * usage, abs=0.03)
    # The fitted policy, on the exact model: its decisions are those of the nodes with the same keys.
    truth = lasting(duration, cost_per)
    policy = np.zeros(truth.n, np.int8)
    found = solve(model, help_cost=0.05)
    for left in range(1, truth.levels + 1):
        for cell in range(5):
            policy[(left - 1) * truth.nodes + cell] = found.action(model.locate(f"cell {cell}", None, left))
    best = solve(truth, help_cost=0.05)
    own = evaluate_policy(truth, policy)
    regret = best.expected_success - 0.05 * best.expected_usage - own.expected_success + 0.05 * own.expected_usage
    assert regret < 0.01


def test_the_keys_of_continued_calls_count_steps_only_where_all_calls_are_equally_long() -> None:
    by_steps = TransitionModel.fit(played(3, "call", 300), backoff=None).keys or ()
    to_subgoal = TransitionModel.fit(played("subgoal", "call", 300), backoff=None).keys or ()
    assert {key.rpartition(" [")[2] for key in by_steps if "[" in key} == {"help 1, step 2]", "help 1, step 3]"}
    assert {key.rpartition(" [")[2] for key in to_subgoal if "[" in key} == {"help 1 goes on]"}


def test_sampled_episodes_continue_calls() -> None:
    model = lasting(3, "step")
    episodes = model.sample(2000, help_probabilities=[0.3], seed=1)
    for episode in episodes[:200]:
        for before, step in zip(episode.steps, episode.steps[1:], strict=False):
            assert not step.continuation or (before.action, step.action) == (1, 1)
    real = played(3, "step", 1500, chances=[0.3])
    for value in (lambda one: one.cost, lambda one: float(one.success)):
        assert np.mean([value(one) for one in episodes]) == pytest.approx(
            np.mean([value(one) for one in real]), abs=0.1
        )
    refitted = solve(TransitionModel.fit(episodes, prior=0.0, backoff=None), help_cost=0.05)
    exact_one = solve(model, help_cost=0.05)
    assert refitted.expected_success == pytest.approx(exact_one.expected_success, abs=0.06)
