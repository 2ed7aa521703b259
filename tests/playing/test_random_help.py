"""Random help from several interventions: its draws, its probabilities, and their record in a collection."""

from __future__ import annotations

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import HelpBudget, Intervention, collect
from selfreg_gym.errors import InvalidArgumentError, StoreError
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.playing.random_help import RandomHelp, checked_shares

HEADS = {
    "task": "selfreg/Coin-v0",
    "actor": lambda text: "heads",
    "interventions": [Intervention(lambda text: "heads", name="cheap", cost=0.25), "expert"],
    "task_kwargs": {"heads": 0.9},
}


@pytest.mark.parametrize("shares", [None, (0.7, 0.1, 0.2), (0.0, 1.0, 0.0)])
@pytest.mark.parametrize("allowed", [None, (True, True, False, True), (False, False, True, False)])
def test_actions_are_drawn_with_the_recorded_probabilities(shares, allowed) -> None:
    help, rng, n = RandomHelp(3, shares), np.random.default_rng(0), 20_000
    counts = Counter(help.draw(0.6, *rng.random(2), allowed) for _ in range(n))
    chances = np.array(help.propensities(0.6, allowed))
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    found = np.array([counts[action] / n for action in range(4)])
    np.testing.assert_allclose(found, chances, atol=4 * 0.5 / np.sqrt(n))
    assert (found[chances == 0] == 0).all()


def test_equal_shares_draw_as_before_there_were_shares() -> None:
    rng = np.random.default_rng(1)
    for whether, whom in rng.random((500, 2)):
        assert RandomHelp(3).draw(0.4, whether, whom) == (1 + int(whom * 3) if whether < 0.4 else 0)
    assert RandomHelp(0).draw(1.0, 0.0, 0.0) == 0
    assert RandomHelp(0).propensities(0.7) == (1.0,)


@pytest.mark.parametrize("shares", ["ab", (0.5, 0.6), (-0.5, 1.5), (1.0,), [True, False], 0.5, (0.5, float("nan"))])
def test_invalid_shares(shares) -> None:
    with pytest.raises(InvalidArgumentError, match="help_shares must have one number in"):
        checked_shares(shares, 2)
    assert checked_shares((0.5, 0.5), 2) is None, "equal shares are the default"


def test_a_collection_stores_the_probabilities_of_all_actions(tmp_path) -> None:
    plan = {"tasks": range(12), "episodes": 10, "help_probabilities": [0.2, 0.5], "progress": False}
    with collect(HEADS, store=tmp_path / "a.sqlite", help_shares=[0.8, 0.2], **plan) as rollouts:
        episodes = list(rollouts)
        column = rollouts.columns("propensities", "action")
        assert rollouts.spec["help_shares"] == [0.8, 0.2]
    steps = [step for episode in episodes for step in episode]
    for episode in episodes:
        p = episode.help_probability
        for step in episode:
            assert step.propensities == pytest.approx((1 - p, 0.8 * p, 0.2 * p), abs=1e-6)
    assert [tuple(row.tolist()) for row in column["propensities"]] == [step.propensities for step in steps]
    asked = Counter(step.action for step in steps)
    assert asked[1] > 2 * asked[2] > 0
    with pytest.raises(StoreError, match=r"help_shares: the store has \[0.8, 0.2\], asked for 'nothing'"):
        collect(HEADS, store=tmp_path / "a.sqlite", **plan)
    with pytest.raises(InvalidArgumentError, match="there are 2 interventions, received 3 shares"):
        collect(HEADS, store=tmp_path / "b.sqlite", help_shares=[0.8, 0.1, 0.1], **plan)


def test_equal_shares_change_neither_the_episodes_nor_the_identity_of_a_store(tmp_path) -> None:
    plan = {"tasks": range(3), "episodes": 4, "help_probabilities": [0.3, 0.9], "progress": False}
    with collect(HEADS, store=tmp_path / "a.sqlite", **plan) as first:
        before = list(first)
        assert "help_shares" not in first.spec
    with collect(HEADS, store=tmp_path / "a.sqlite", help_shares=(0.5, 0.5), **plan) as second:
        assert list(second) == before


@pytest.mark.parametrize("vector", [False, True])
def test_masked_actions_have_probability_0(vector) -> None:
    made = (
        gym.make_vec("selfreg/Intervention-v0", num_envs=3, **HEADS, autoreset_mode="Disabled")
        if vector
        else gym.make("selfreg/Intervention-v0", **HEADS)
    )
    specs = [EpisodeSpec(3, seed, help_probability=0.6) for seed in range(40)]
    masked = 0
    for episode in run_episodes(HelpBudget(made, budget=1.0), specs):
        left = 1.0
        for step in episode:
            allowed = left >= np.array([0.0, 0.25, 1.0])
            denied = 0.3 * (~allowed).sum()  # a denied call runs as nohelp
            expected = np.where(allowed, [0.4 + denied, 0.3, 0.3], 0.0)
            np.testing.assert_allclose(step.propensities, expected, atol=1e-6)
            left -= step.cost
            masked += not allowed.all()
    assert masked > 10


def test_a_helper_leaves_the_probabilities_unknown() -> None:
    env = gym.make("selfreg/Intervention-v0", **HEADS)
    (episode,) = run_episodes(env, [EpisodeSpec(2, 0)], lambda text: 1)
    assert {step.propensities for step in episode} == {None}


def test_a_wrapper_that_changes_actions_without_masks_makes_them_unknown() -> None:
    class Refuses(gym.ActionWrapper):
        def action(self, action):
            return 0

    env = Refuses(gym.make("selfreg/Intervention-v0", **HEADS))
    for episode in run_episodes(env, [EpisodeSpec(3, seed, help_probability=0.5) for seed in range(10)]):
        assert {step.action for step in episode} == {0}
        chances = {step.propensities for step in episode}
        assert chances <= {None, (0.5, 0.25, 0.25)}
        assert len(episode) == 1 or None in chances or len(chances) == 1
