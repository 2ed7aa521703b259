"""Fitted Q-iteration: convergence to exact solutions, determinism, and interrupted fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfreg_gym import registry, solve_frontier
from selfreg_gym.errors import CheckpointError
from selfreg_gym.fitted import MissingSupportWarning
from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.iteration import iterate
from selfreg_gym.fitted.networks import mean_values
from selfreg_gym.fitted.packed import PackedInputs
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import fit_decisions
from selfreg_gym.fitted.targets import greedy
from selfreg_gym.solver import evaluate_policy
from selfreg_gym.transitions import TransitionModel
from tests.fitted.conftest import interrupted
from tests.fitted.test_decisions import permuted
from tests.solver.conftest import make_random_model
from tests.support.sampled import sample_decisions, state_inputs, true_value


def regrets(frontier, model, budgets):
    """Optimum at the true usage minus true success, for each budget."""
    curve = solve_frontier(model, gap=1e-5)
    points = [true_value(frontier.policy(budget), model) for budget in budgets]
    return np.array([float(curve.success_at(usage)) - success for success, usage in points])


def test_regret_on_random_models_is_small_and_falls_with_the_episodes():
    settings = Settings(prices=8, folds=2, hidden=32, rounds=8, final_rounds=1)
    found = np.zeros((2, 3))
    model = make_random_model(np.random.default_rng(1), 15)
    top = solve_frontier(model).usage[-1]
    for i, episodes in enumerate((100, 3000)):
        frontier = fit_decisions(sample_decisions(model, episodes, 1), settings)
        found[i] = regrets(frontier, model, top * np.array([0.2, 0.5, 0.8]))
    assert found[1].max() < 0.02
    assert found[1].mean() < 0.5 * found[0].mean()


def test_the_finite_horizon_optimum_is_found_with_time_as_an_input():
    task = registry.load("envs", "selfreg/FrozenLake-v0")(max_steps=20, clock=False)
    model = task.intervention_model([0], noise=0.5)
    settings = Settings(prices=10, folds=2, hidden=32, rounds=8)
    frontier = fit_decisions(sample_decisions(model, 2500, 1), settings)
    assert regrets(frontier, model, [0.5, 1.0, 2.0]).max() < 0.02


@pytest.mark.slow
def test_two_interventions_with_costs():
    base = make_random_model(np.random.default_rng(8), 15, actions=3)
    model = TransitionModel(base.P, base.success, base.start, np.array([0.0, 0.4, 1.5]))
    frontier = fit_decisions(sample_decisions(model, 6000, 2), Settings(prices=10, folds=2, hidden=32, rounds=9))
    assert frontier.estimates.usage.shape == (len(frontier.estimates.prices) + 3,)
    top = solve_frontier(model).usage[-1]
    assert regrets(frontier, model, top * np.array([0.25, 0.5, 0.75])).max() < 0.015
    success, usage = frontier.gains(state_inputs(model))
    assert success.shape == usage.shape == (15, 10, 2)


def fold_values(found, model, inputs):
    """``(2, P)`` exact success and usage of the policies of the folds, on average."""
    values = []
    for networks in found.networks:
        success, usage = mean_values([networks], PackedInputs(inputs))
        for actions in greedy(success, usage, found.prices).T:
            value = evaluate_policy(model, actions.astype(int))
            values.append((value.expected_success, value.expected_usage))
    return np.reshape(values, (len(found.networks), -1, 2)).mean(axis=0).T


@pytest.mark.slow
def test_held_out_values_are_within_their_sampling_error(model):
    settings = Settings(prices=8, folds=2, hidden=24, rounds=9)
    z = []
    for seed in range(3):
        d = sample_decisions(model, 1500, 50 + seed)
        found = iterate(d, replace(settings, seed=seed))
        at_grid = np.searchsorted(found.evaluated, found.prices)
        terms = np.stack([found.success, found.usage])[:, :, at_grid]
        error = terms.std(axis=1) / np.sqrt(d.episodes)
        z.append((terms.mean(axis=1) - fold_values(found, model, state_inputs(model))) / np.maximum(error, 1e-3))
    assert np.sqrt(np.mean(np.square(z))) < 1.6
    assert np.abs(np.mean(z)) < 1


@pytest.mark.slow
def test_networks_that_fit_noise_promise_more_than_the_held_out_value(model):
    """Inputs that say nothing: without cross-fitting, the maximum over noisy values is taken for success."""
    rng = np.random.default_rng(0)
    d = sample_decisions(model, 300, 3)
    noisy = replace(d, x=np.concatenate([d.x, rng.normal(size=(len(d), 60)).astype(np.float32)], axis=1))
    settings = Settings(prices=8, folds=2, hidden=64, rounds=12, epochs=8, dropout=0.0, trace=0.0)
    optimism = []
    for members in (1, 2):
        last = fit_decisions(noisy, replace(settings, members=members)).history[-1]
        optimism.append(last["planned"] - last["value"])
    assert optimism[0] > 0.02
    assert optimism[1] < optimism[0]


def test_results_depend_on_the_seed_and_not_on_the_order_of_episodes(decisions, frontier, small, model):
    x = state_inputs(model)
    values = np.stack(frontier.values(x))
    permutation = np.random.default_rng(0).permutation(decisions.episodes)
    again = fit_decisions(permuted(decisions, permutation), small)
    np.testing.assert_allclose(np.stack(again.values(x)), values, atol=1e-4)
    np.testing.assert_allclose(again.estimates.success, frontier.estimates.success, atol=1e-4)
    np.testing.assert_allclose(again.estimates.success_replicates, frontier.estimates.success_replicates, atol=1e-4)
    other = fit_decisions(decisions, replace(small, seed=1))
    assert np.abs(np.stack(other.values(x)) - values).max() > 1e-3


def test_an_interrupted_fit_continues_to_the_same_result(decisions, frontier, small, model, tmp_path):
    with interrupted(5):
        fit_decisions(decisions, small, folder=tmp_path)
    with pytest.raises(CheckpointError, match="other rollouts or settings"):
        fit_decisions(decisions, replace(small, seed=4), folder=tmp_path)
    resumed = fit_decisions(decisions, small, folder=tmp_path)
    x = state_inputs(model)
    np.testing.assert_array_equal(np.stack(resumed.values(x)), np.stack(frontier.values(x)))
    np.testing.assert_array_equal(resumed.estimates.usage, frontier.estimates.usage)
    assert resumed.history == frontier.history
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_raises(decisions, small, tmp_path):
    (tmp_path / "iteration_state.safetensors").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="delete it to restart"):
        fit_decisions(decisions, small, folder=tmp_path)


def test_the_number_of_threads_is_restored(frontier, model):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        frontier.values(state_inputs(model))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_an_action_without_data_is_avoided(missing: int, small: Settings) -> None:
    rng = np.random.default_rng(missing)
    action = rng.choice([one for one in range(3) if one != missing], 400)
    x = rng.integers(0, 2, (400, 3)).astype(np.float32)
    success = rng.random(400) < 0.2 + 0.3 * (action > 0)
    every = np.ones(400, bool)
    data = LoggedDecisions(x, action, (action > 0) * 1.0, every, success, np.arange(400) % 20, actions=3)
    with pytest.warns(MissingSupportWarning):
        frontier = fit_decisions(data, small)
    for price in frontier.prices[:-1]:
        assert missing not in frontier.action(x, float(price))
    found, usage = frontier.values(x)
    assert found[..., missing].max() < 1e-6
    assert (usage[..., missing] > 2 * data.cost.max()).all()
    tried = [one for one in range(3) if one != missing]
    assert (found[..., tried] > 0.02).all()
