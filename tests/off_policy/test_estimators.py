"""Estimators against exact values of known models."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.off_policy import evaluate_off_policy
from selfreg_gym.off_policy.behaviour import importance_weights
from selfreg_gym.off_policy.estimators import Part, weighted_doubly_robust, weighted_importance_sampling
from selfreg_gym.off_policy.logged import Logged
from selfreg_gym.solver import solve
from selfreg_gym.transitions import TransitionModel


def _part(logged: Logged, policy: np.ndarray, q: np.ndarray | None = None) -> Part:
    taken = policy[np.arange(len(policy)), logged.action]
    return Part(1.0, policy, importance_weights(logged, taken), q)


def _states(episodes) -> np.ndarray:
    return np.array([int(step.state_key) for one in episodes for step in one])


def test_weighted_importance_sampling_is_the_formula(known) -> None:
    episodes = known(0).sample(40, seed=0)
    logged = Logged.of(episodes)
    policy = np.array([[0.6, 0.4]] * len(logged.action))
    part = _part(logged, policy)
    longest = max(map(len, episodes))
    expected = np.zeros(2)
    for t in range(longest):
        above, below, place = np.zeros(2), 0.0, 0
        for episode in episodes:
            now = place + min(t, len(episode) - 1)
            below += part.weights[now]
            if t < len(episode):
                above += part.weights[now] * logged.outcome[now]
            place += len(episode)
        expected += above / below
    terms = weighted_importance_sampling(logged, [part])
    np.testing.assert_allclose(terms.value, expected, atol=1e-12)
    np.testing.assert_allclose(terms.influence.sum(axis=0), 0.0, atol=1e-12)


def test_the_influence_function_is_the_derivative_of_the_estimate(known) -> None:
    episodes = known(1).sample(30, seed=1)
    logged = Logged.of(episodes)
    rng = np.random.default_rng(0)
    policy = rng.dirichlet([1, 1], size=len(logged.action))
    q = rng.random((len(logged.action), 2, 2))

    def estimate(copies: list[int], estimator):
        several = [episodes[i] for i in copies]
        rows = np.concatenate([np.arange(logged.begin[i], logged.begin[i + 1]) for i in copies])
        many = Logged.of(several)
        # The weights are against the same mixture.
        part = Part(1.0, policy[rows], _part(logged, policy).weights[rows], q[rows])
        return estimator(many, [part])

    all_episodes = list(range(30)) * 40
    for estimator in (weighted_importance_sampling, weighted_doubly_robust):
        base = estimate(all_episodes, estimator)
        for i in (0, 7, 19):
            more = estimate([*all_episodes, i], estimator)
            np.testing.assert_allclose(more.value - base.value, base.influence[i], rtol=0.15, atol=2e-5)


def test_true_values_in_the_doubly_robust_estimate_reduce_its_error(known) -> None:
    model = known(2)
    solution = solve(model, help_cost=0.2)
    truth = np.array([solution.expected_success, solution.expected_usage])
    errors = []
    for seed in range(12):
        episodes = model.sample(1_000, seed=seed)
        logged, states = Logged.of(episodes), _states(episodes)
        policy = np.eye(2)[solution.policy[states]]
        q = np.stack([solution.success_by_action.T[states], solution.usage_by_action.T[states]], axis=2)
        plain = weighted_importance_sampling(logged, [_part(logged, policy)])
        robust = weighted_doubly_robust(logged, [_part(logged, policy, q)])
        errors.append([plain.value - truth, robust.value - truth])
        assert (np.abs(errors[-1][1]) < 5 * np.sqrt(np.square(robust.influence).sum(axis=0))).all()
    plain, robust = np.sqrt(np.square(errors).mean(axis=0))
    assert (robust < 0.85 * plain).all()


@pytest.mark.slow
@pytest.mark.parametrize("fixed_tasks", [False, True])
def test_intervals_cover_exact_values_of_random_models(known, probabilities, fixed_tasks) -> None:
    covered = {method: [] for method in ("wdr", "wis", "fqe")}
    errors = {method: [] for method in covered}
    for seed in range(40):
        model = known(seed % 10)
        if fixed_tasks:  # one start state is one task
            model = TransitionModel(model.P, model.success, np.eye(model.n)[seed % model.n])
        solution = solve(model, help_cost=[0.05, 0.2, 0.5][seed % 3])
        episodes = model.sample(2_000, seed=seed)
        policy = probabilities(episodes, solution.policy)
        found = evaluate_off_policy(episodes, policy, fixed_tasks=fixed_tasks)
        for method, one in found.estimates.items():
            for estimate, truth in ((one.success, solution.expected_success), (one.usage, solution.expected_usage)):
                covered[method].append(estimate.low <= truth <= estimate.high)
                errors[method].append(estimate.value - truth)
    for method, least in (("wdr", 0.9), ("wis", 0.85), ("fqe", 0.88)):
        assert np.mean(covered[method]) >= least, (method, np.mean(covered[method]))
        bias, spread = np.mean(errors[method]), np.std(errors[method])
        assert abs(bias) < 0.4 * spread, (method, bias, spread)
