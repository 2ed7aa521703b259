"""Sampled episodes: their frequencies against P, their fields, and models fitted to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.solver import evaluate_policy, solve_budget
from selfreg_gym.transitions import TransitionModel


def _next_node(episode, t: int, node_of: dict[str, int], success: int, failure: int) -> int:
    if t + 1 < len(episode.steps):
        return node_of[episode.steps[t + 1].state_key]
    return success if episode.success else failure


def test_outcomes_have_the_probabilities_of_the_model(truth) -> None:
    model = truth(3)
    episodes = model.sample(20_000, seed=1)
    node_of = {str(i): i for i in range(model.n)}
    counts = np.zeros((2, model.n, model.n + 2))
    for episode in episodes:
        for t, step in enumerate(episode.steps):
            counts[step.action, node_of[step.state_key], _next_node(episode, t, node_of, model.n, model.n + 1)] += 1
    pvalues = []
    for a in range(2):
        rows = model.P[a].toarray()
        for node in range(model.n):
            expected = np.append(rows[node], model.success[a, node])
            expected = np.append(expected, 1 - expected.sum())
            seen = counts[a, node]
            assert not seen[expected < 1e-12].any(), "an outcome of probability 0 was sampled"
            some = expected > 1e-12
            pvalues.append(stats.chisquare(seen[some], expected[some] / expected[some].sum() * seen.sum()).pvalue)
    assert min(pvalues) > 0.05 / len(pvalues) / 20
    assert stats.kstest(pvalues, "uniform").pvalue > 1e-3


def test_help_is_drawn_with_the_probability_of_the_episode(truth) -> None:
    episodes = truth(0).sample(8_000, help_probabilities=(0.0, 0.25, 1.0), seed=2)
    assert [e.help_probability for e in episodes[:4]] == [0.0, 0.25, 1.0, 0.0]
    for p in (0.0, 0.25, 1.0):
        helped = [step.action for e in episodes if e.help_probability == p for step in e]
        assert abs(np.mean(helped) - p) <= 4 * np.sqrt(p * (1 - p) / len(helped))


def test_the_mean_of_always_asking_is_its_exact_value(truth) -> None:
    model = truth(5)
    for p in (0.0, 1.0):
        value = evaluate_policy(model, np.full(model.n, int(p)))
        episodes = model.sample(8_000, help_probabilities=[p], seed=3)
        wins, usage = np.array([e.success for e in episodes]), np.array([e.cost for e in episodes])
        assert abs(wins.mean() - value.expected_success) < 4 * wins.std() / np.sqrt(len(wins))
        assert abs(usage.mean() - value.expected_usage) <= 4 * usage.std() / np.sqrt(len(wins))


def test_a_model_over_steps_left_gives_steps_left_and_its_values(levelled) -> None:
    model = levelled(np.random.default_rng(0), 8, 6)
    value = evaluate_policy(model, np.zeros(model.n, int))
    episodes = model.sample(20_000, help_probabilities=[0.0], seed=4)
    wins = np.array([e.success for e in episodes])
    assert abs(wins.mean() - value.expected_success) < 4 * wins.std() / np.sqrt(len(wins))
    lefts = [[step.steps_left for step in e] for e in episodes]
    assert all(left[-1] >= 1 and left == sorted(left, reverse=True) for left in lefts)
    last = [e.steps[-1] for e in episodes]
    assert {step.steps_left for step in last if step.truncated} == {1}
    assert all(step.truncated != step.terminated for step in last)
    always = evaluate_policy(model, np.ones(model.n, int))
    helped = np.array([e.success for e in model.sample(20_000, help_probabilities=[1.0], seed=5)])
    assert abs(helped.mean() - always.expected_success) < 4 * helped.std() / np.sqrt(len(helped))


def test_several_interventions_are_asked_equally_often_with_their_costs() -> None:
    stay = np.full((1, 1), 0.5)
    model = TransitionModel([stay] * 4, [[0.1], [0.2], [0.3], [0.4]], [1.0], cost=[0, 1.0, 2.0, 0.5])
    episodes = model.sample(9_000, help_probabilities=[0.6], seed=6)
    actions = np.array([step.action for e in episodes for step in e])
    share = np.bincount(actions, minlength=4) / len(actions)
    np.testing.assert_allclose(share, [0.4, 0.2, 0.2, 0.2], atol=0.015)
    spent = np.array([e.usage for e in episodes]).sum(axis=0)
    np.testing.assert_allclose(spent, np.bincount(actions, minlength=4)[1:] * [1.0, 2.0, 0.5])


def test_help_that_is_not_available_is_not_given(chain) -> None:
    available = np.array([[True, True], [False, True]])
    episodes = chain(available=available).sample(500, help_probabilities=[1.0], seed=7)
    assert {(step.state_key, step.action) for e in episodes for step in e} <= {("hall", 0), ("kitchen", 1)}


def test_a_fitted_model_can_be_sampled_and_fitted_again(play, truth) -> None:
    fitted = TransitionModel.fit(play(truth(1), 2_000, np.random.default_rng(0), horizon=15), min_visits=20, prior=3.0)
    episodes = fitted.sample(10_000, seed=8)
    keys = {(step.state_key, step.feature_key) for e in episodes for step in e}
    assert all(feature is not None for _, feature in keys)
    again = TransitionModel.fit(episodes, min_visits=20, prior=0.0)
    ours, theirs = (solve_budget(model, budget=0.5).expected_success for model in (fitted, again))
    assert abs(ours - theirs) < 0.04


def test_a_time_limit_cuts_episodes(truth) -> None:
    episodes = truth(2).sample(2_000, seed=9, horizon=3)
    assert max(len(e) for e in episodes) == 3
    assert all(step.steps_left == 3 - step.t for e in episodes for step in e)
    assert all(e.steps[2].terminated or (e.steps[2].truncated and not e.success) for e in episodes if len(e) == 3)


def test_a_seed_determines_the_episodes(truth) -> None:
    model = truth(4)
    assert model.sample(200, seed=1) == model.sample(200, seed=1)
    assert model.sample(200, seed=1) != model.sample(200, seed=2)


def test_endless_episodes_and_bad_arguments_are_errors(levelled, chain) -> None:
    forever = TransitionModel([np.eye(1)] * 2, np.zeros((2, 1)), [1.0], endless="fail")
    with pytest.raises(ModelError, match="every episode must end: 1 of 1 last longer"):
        forever.sample(1)
    assert not forever.sample(1, horizon=5)[0].success
    with pytest.raises(InvalidArgumentError, match="has a time limit already"):
        levelled(np.random.default_rng(0), 3, 4).sample(1, horizon=5)
    with pytest.raises(InvalidArgumentError, match="episodes must be an integer"):
        chain().sample(0)
    with pytest.raises(InvalidArgumentError, match="help_probabilities"):
        chain().sample(1, help_probabilities=[1.5])
