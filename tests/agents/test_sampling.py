"""Best of n and self-consistency: samples of the env's actor, compared without foresight on an unchanged task."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym import Decision, EpisodeSpec, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.interventions import best_of_n
from selfreg_gym.agents.interventions.best_of_n import BestOfN
from selfreg_gym.agents.interventions.self_consistency import SelfConsistency
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, SetupError, UnknownNameError
from selfreg_gym.intervention_env.building import material
from selfreg_gym.testing import RandomActor, check_intervention
from selfreg_gym.types import Act

COIN: dict[str, Any] = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.9}}


class Weighted:
    """Says "heads" in 60 % of its answers, and counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        self.batches.append(len(decisions))
        return [Act("heads" if one.rng.random() < 0.6 else "tails", tokens=2, cost=0.125) for one in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Weighted:
        return self


def test_self_consistency_takes_the_most_frequent_answer() -> None:
    actor = Weighted()
    env = InterventionEnv(**COIN, actor=actor, interventions=[SelfConsistency(401)])
    env.reset(seed=0)
    info = env.step(1)[4]
    assert (info["action_text"], info["tokens"], info["cost"]) == ("heads", 802, 401 / 8)
    assert actor.batches == [401], "one call for all answers"
    one = InterventionEnv(**COIN, actor=Weighted(), interventions=[SelfConsistency(1)])
    said = set()
    for seed in range(12):
        one.reset(seed=seed)
        said.add(one.step(1)[4]["action_text"])
    assert said == {"heads", "tails"}


def test_of_equally_frequent_answers_the_first_counts() -> None:
    answers = iter(["b", "a", "a", "b"])
    actor = SelfConsistency(4, actor=lambda text: next(answers)).actor
    assert actor.act([Decision("letters")])[0].text == "b"


@pytest.mark.parametrize("kind", [SelfConsistency, BestOfN])
def test_a_failed_answer_fails_the_call(kind: Any) -> None:
    class Fails:
        def act(self, decisions: Sequence[Decision]) -> list[Act]:
            return [Act("heads") if one.rng.random() < 0.5 else Act("", error="no power") for one in decisions]

    env = InterventionEnv(**COIN, actor=Fails(), interventions=[kind(8)])
    env.reset(seed=0)
    error = env.step(1)[4]["error"]
    assert "of 8 failed: no power" in error


def alive(states: Sequence[Any]) -> np.ndarray:
    """The value 1 of every state in which the episode goes on."""
    return np.ones(len(states))


def test_best_of_n_does_not_foresee_a_hidden_coin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two coins: success has the probability 1/4 for any guess at fair coins, and 0.95**2 for heads at biased ones."""
    monkeypatch.setattr(best_of_n, "leaf_value", lambda *args, **kwargs: alive)
    two_coins = [EpisodeSpec(0, seed, 1.0) for seed in range(200)]
    rates = []
    for heads in (0.5, 0.95):
        env = InterventionVectorEnv(
            16, "selfreg/Coin-v0", RandomActor(), [BestOfN(8, futures=9)], task_kwargs={"heads": heads},
            autoreset_mode="Disabled",
        )  # fmt: skip
        rates.append(np.mean([episode.success for episode in run_episodes(env, two_coins, record_steps=False)]))
    assert 0.17 < rates[0] < 0.33
    assert 0.83 < rates[1] < 0.97


def test_rollouts_as_values_improve_the_actor() -> None:
    kwargs: dict[str, Any] = {"task_kwargs": {"heads": 0.95}, "autoreset_mode": "Disabled"}
    env = InterventionVectorEnv(16, "selfreg/Coin-v0", Weighted(), [BestOfN(6, rollouts=1, futures=3)], **kwargs)
    two_coins = [EpisodeSpec(0, seed, probability) for seed in range(80) for probability in (0.0, 1.0)]
    episodes = list(run_episodes(env, two_coins, record_steps=False))
    helped, alone = ([e.success for e in episodes if e.help_probability == p] for p in (1.0, 0.0))
    assert np.mean(helped) > np.mean(alone) + 0.2


@pytest.mark.parametrize("intervention", [BestOfN(4, rollouts=1, futures=2), SelfConsistency(5)])
def test_a_vector_env_plays_the_same_episodes_with_one_call_per_step(intervention: Any) -> None:
    played = []
    for n in (1, 4):
        actor = Weighted()
        env = InterventionVectorEnv(n, **COIN, actor=actor, interventions=[intervention], autoreset_mode="Disabled")
        episodes = run_episodes(env, [EpisodeSpec(i, 7 + i, 0.7) for i in range(12)])
        played.append(sorted(episodes, key=lambda one: one.seed))
    assert played[0] == played[1]


def test_all_decisions_of_a_step_share_one_call_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Value:
        def __call__(self, states: Sequence[Any]) -> np.ndarray:
            sizes.append(len(states))
            return np.array([float("2" in state.observation) for state in states])

    monkeypatch.setattr(best_of_n, "leaf_value", lambda *args, **kwargs: Value())
    actor = Weighted()
    kwargs: dict[str, Any] = {"actor": actor, "interventions": [BestOfN(16, futures=3)], "autoreset_mode": "Disabled"}
    envs = InterventionVectorEnv(5, **COIN, **kwargs)
    envs.reset(seed=0)
    envs.step([1] * 5)
    assert actor.batches == [80]
    assert len(sizes) == 1
    assert 5 <= sizes[0] <= 5 * 2 * 3, "at most two actions of three futures each; wrong calls end the episode"


@pytest.mark.parametrize("task", ["selfreg/SIF-v0", "selfreg/FrozenLake-v0", "selfreg/Coin-v0"])
def test_the_live_task_is_bit_identical_afterwards(task: str) -> None:
    env = InterventionEnv(task, RandomActor(), [BestOfN(6, rollouts=1, futures=2)])
    env.reset(seed=5, options={"episode": 3})
    for _ in range(3):
        before = pickle.dumps(env.task.get_wrapper_attr("snapshot")())
        env.interventions[0].actor.act([env.slots[0].decision(1)])
        assert pickle.dumps(env.task.get_wrapper_attr("snapshot")()) == before
        if env.step(0)[2]:
            break


def test_it_is_privileged_only_where_facts_cannot_be_sampled() -> None:
    env = InterventionEnv(**COIN, actor=RandomActor(), interventions=[BestOfN(2), SelfConsistency(2)])
    assert [one.privileged_on(env.task) for one in env.interventions] == [False, False]

    class Bare:
        """A task without optional members."""

    assert BestOfN(2).privileged_on(Bare())


def test_another_actor_can_be_sampled() -> None:
    tails = SelfConsistency(3, actor=lambda text: "tails")
    env = InterventionEnv(**COIN, actor=RandomActor(), interventions=[tails])
    env.reset(seed=0)
    assert env.step(1)[4]["action_text"] == "tails"
    check_intervention(SelfConsistency(3, actor="scripted"), task="selfreg/SIF-v0")
    given = {"actor": "endpoint", "actor_kwargs": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}, "n": 4}
    kept = material("interventions", "self-consistency", given)
    assert kept == {"actor": "endpoint", "actor_kwargs": {"model": "m"}, "n": 4}


def test_without_an_env_there_is_no_actor() -> None:
    with pytest.raises(SetupError, match=r"calls the env's actor, and none is known here"):
        SelfConsistency(3).actor.act([Decision("a coin", ("heads", "tails"))])


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"n": 0}, InvalidArgumentError, "n, the number of answers"),
        ({"value": "magic"}, InvalidArgumentError, "received value='magic'"),
        ({"value": "prm"}, InvalidArgumentError, "folder=, the directory of the model"),
        ({"value": "rollouts", "folder": "x"}, InvalidArgumentError, "folder='x'"),
        ({"value": "prm", "folder": "no/such"}, CheckpointError, "must exist, received 'no/such'"),
        ({"actor": "tyni"}, UnknownNameError, "Did you mean 'tiny'"),
        ({"actor": "tiny", "actor_kwargs": {"mood": "x"}}, UnknownNameError, "received 'mood'. Did you mean 'mode'"),
        ({"futures": 0}, InvalidArgumentError, "futures"),
    ],
)
def test_invalid_arguments_raise(kwargs: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        BestOfN(**kwargs)
