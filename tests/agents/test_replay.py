"""Replay of recorded episodes: on the path, off the path, from a store, from episodes and from texts."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym import EpisodeSpec, InterventionEnv, InterventionVectorEnv, Rollouts, run_episodes
from selfreg_gym.agents.interventions.replay import Replay
from selfreg_gym.collection import collect
from selfreg_gym.errors import InvalidArgumentError, StoreError, TaskContractError, UnknownNameError
from selfreg_gym.testing import RandomActor
from selfreg_gym.types import Decision, Episode

LAKE: dict[str, Any] = {"task": "selfreg/FrozenLake-v0", "task_kwargs": {"slippery": False}}


def record(store: Path) -> Rollouts:
    """Two tasks with and without help: some episodes succeed, some fail."""
    env = {**LAKE, "actor": RandomActor(), "interventions": ["expert"]}
    plan: dict[str, Any] = {"tasks": [0, 1], "episodes": 9, "help_probabilities": [0.0, 0.5, 1.0], "progress": False}
    return collect(env, store=store, **plan)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "rollouts.sqlite"
    record(path).close()
    return path


def play(replay: Replay, specs: list[EpisodeSpec], actor: Any = None, num_envs: int = 3) -> list[Episode]:
    env = InterventionVectorEnv(
        num_envs, **LAKE, actor=actor or RandomActor(), interventions=[replay], autoreset_mode="Disabled"
    )
    return sorted(run_episodes(env, specs, retries=0), key=lambda episode: (episode.task_index, episode.seed))


def test_the_shortest_successful_episode_of_the_task_is_replayed(store: Path) -> None:
    with Rollouts.open(store) as rollouts:
        recorded = list(rollouts)
        sources: list[Any] = [store, str(store), recorded, rollouts]
        shortest = {t: min(len(e) for e in recorded if e.success and e.task_index == t) for t in (0, 1)}
        specs = [EpisodeSpec(task, 900 + task, 1.0) for task in (0, 1)]
        played = [play(Replay(source), specs) for source in sources]
    assert all(one == played[0] for one in played)
    for episode in played[0]:
        assert episode.success
        assert len(episode) <= shortest[episode.task_index]
        assert episode.cost == len(episode)


def test_the_same_seed_can_be_required(store: Path) -> None:
    with Rollouts.open(store) as rollouts:
        one = next(e for e in rollouts if e.success)
    known, unknown = EpisodeSpec(one.task_index, one.seed, 1.0), EpisodeSpec(one.task_index, 12345678, 1.0)
    (again,) = play(Replay(store, same_seed=True), [known])
    assert [step.action_text for step in again] == [step.action_text for step in one] or len(again) < len(one)
    assert again.cost == len(again)
    (other,) = play(Replay(store, same_seed=True), [unknown])
    assert other.cost == 0.0, "the actor acts at no cost"


def test_off_the_path_the_actor_acts_or_the_step_counts_or_the_call_fails(store: Path) -> None:
    spec = EpisodeSpec(5, 77, 1.0)  # a task that is not recorded
    (by_actor,) = play(Replay(store), [spec])
    assert by_actor.cost == 0.0
    assert all(step.action == 1 for step in by_actor)
    (failed,) = play(Replay(store, otherwise="error"), [spec])
    assert failed.error is not None
    assert "replay has no recorded action for this task" in failed.error

    coin: dict[str, Any] = {"actor": lambda text: "tails", "task_kwargs": {"heads": 0.5}}
    env = InterventionEnv("selfreg/Coin-v0", **coin, interventions=[Replay(["heads", "no such action"])])
    env.reset(seed=3, options={"episode": 2})
    texts = []
    while True:
        _, _, terminated, _, info = env.step(1)
        texts.append((info["action_text"], info["cost"]))
        if terminated:
            break
    assert texts[0] == ("heads", 1.0)
    assert all(text == ("tails", 0.0) for text in texts[1:])


def test_a_state_off_the_path_takes_the_action_of_the_same_step_if_asked() -> None:
    env = InterventionEnv(**LAKE, actor=RandomActor(), interventions=["expert"])
    found = run_episodes(env, [EpisodeSpec(0, 1, 1.0)])
    (good,) = found
    steps = tuple(replace(step, state_key=f"elsewhere {step.t}") for step in good.steps)
    wrong_states = replace(good, steps=steps)
    (followed,) = play(Replay([wrong_states], otherwise="step"), [EpisodeSpec(0, 2, 1.0)])
    assert [step.action_text for step in followed] == [step.action_text for step in good]
    (not_followed,) = play(Replay([wrong_states]), [EpisodeSpec(0, 2, 1.0)])
    assert not_followed.cost == 0.0


def test_only_successful_episodes_unless_told(store: Path) -> None:
    with Rollouts.open(store) as rollouts:
        failures = [e for e in rollouts if not e.success and e.task_index == 0]
    spec = [EpisodeSpec(0, 5, 1.0)]
    assert play(Replay(failures), spec)[0].cost == 0.0
    (again,) = play(Replay(failures, only_successful=False), spec)
    assert not again.success
    assert again.cost == len(again)


def test_it_can_be_sent_to_workers_and_needs_an_env(store: Path) -> None:
    copy = pickle.loads(pickle.dumps(Replay(store)))
    assert play(copy, [EpisodeSpec(0, 1, 1.0)]) == play(Replay(store), [EpisodeSpec(0, 1, 1.0)])
    assert Replay(store).privileged
    with pytest.raises(TaskContractError, match="replay needs the env's info"):
        Replay(store).actor.act([Decision("a lake", ("up",))])


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"source": "no/such.sqlite"}, StoreError, "no/such.sqlite"),
        ({"source": []}, InvalidArgumentError, r"received \[\]"),
        ({"source": {"a": "b"}}, InvalidArgumentError, "replay takes a store"),
        ({"source": 3}, InvalidArgumentError, "received 3"),
        ({"source": ["up"], "otherwise": "actr"}, UnknownNameError, "Did you mean 'actor'"),
        ({"source": ["up"], "same_seed": 1}, InvalidArgumentError, "same_seed must be True or False"),
    ],
)
def test_invalid_arguments_raise(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Replay(**kwargs)


@pytest.mark.parametrize("stored", [True, False])
def test_the_abort_of_a_recorded_episode_is_not_replayed(stored: bool, tmp_path: Path) -> None:
    env = {"task": "selfreg/Coin-v0", "actor": lambda text: "heads", "interventions": ["expert"], "abort": True}
    store = collect(env, store=tmp_path / "a.sqlite", tasks=[3], episodes=11, abort_probability=0.9, progress=False)
    aborted = next(episode for episode in store.episodes() if episode.aborted)
    source = store if stored else [aborted]
    replay = Replay(source, same_seed=True, only_successful=False, otherwise="actor")
    live = InterventionEnv("selfreg/Coin-v0", lambda text: "tails", [replay])
    live.reset(seed=aborted.seed, options={"episode": 3})
    taken = [live.step(1)[4]["action_text"] for _ in aborted.steps]
    assert taken == [*(step.action_text for step in aborted.steps[:-1]), "tails"]
