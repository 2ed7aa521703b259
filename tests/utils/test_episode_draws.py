"""Draws of helpers depend only on the helper's seed, the episode and the step."""

from __future__ import annotations

import numpy as np

from selfreg_gym.utils.episode_draws import EpisodeDraws, episode_key


def test_an_episode_draws_the_same_alone_and_in_a_batch() -> None:
    keys = np.array([episode_key(5, 0), episode_key(6, 0), episode_key(5, 1)])
    draws = EpisodeDraws.begin(None, np.ones(3, bool), keys, seed=3)
    batch = []
    for _ in range(4):
        numbers, draws = EpisodeDraws.at(draws, 3, None, seed=3).of_step(2)
        batch.append(numbers)
    for row in range(3):
        alone = EpisodeDraws.begin(None, np.ones(1, bool), keys[row : row + 1], seed=3)
        assert alone.of_episode()[0] == draws.of_episode()[row]
        for step in range(4):
            numbers, alone = EpisodeDraws.at(alone, 1, None, seed=3).of_step(2)
            np.testing.assert_array_equal(numbers[0], batch[step][row])
    assert len(np.unique(np.concatenate(batch))) == 24


def test_episodes_with_a_key_do_not_restart_at_episode_start() -> None:
    starts = np.array([True, False])
    keyed = EpisodeDraws.begin(None, starts, np.array([7, 8]), seed=0)
    first = EpisodeDraws.at(keyed, 2, starts, seed=0)
    assert first.of_episode()[0] == keyed.of_episode()[0]
    assert (
        EpisodeDraws.at(first, 2, starts, seed=0).of_episode()[0] != keyed.of_episode()[0]
    )  # without a key: the number of the episode


def test_draws_are_uniform_and_those_of_neighbours_are_unrelated() -> None:
    n = 20_000
    draws = EpisodeDraws.begin(None, np.ones(n, bool), np.arange(n), seed=1)
    numbers, later = draws.of_step(2)
    steps = [draws.of_episode(), numbers[:, 0], numbers[:, 1], later.of_step(2)[0][:, 0]]
    for u in steps:
        assert (u >= 0).all()
        assert (u < 1).all()
        counts = np.histogram(u, 20, (0, 1))[0]
        assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 45  # chi-square with 19 degrees of freedom: p = 0.0007
    table = np.corrcoef(np.stack([*steps, np.roll(steps[0], 1)]))
    assert np.abs(table - np.eye(5)).max() < 5 / np.sqrt(n)


def test_tasks_with_the_same_seed_have_different_keys() -> None:
    assert len({episode_key(seed, task) for seed in (0, 1, 2**40) for task in range(50)}) == 150
    assert 0 <= episode_key(2**100, 3) < 2**63
