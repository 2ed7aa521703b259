"""Actions of a directed collection."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import UnknownNameError
from selfreg_gym.experiments.exploring import Explorer, explore

N = 20_000


def draws(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(N), rng.random((N, 3))


def test_networks_that_agree_are_followed_but_for_a_tenth_of_the_steps() -> None:
    episode, steps = draws()
    for sign in (-1.0, 1.0):
        gains = np.full((4, N, 3, 1), sign)
        asked = explore(gains, episode, steps, rule="disagreement").mean()
        assert asked == pytest.approx(0.95 if sign > 0 else 0.05, abs=0.01)


def test_where_networks_disagree_help_is_as_likely_as_not() -> None:
    episode, steps = draws()
    gains = np.full((4, N, 3, 2), -1.0)
    gains[0, :, :, 1] = 1.0
    actions = explore(gains, episode, steps, rule="disagreement")
    assert (actions > 0).mean() == pytest.approx(0.5, abs=0.01)
    assert (actions == 1).mean() == pytest.approx(0.25, abs=0.01), "both interventions are equally likely"


def test_posterior_sampling_follows_each_network_equally_often() -> None:
    episode, steps = draws()
    gains = np.full((4, N, 3, 1), -1.0)
    gains[0] = 1.0
    actions = explore(gains, episode, steps, rule="posterior")
    assert actions.mean() == pytest.approx(0.9 * 0.25 + 0.05, abs=0.01)
    steps[:, 0] = 1.0  # no random steps: the network is that of the episode
    first = explore(gains, episode, steps, rule="posterior")
    second = explore(gains, episode, draws(1)[1] * 0 + 0.99, rule="posterior")
    np.testing.assert_array_equal(first, second)


def test_every_price_is_drawn() -> None:
    episode, steps = draws()
    gains = np.full((1, N, 4, 1), -1.0)
    gains[:, :, 2] = 1.0
    assert explore(gains, episode, steps, rule="posterior").mean() == pytest.approx(0.9 * 0.25 + 0.05, abs=0.01)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="rule of exploration: received 'greedy'"):
        Explorer(None, rule="greedy")
