"""Actions of a directed collection."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import UnknownNameError
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.experiments.exploring import RULES, Explorer, explore
from selfreg_gym.fitted import solve_fitted
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec

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


def test_networks_that_disagree_about_whom_to_ask_are_uncertain_too() -> None:
    episode, steps = draws()
    gains = np.full((4, N, 3, 2), 1.0)
    gains[0, :, :, 1] = 2.0
    actions = explore(gains, episode, steps, rule="disagreement")
    assert (actions == 0).mean() == pytest.approx(0.5, abs=0.01)


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


@pytest.mark.parametrize("rule", RULES)
def test_its_episodes_depend_on_neither_batch_nor_order(rule: str) -> None:
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    random = [EpisodeSpec(i % 8, i, help_probability=(i % 3) / 2) for i in range(48)]
    values = solve_fitted(
        sorted(run_episodes(make_env(env, 8), random), key=lambda episode: episode.seed),
        folds=2, members=1, rounds=2, prices=4, progress=False,
    )  # fmt: skip
    specs = [EpisodeSpec(i % 8, 100 + i) for i in range(24)]
    played = [
        {
            episode.seed: [step.action for step in episode.steps]
            for episode in run_episodes(make_env(env, size), order, Explorer(values, rule=rule, seed=3))
        }
        for size, order in ((4, specs), (7, specs[::-1]))
    ]
    assert played[0] == played[1]
    assert len({tuple(actions) for actions in played[0].values()}) > 5
