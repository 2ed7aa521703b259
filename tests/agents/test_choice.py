"""Which intervention is asked: the Lagrangian of a budget, costs that must agree, and an argument to choose one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym.agents.helpers._choice import best_action, knob_range
from selfreg_gym.agents.helpers.actor_confidence import ActorConfidence
from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.every_k import EveryK
from selfreg_gym.agents.helpers.prm_per_task import PRMPerTask
from selfreg_gym.agents.helpers.prm_threshold import PRMThreshold
from selfreg_gym.agents.helpers.quantile import Quantile
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.agents.helpers.wait_n import WaitN
from selfreg_gym.calibration import CoinMixture, calibrate
from selfreg_gym.collection import collect
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Intervention

COSTS = (0.3, 1.0, 2.5)


def env(num_envs: int = 3) -> Any:
    people = [Intervention(lambda text: "heads", name=name, cost=c) for name, c in zip("abc", COSTS, strict=True)]
    kwargs = {"task": "selfreg/Coin-v0", "actor": lambda text: "heads", "interventions": people}
    return make_env({**kwargs, "task_kwargs": {"heads": 0.999}}, num_envs)


def asked(helper: Any) -> list[int]:
    return [step.action for e in run_episodes(env(), [EpisodeSpec(i, i) for i in range(8)], helper) for step in e.steps]


class Low:
    def score(self, observations):
        return np.zeros(len(observations))


def test_one_intervention_at_cost_1_is_the_plain_offset() -> None:
    gain = np.random.default_rng(0).normal(size=(500, 1))
    for offset in (-1.0, 0.0, 0.7):
        expected = (gain[:, 0] + offset > 0).astype(int)
        np.testing.assert_array_equal(best_action(gain, offset, [1.0]), expected)
    assert knob_range((-20.0, 20.0), 0.5, [1.0]) == ((-20.0, 20.0), 0.5)


@pytest.mark.parametrize("costs", [(0.3, 1.0), (1.0, 0.3), (1.0, 1.0), (0.001, 0.0011, 5.0), (1.0, 2.0, 4.0)])
def test_the_cost_of_the_choice_rises_with_the_knob_from_nothing_to_the_most(costs: tuple[float, ...]) -> None:
    gain = np.random.default_rng(1).normal(size=(300, len(costs))) * 4
    (low, high), step = knob_range((-20.0, 20.0), 0.5, costs)
    assert 0 < step < high - low
    cost_of = np.array([0.0, *costs])
    spent = np.array([cost_of[best_action(gain, x, costs)] for x in np.linspace(low, high, 401)])
    assert (np.diff(spent, axis=0) >= 0).all()  # for every observation, not only on average
    assert spent[0].max() == 0.0
    assert spent[-1].min() == max(costs)


def test_ties_are_nohelp_and_an_empty_batch_has_no_actions() -> None:
    assert best_action(np.array([[0.0, -1.0]]), 0.0, [1, 2]).tolist() == [0]
    assert best_action(np.zeros((0, 2)), 0.0, [1, 2]).shape == (0,)


@pytest.mark.parametrize(
    "make",
    [
        lambda one: Always(intervention=one),
        lambda one: Random(1.0, intervention=one),
        lambda one: EveryK(1, intervention=one),
        lambda one: WaitN(0, intervention=one),
        lambda one: PRMThreshold(Low(), 0.5, intervention=one),
        lambda one: PRMPerTask(Low(), 0.5, intervention=one),
        lambda one: Quantile(Low(), [0.1, 0.2], rate=1.0, intervention=one),
        lambda one: ActorConfidence(1.0 + 1e-9, intervention=one),
        lambda one: CoinMixture(Always(intervention=one), Always(intervention=one), weight=0.5),
    ],
)
def test_each_baseline_asks_the_intervention_that_it_is_given(make: Any) -> None:
    assert set(asked(make(2))) == {2}
    assert set(asked(make("c"))) == {3}
    helper = make("b")
    if helper.has_knob:
        assert set(asked(helper.with_knob(helper.knob))) == {2}
    with pytest.raises(UnknownNameError, match="'d'"):
        run_episodes(env(), [], make("d"))
    with pytest.raises(InvalidArgumentError, match="this env has 3: a, b, c"):
        run_episodes(env(), [], make(4))
    for bad in (0, -1, True, 1.5, ""):
        with pytest.raises(InvalidArgumentError, match="must be a number from 1"):
            make(bad)


def test_random_draws_among_all_interventions_and_asks_as_often_as_before() -> None:
    actions = np.array([step for _ in range(1) for step in asked_many(Random(0.6, seed=2))])
    shares = np.bincount(actions, minlength=4) / len(actions)
    np.testing.assert_allclose(shares, [0.4, 0.2, 0.2, 0.2], atol=0.03)


def asked_many(helper: Any) -> list[int]:
    specs = [EpisodeSpec(i % 40, i) for i in range(1000)]
    return [
        step.action for episode in run_episodes(env(16), specs, helper, record_steps=False) for step in episode.steps
    ]


def test_an_intervention_by_name_needs_an_env() -> None:
    for helper in (Always(intervention="b"), Random(1.0, intervention="b"), EveryK(1, intervention="b")):
        with pytest.raises(InvalidArgumentError, match="for_interventions"):
            helper.predict("text")


class Gains:
    """Prefers the cheap intervention wherever any helps, as an uncalibrated helper may."""

    def __init__(self, knob: float = 0.0) -> None:
        self.knob = knob
        self.knob_bounds, self.knob_step = knob_range((-20.0, 20.0), 0.5, COSTS)

    def with_knob(self, x: float) -> Gains:
        return Gains(x)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        place = np.array([sum(map(ord, text)) % 17 for text in observation])
        gain = np.stack([3.0 + 0.2 * (place % 5), 0.2 * place, -6.0 + 0.1 * place], axis=1)
        return best_action(gain, self.knob, COSTS), state

    def wrap(self, env: Any) -> Any:
        return env


def test_every_budget_is_reached_with_interventions_of_different_costs() -> None:
    spent = []
    for budget in (0.4, 1.0, 3.0, 6.0):
        found = calibrate(Gains(), env(16), budget=budget, episodes=80, tasks=range(40), seed=1)
        assert found.calibration["met"], found.calibration["reason"]
        specs = [EpisodeSpec(i % 40, 1000 + i) for i in range(400)]
        spent.append(np.mean([e.cost for e in run_episodes(env(16), specs, found, record_steps=False)]))
        assert spent[-1] == pytest.approx(budget, rel=0.12)
    assert spent == sorted(spent)


def test_random_help_has_the_shares_of_the_collection(tmp_path: Path) -> None:
    shares = [0.7, 0.0, 0.3]
    actions = np.array(asked_many(Random(0.6, seed=2, shares=shares)))
    counts = np.bincount(actions, minlength=4)[1:]
    assert counts[1] == 0
    assert abs(counts[0] / counts.sum() - 0.7) < 0.1
    people = [Intervention(lambda text: "heads", name=name) for name in "abc"]
    given: dict[str, Any] = {"task": "selfreg/Coin-v0", "actor": lambda text: "heads", "interventions": people}
    collect(
        given, store=tmp_path / "rollouts.sqlite", tasks=[0], episodes=1, help_shares=shares, progress=False
    ).close()
    assert Random.from_run(tmp_path, seed=3).shares == (0.7, 0.0, 0.3)
    assert Random.from_run(tmp_path, intervention="b").shares is None
    assert Random.from_run(tmp_path / "none").shares is None
    for wrong, words in (([0.5, 0.6, 0.1], "sum 1"), ([0.9, 0.1], "3 interventions, received 2")):
        with pytest.raises(InvalidArgumentError, match=words):
            list(run_episodes(env(), [EpisodeSpec(0, 0)], Random(shares=wrong)))
    with pytest.raises(InvalidArgumentError, match="not both"):
        Random(shares=shares, intervention=1)
