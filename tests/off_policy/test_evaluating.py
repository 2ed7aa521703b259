"""`evaluate_off_policy` from episodes and helpers: mixtures, support, several interventions, arguments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.dp import DP
from selfreg_gym.agents.helpers.never import Never
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.calibration.mixture import CoinMixture
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.off_policy import OffPolicySupportError, evaluate_off_policy
from selfreg_gym.off_policy.logged import Logged
from selfreg_gym.solver import evaluate_policy, solve, solve_budget
from selfreg_gym.transitions import TransitionModel


def _within(estimate, truth: float, slack: float = 2.0) -> bool:
    half = (estimate.high - estimate.low) / 2
    return abs(estimate.value - truth) <= slack * half + 1e-9


@pytest.mark.parametrize("method", ["wdr", "wis", "fqe"])
def test_values_of_fixed_policies_on_a_known_model(known, probabilities, method) -> None:
    model = known(3)
    episodes = model.sample(2_000, seed=0)
    for price in (0.05, 0.4):
        solution = solve(model, help_cost=price)
        policy = probabilities(episodes, solution.policy)
        found = evaluate_off_policy(episodes, policy, methods=[method])[method]
        assert found.supported
        assert _within(found.success, solution.expected_success)
        assert _within(found.usage, solution.expected_usage)
        assert found.success.high - found.success.low < 0.3


def test_never_and_always_are_estimated_from_all_episodes(known) -> None:
    model = known(4)
    episodes = model.sample(2_000, seed=1)
    for helper, action in ((Never(), 0), (Always(), 1)):
        truth = evaluate_policy(model, np.full(model.n, action))
        found = evaluate_off_policy(episodes, helper, methods=["wdr"], fixed_tasks=True)["wdr"]
        assert _within(found.success, truth.expected_success)
        assert _within(found.usage, truth.expected_usage)
        alone = np.array([e.success for e in episodes if e.help_probability == float(action)])
        assert np.sqrt(np.square(found.contributions[:, 0]).sum()) < alone.std() / np.sqrt(len(alone))


def test_random_help_draws_and_probabilities_agree(known) -> None:
    model = known(5)
    episodes = model.sample(1_000, seed=2)
    n = sum(map(len, episodes))
    drawn = evaluate_off_policy(episodes, Random(0.3, seed=1), draws=10, methods=["wdr"])
    exact = evaluate_off_policy(episodes, np.tile([0.7, 0.3], (n, 1)), methods=["wdr"])
    assert abs(drawn["wdr"].success.value - exact["wdr"].success.value) < 0.05
    assert abs(drawn["wdr"].usage.value - exact["wdr"].usage.value) < 0.1
    mixed = 0.7 * model.P[0].toarray() + 0.3 * model.P[1].toarray()
    success = 0.7 * model.success[0] + 0.3 * model.success[1]
    truth = model.start @ np.linalg.solve(np.eye(model.n) - mixed, np.stack([success, np.full(model.n, 0.3)], axis=1))
    assert _within(exact["wdr"].success, truth[0])
    assert _within(exact["wdr"].usage, truth[1])


def test_a_coin_per_episode_is_evaluated_without_draws(known) -> None:
    model = known(6)
    episodes = model.sample(600, seed=3)
    coin = CoinMixture(Never(), Always(), weight=0.25)
    found = evaluate_off_policy(episodes, coin)
    parts = [evaluate_off_policy(episodes, one) for one in (Never(), Always())]
    for method in found.estimates:
        expected = 0.75 * parts[0][method].success.value + 0.25 * parts[1][method].success.value
        assert found[method].success.value == pytest.approx(expected, abs=1e-9)


def test_a_mixed_solution_is_evaluated_policy_by_policy(known) -> None:
    model = known(7)
    named = TransitionModel(model.P, model.success, model.start, model.cost, keys=[str(i) for i in range(model.n)])
    policy = solve_budget(named, budget=0.4)
    assert len(policy.policies) == 2
    found = evaluate_off_policy(named.sample(1_500, seed=4), DP(policy), methods=["wdr"])
    assert _within(found.best.success, policy.expected_success)
    assert _within(found.best.usage, policy.expected_usage)


def test_several_interventions_have_usage_of_their_own(known, probabilities) -> None:
    model = known(8, interventions=2)
    solution = solve(model, help_cost=0.1)
    assert set(solution.policy.tolist()) == {0, 1, 2}
    episodes = model.sample(4_000, seed=8)  # with seed 5 the mean weight is 0.68, and the estimate is refused
    found = evaluate_off_policy(episodes, probabilities(episodes, solution.policy, 3), methods=["wdr"]).best
    assert _within(found.success, solution.expected_success)
    for estimate, truth in zip(found.usage_by_intervention, solution.expected_usage_by_intervention, strict=True):
        assert _within(estimate, truth)
    total = sum(one.value for one in found.usage_by_intervention)
    assert found.usage.value == pytest.approx(total, abs=0.02)


@pytest.mark.parametrize(("number", "seed"), [(8, 3), (2, 4)])
def test_weights_whose_mean_is_below_one_are_refused(known, probabilities, number, seed) -> None:
    """Two interventions and few episodes: the rare episodes with large weights are missing, and the truth is missed."""
    model = known(number, interventions=2)
    solution = solve(model, help_cost=0.05)
    episodes = model.sample(1_000, seed=seed)
    found = evaluate_off_policy(
        episodes, probabilities(episodes, solution.policy, 3), methods=["wis", "fqe"], fixed_tasks=True
    )
    assert found.effective_episodes > 50
    assert found.mean_weight.value < 0.8
    assert not _within(found["wis"].success, solution.expected_success, 1.0)
    assert not found["wis"].supported
    assert "have the mean 0." in found["wis"].reason
    assert found.best.method == "fqe"
    assert found.rows()[0]["mean_weight"] == found.mean_weight.value


def test_weights_of_mean_one_are_accepted(known) -> None:
    model = known(5)
    for seed in range(6):
        episodes = model.sample(600, seed=seed)
        policy = np.tile([0.6, 0.4], (sum(map(len, episodes)), 1))
        found = evaluate_off_policy(episodes, policy, methods=["wis"])
        assert found["wis"].supported
        assert found.mean_weight.value == pytest.approx(1.0, abs=0.1)


MIXED = (0.7, 0.2, 0.1)
"""Probabilities of the actions of a policy that draws at every step."""


def _exact(model, policy: np.ndarray) -> tuple[float, np.ndarray]:
    """Success and usage of each intervention of a policy ``(n, 3)`` of random actions, by a linear system."""
    chain = sum(policy[:, a, None] * model.P[a].toarray() for a in range(3))
    reward = np.column_stack(
        [(policy.T * model.success).sum(axis=0), policy[:, 1] * model.cost[1], policy[:, 2] * model.cost[2]]
    )
    success, *usage = model.start @ np.linalg.solve(np.eye(model.n) - chain, reward)
    return success, np.array(usage)


def test_unequal_shares_of_the_interventions_are_corrected_for(known) -> None:
    model = known(8, interventions=2)
    success, usage = _exact(model, np.tile(MIXED, (model.n, 1)))
    episodes = model.sample(2_000, help_probabilities=[0.2, 0.5], help_shares=[0.85, 0.15], seed=11)
    policy = np.tile(MIXED, (sum(map(len, episodes)), 1))
    found = evaluate_off_policy(episodes, policy, methods=["wis"]).best
    assert _within(found.success, success)
    for estimate, truth in zip(found.usage_by_intervention, usage, strict=True):
        assert _within(estimate, truth)
    equal = [replace(one, steps=tuple(replace(step, propensities=None) for step in one)) for one in episodes]
    assert not _within(evaluate_off_policy(equal, policy, methods=["wis"]).best.usage_by_intervention[0], usage[0], 3.0)


def test_help_that_is_not_available_everywhere_has_weights_of_its_own(known) -> None:
    full = known(8, interventions=2)
    available = np.ones((3, full.n), bool)
    available[1, ::2] = False
    model = TransitionModel(full.P, full.success, full.start, available=available)
    table = np.where(available.T, MIXED, [0.0, 0.0, 0.0])
    table[:, 0] += 1 - table.sum(axis=1)
    success, usage = _exact(model, table)
    episodes = model.sample(2_000, help_probabilities=[0.2, 0.5], seed=12)
    assert not Logged.of(episodes).stationary
    policy = table[[int(step.state_key) for one in episodes for step in one]]
    found = evaluate_off_policy(episodes, policy, methods=["wis"])
    assert found.out_of_support == pytest.approx(0.0, abs=1e-6)
    assert _within(found.best.success, success)
    for estimate, truth in zip(found.best.usage_by_intervention, usage, strict=True):
        assert _within(estimate, truth)


def test_an_estimate_without_support_is_refused(known, tabular) -> None:
    model = known(9)
    solution = solve(model, help_cost=0.2)
    helper = tabular(solution.policy)
    found = evaluate_off_policy(model.sample(300, help_probabilities=[0.0, 1.0], seed=6), helper)
    assert not found["wdr"].supported
    assert "was never tried" in found["fqe"].reason
    with pytest.raises(OffPolicySupportError, match="no off-policy estimate is supported"):
        _ = found.best
    few = evaluate_off_policy(model.sample(60, seed=7), helper, min_effective=55, methods=["wis", "wdr"])
    assert "effective episodes, fewer than 55" in few["wis"].reason
    assert few.rows()[0]["supported"] is False
    assert evaluate_off_policy(model.sample(100, help_probabilities=[0.0], seed=8), Always()).out_of_support == 1.0


def test_the_batch_size_changes_nothing_and_progress_is_counted(known, tabular) -> None:
    model = known(0)
    episodes, helper = model.sample(200, seed=0), tabular(solve(model, help_cost=0.2).policy)
    calls: list[tuple[int, int]] = []
    one = evaluate_off_policy(episodes, helper, num_envs=1)
    many = evaluate_off_policy(episodes, helper, num_envs=64, progress=lambda *x: calls.append(x))
    assert one.rows() == many.rows()
    assert calls[-1] == (200, 200)


def _played_by_a_helper(episode):
    steps = tuple(replace(step, propensities=None) for step in episode.steps)
    return replace(episode, help_probability=None, steps=steps)


def test_bad_arguments_are_explained(known) -> None:
    episodes = known(0).sample(100, seed=0)
    with pytest.raises(UnknownNameError, match="off-policy method"):
        evaluate_off_policy(episodes, Never(), methods=["is"])
    for methods in ((), "wdr"):
        with pytest.raises(InvalidArgumentError, match="methods must be a sequence of at least one"):
            evaluate_off_policy(episodes, Never(), methods=methods)
    with pytest.raises(InvalidArgumentError, match="two episodes per fold"):
        evaluate_off_policy(episodes[:5], Never())
    with pytest.raises(InvalidArgumentError, match="help_probability=None"):
        evaluate_off_policy([_played_by_a_helper(one) for one in episodes], Never())
    with pytest.raises(InvalidArgumentError, match="finished episodes without errors"):
        evaluate_off_policy([], Never())
    with pytest.raises(InvalidArgumentError, match="action probabilities must have shape"):
        evaluate_off_policy(episodes, np.zeros((3, 2)))
    decisions = sum(len(one.steps) for one in episodes)
    for inputs in (np.zeros((3, 2)), np.zeros(decisions), np.full((decisions, 1), np.nan)):
        with pytest.raises(InvalidArgumentError, match="inputs must be finite numbers"):
            evaluate_off_policy(episodes, Never(), inputs=inputs)
