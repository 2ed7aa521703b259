"""``actor_acts``: asking the actor before the helper decides changes no episode, and is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import Act, EpisodeSpec, HelpBudget, Intervention, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.actors.scripted import Scripted
from selfreg_gym.agents.actors.tiny import Tiny
from selfreg_gym.intervention_env.snapshots import restore_snapshot, take_snapshot
from selfreg_gym.testing import ExpertActor, RandomActor
from selfreg_gym.testing.common import frozen
from selfreg_gym.types import Decision


class Ranked:
    """Draws an action from a distribution that depends on the observation; counts the decisions that it answers."""

    def __init__(self) -> None:
        self.asked = 0

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        acts = []
        for decision in decisions:
            self.asked += 1
            p = 0.5 + 0.4 * np.sin(len(decision.observation) + sum(map(ord, decision.observation)))
            text = "heads" if decision.rng.random() < p else "tails"
            acts.append(Act(text, logprobs=(float(np.log(p)), float(np.log(1 - p)))))
        return acts


class Failing(Ranked):
    """Fails at the given calls."""

    def __init__(self, *failing: int) -> None:
        super().__init__()
        self.calls, self.failing = 0, failing

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        self.calls += 1
        if self.calls in self.failing:
            return [Act("", error="the server is down") for _ in decisions]
        return super().act(decisions)


def coin(actor: Any, **more: Any) -> InterventionEnv:
    return InterventionEnv("selfreg/Coin-v0", actor, ["expert"], task_kwargs={"heads": 0.9}, **more)


def coins(n: int, actor: Any, **more: Any) -> InterventionVectorEnv:
    return InterventionVectorEnv(n, "selfreg/Coin-v0", actor, ["expert"], task_kwargs={"heads": 0.9}, **more)


def trace(env: Any, *, asks: int, episodes: int, p: float = 0.5) -> list[Any]:
    """All results of some episodes with random help, with ``asks`` calls of ``actor_acts`` before each step."""
    found: list[Any] = []
    for episode in range(episodes):
        choose = np.random.default_rng(episode)
        observation, info = env.reset(seed=episode, options={"episode": episode})
        found.append((observation, frozen(info)))
        over = False
        while not over:
            acts = [env.actor_acts() for _ in range(asks)]
            assert all(act is acts[0] and act is not None for act in acts)
            observation, reward, terminated, truncated, info = env.step(int(choose.random() < p))
            found.append((observation, reward, terminated, truncated, frozen(info)))
            over = terminated or truncated
    return found


def listed(infos: Any) -> Any:
    """Batched infos that can be compared with ``==``."""
    if isinstance(infos, dict):
        return {key: listed(value) for key, value in infos.items()}
    if isinstance(infos, np.ndarray):
        return [listed(value) for value in infos] if infos.dtype == object else infos.tolist()
    return infos


@pytest.mark.parametrize(
    ("make", "episodes"),
    [(Tiny, 3), (lambda: Tiny(mode="generate"), 1), (Scripted, 20), (RandomActor, 20), (ExpertActor, 6)],
    ids=["tiny", "generate", "scripted", "random", "expert"],
)
def test_episodes_are_the_same_whether_the_actor_is_asked_or_not(make: Any, episodes: int) -> None:
    plain, asked = (
        trace(InterventionEnv("selfreg/SIF-v0", make(), ["expert"]), asks=asks, episodes=episodes) for asks in (0, 2)
    )
    assert plain == asked


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_vector_episodes_are_the_same(mode: str) -> None:
    seen = []
    for asks in (0, 2):
        actor = Ranked()
        env = coins(4, actor, autoreset_mode=mode)
        choose = np.random.default_rng(0)
        texts, infos = env.reset(seed=3)
        rows: list[Any] = [(texts, listed(infos))]
        for _ in range(12):
            over = [episode.over for episode in env.slots]
            before = actor.asked
            for _ in range(asks):
                acts = env.actor_acts()
                assert [act is None for act in acts] == over
            assert actor.asked - before == (4 - sum(over) if asks else 0)
            texts, *rest, infos = env.step((choose.random(4) < 0.5).astype(int))
            rows.append((texts, *(part.tolist() for part in rest), listed(infos)))
        seen.append(rows)
    assert seen[0] == seen[1]


def test_the_actor_is_asked_once_per_step_and_calls_without_effect_are_counted() -> None:
    actor = Ranked()
    env = coin(actor)
    env.reset(seed=1, options={"episode": 3})
    for steps in range(1, 4):
        env.actor_acts()
        env.actor_acts()
        env.step(1)
        assert actor.asked == env.slots[0].extra_actor_calls == steps
    act = env.actor_acts()
    assert act is not None
    assert env.step(0)[4]["action_text"] == act.text
    assert actor.asked == 4  # the step executed the act that was known
    assert env.slots[0].extra_actor_calls == 3
    env.reset(seed=1, options={"episode": 3})
    env.step(1)
    assert (actor.asked, env.slots[0].extra_actor_calls) == (4, 0)


def test_there_is_no_act_where_no_episode_is_in_progress() -> None:
    env = coin(Ranked())
    assert env.actor_acts() is None
    env.reset(seed=0, options={"episode": 0})
    while not env.slots[0].over:
        env.step(1)
    assert env.actor_acts() is None


def test_a_snapshot_keeps_the_act_of_its_step() -> None:
    actor = Ranked()
    env = coin(actor)
    env.reset(seed=2, options={"episode": 3})
    before = env.snapshot()
    act = env.actor_acts()
    asked = env.snapshot()
    env.step(1)
    env.actor_acts()
    env.restore(asked)
    assert (env.actor_acts(), env.slots[0].extra_actor_calls, actor.asked) == (act, 0, 2)
    first = env.step(0)
    env.restore(before)
    assert env.slots[0].act is None
    again = env.step(0)  # asks, with the same random stream
    assert actor.asked == 3
    assert (first[:4], frozen(first[4])) == (again[:4], frozen(again[4]))


def test_a_vector_snapshot_keeps_the_acts() -> None:
    actor = Ranked()
    env = coins(3, actor, autoreset_mode="Disabled")
    env.reset(seed=2, options={"episode": 3})
    acts = env.actor_acts()
    snapshot = env.snapshot()
    env.step([1, 1, 1])
    env.restore(snapshot)
    assert env.actor_acts() == acts
    assert actor.asked == 3
    assert [episode.extra_actor_calls for episode in env.slots] == [0, 0, 0]


def test_a_failed_act_ends_the_episode_only_if_it_is_executed() -> None:
    env = coin(Failing(1, 2))
    env.reset(seed=0, options={"episode": 3})
    act = env.actor_acts()
    assert act is not None
    assert act.error == "the server is down"
    assert env.step(1)[4]["error"] is None  # help
    act = env.actor_acts()
    _, reward, _, truncated, info = env.step(0)
    assert (reward, truncated, info["error"]) == (0.0, True, "the actor: the server is down")


@pytest.mark.parametrize("ask", [False, True])
def test_a_failed_call_is_repeated_as_often_as_in_a_step(ask: bool) -> None:
    for retries, failures in ((2, 2), (2, 3), (0, 1)):
        actor = Failing(*range(1, failures + 1))
        env = coins(2, actor, autoreset_mode="SameStep")
        env.act_retries = retries
        env.reset(seed=0, options={"episode": 3})
        if ask:
            env.actor_acts()
        _, _, _, truncated, _ = env.step([0, 0])
        assert truncated.tolist() == [failures > retries] * 2
        assert actor.calls == min(retries, failures) + 1


def test_wrappers_pass_the_method_on() -> None:
    actor = Ranked()
    env = HelpBudget(
        gym.make(
            "selfreg/Intervention-v0",
            task="selfreg/Coin-v0",
            actor=actor,
            interventions=[Intervention(ExpertActor(), name="expert")],
            max_episode_steps=3,
        ),
        budget=0,
    )
    env.reset(seed=5, options={"episode": 3})
    act = env.get_wrapper_attr("actor_acts")()
    snapshot = take_snapshot(env)
    info = env.step(1)[4]
    assert info["denied"]
    assert info["action_text"] == act.text  # the denied call is a step of the actor
    restore_snapshot(env, snapshot)
    assert env.get_wrapper_attr("actor_acts")() is act
    assert (actor.asked, env.unwrapped.slots[0].extra_actor_calls) == (1, 0)


# ------------------------------------------------------------------------- run_episodes


SPECS = [EpisodeSpec(i % 8, i, (i % 5) / 4) for i in range(60)]


def _plain(episode: Any) -> Any:
    import dataclasses

    steps = tuple(dataclasses.replace(step, actor_logprobs=None) for step in episode.steps)
    metrics = {name: value for name, value in episode.metrics.items() if name != "extra_actor_calls"}
    return dataclasses.replace(episode, steps=steps, metrics=metrics)


@pytest.mark.parametrize("single", [False, True])
def test_run_episodes_records_the_distribution_at_every_step(single: bool) -> None:
    played = {}
    for always in (False, True):
        env: Any = coin(Ranked()) if single else coins(5, Ranked(), autoreset_mode="Disabled")
        played[always] = {(e.task_index, e.seed): e for e in run_episodes(env, SPECS, ask_actor_always=always)}
    assert all(step.actor_logprobs is None for episode in played[False].values() for step in episode)
    for key, episode in played[True].items():
        assert _plain(episode) == played[False][key]
        helped = sum(step.action > 0 for step in episode)
        assert episode.metrics.get("extra_actor_calls", 0) == helped
        for step in episode:
            assert step.actor_logprobs is not None
            assert np.exp(step.actor_logprobs).sum() == pytest.approx(1, abs=1e-6)
            assert step.actor_logprobs == tuple(np.float32(step.actor_logprobs).tolist())
    assert any(step.action for episode in played[True].values() for step in episode)


def test_an_actor_without_log_probabilities_is_no_error() -> None:
    env = coins(3, RandomActor(), autoreset_mode="Disabled")
    episodes = list(run_episodes(env, SPECS, ask_actor_always=True))
    assert len(episodes) == len(SPECS)
    assert all(step.actor_logprobs is None for episode in episodes for step in episode)
    assert all(episode.error is None for episode in episodes)


def test_a_failure_at_a_step_with_help_ends_the_episode_too() -> None:
    """Otherwise the distribution would be missing only where help was given."""
    spec = [EpisodeSpec(3, 1, 1.0)]
    for retries, error in ((0, "the actor: the server is down"), (1, None)):
        env = coin(Failing(2))
        (episode,) = run_episodes(env, spec, ask_actor_always=True, retries=retries)
        assert episode.error == error
    assert all(step.action == 1 and step.actor_logprobs is not None for step in episode)


def test_a_distribution_beyond_float32_becomes_zero_probability() -> None:
    class Sure:
        def act(self, decisions: Sequence[Decision]) -> list[Act]:
            return [Act("heads", logprobs=(0.0, -1e300)) for _ in decisions]

    (episode,) = run_episodes(coin(Sure()), SPECS[:1], ask_actor_always=True)
    assert episode.steps[0].actor_logprobs == (0.0, -np.inf)
