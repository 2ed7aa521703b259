"""The probability of an action sequence under the mixture, and importance weights."""

from __future__ import annotations

from itertools import product

import numpy as np

from selfreg_gym.off_policy.behaviour import importance_weights, log_mixture, out_of_support
from selfreg_gym.off_policy.logged import Logged
from selfreg_gym.playing.random_help import RandomHelp


def test_the_mixture_is_a_distribution_over_action_sequences() -> None:
    probabilities = np.array([0.0, 0.3, 0.3, 1.0])
    for interventions, steps in ((1, 6), (2, 4)):
        sequences = list(product(range(1 + interventions), repeat=steps))
        counts = np.array([[one.count(a) for a in range(1 + interventions)] for one in sequences])
        behaviours = np.array([RandomHelp(interventions).propensities(p) for p in probabilities], float)
        mass = np.exp(log_mixture(counts, behaviours, np.full(4, 0.25)))
        np.testing.assert_allclose(mass.sum(), 1.0, atol=1e-6)  # propensities are float32
        never = sequences.index((0,) * steps)
        np.testing.assert_allclose(mass[never], 0.25 + 0.5 * 0.7**steps, atol=1e-6)


def test_it_is_not_the_product_of_average_steps() -> None:
    two = np.exp(log_mixture(np.array([[1, 1]]), np.eye(2), np.full(2, 0.5)))[0]
    assert two == 0.0, "with p in {0, 1} no episode mixes help and nohelp, although each step does in half of them"


def test_weights_are_running_products_within_each_episode(known) -> None:
    episodes = known(0).sample(60, seed=0)
    logged = Logged.of(episodes)
    probability = np.random.default_rng(0).random(len(logged.action)) * (np.arange(len(logged.action)) % 7 > 0)
    weights = importance_weights(logged, probability)
    place = 0
    for episode in episodes:
        product_, m, h = 1.0, 0, 0
        for step in episode:
            product_ *= probability[place]
            m, h = m + (step.action == 0), h + (step.action > 0)
            shares = [0.1 * j for j in range(11)]
            counts = np.bincount([round(10 * one.help_probability) for one in episodes], minlength=11) / len(episodes)
            b = sum(q * (1 - p) ** m * p**h for q, p in zip(counts, shares, strict=True))
            np.testing.assert_allclose(weights[place], product_ / b, rtol=1e-5)
            place += 1


def test_the_mean_weight_is_one_where_every_sequence_occurs(known) -> None:
    logged = Logged.of(known(1).sample(20_000, seed=1))
    policy = np.array([[0.7, 0.3]] * len(logged.action))
    weights = importance_weights(logged, policy[np.arange(len(policy)), logged.action])
    final = weights[logged.last]
    assert abs(final.mean() - 1) < 4 * final.std() / np.sqrt(len(final))
    assert out_of_support(logged, policy, weights) == 0.0


def test_the_probability_of_leaving_the_support_is_exact(known) -> None:
    logged = Logged.of(known(2).sample(20_000, help_probabilities=[0.0, 1.0], seed=2))
    always = np.eye(2)[np.ones(len(logged.action), int)]
    half = np.full((len(logged.action), 2), 0.5)
    taken = np.arange(len(logged.action)), logged.action
    assert out_of_support(logged, always, importance_weights(logged, always[taken])) == 0.0
    lengths = np.diff(logged.begin)[logged.propensity[logged.begin[:-1], 1] == 0.0]
    # A coin per step leaves the support at the first step at which it differs from the first coin.
    outside = out_of_support(logged, half, importance_weights(logged, half[taken]))
    assert 0.2 < outside < 1.0
    assert outside > 0.4 * (lengths > 1).mean()
