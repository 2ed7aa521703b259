"""Faulty helpers: the error names the helper and the rule, and only the episodes in which it fails are discarded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from selfreg_gym import (
    EpisodeSpec,
    FeatureObservation,
    Helper,
    Intervention,
    InterventionEnv,
    InterventionVectorEnv,
    evaluate,
    run_episodes,
)
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.calibration import calibrate
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import EndpointError, FailedEpisodesError, RegistryError, TaskContractError
from selfreg_gym.forks import fork, live_states
from selfreg_gym.off_policy.replay import replayed_actions
from selfreg_gym.testing import ExpertActor, check_helper
from selfreg_gym.types import Episode

BAD = 3
"""Number of coins of the task in which the helpers are faulty."""


def is_bad(text: str) -> bool:
    return f"Coin 1 of {BAD}" in text or f"of {BAD} " in text


def raises(actions: list[Any], i: int) -> Any:
    raise RuntimeError("no opinion")


def answers(value: Any) -> Callable[[list[Any], int], Any]:
    def fault(actions: list[Any], i: int) -> Any:
        actions[i] = value
        return actions

    return fault


class Unconvertible:
    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("not on this device")


FAULTS: dict[str, tuple[Callable[[list[Any], int], Any], str]] = {
    "raises": (raises, r"must handle every observation: predict of Faulty raised RuntimeError: 'no opinion'"),
    "too large": (answers(2), "integer actions from 0 to K .*Faulty returned 2"),
    "negative": (answers(-1), "integer actions from 0 to K .*Faulty returned -1"),
    "NaN": (answers(float("nan")), "N integer actions .*float64"),
    "None": (answers(None), "N integer actions .*object"),
    "text": (answers("help"), "N integer actions .*type <U"),
    "a list": (answers([0, 1]), "N integer actions"),
    "one too many": (lambda actions, i: [*actions, 0], "N integer actions"),
    "one too few": (lambda actions, i: actions[:-1], "N integer actions"),
    "all too large": (lambda actions, i: [7] * len(actions), "integer actions from 0 to K .*Faulty returned 7"),
    "no array": (lambda actions, i: Unconvertible(), "N integer actions|raised RuntimeError: 'not on this device'"),
}


class Faulty(Helper):
    """Asks at every second step of an episode, and with a probability; it is faulty in one task from a step on."""

    def __init__(self, fault: Callable[[list[Any], int], Any] | None, at: int = 0, p: float = 0.3) -> None:
        self.fault, self.at = fault, at
        self.random = Random(p)
        self.seed = self.random.seed

    def with_seed(self, seed: int) -> Faulty:
        return self._replaced(random=self.random.with_seed(seed), seed=seed)

    def begin_episodes(self, state: Any, starts: Any, keys: Any) -> Any:
        step, draws = (None, None) if state is None else state
        return step, self.random.begin_episodes(draws, starts, keys)

    def decide(self, observations: Any, state: Any, start: np.ndarray) -> Any:
        step, draws = (None, None) if state is None else state
        step = np.where(start, 0, 0 if step is None else step)
        drawn, draws = self.random.predict(tuple(observations), draws, start)
        actions: Any = [int(a or s % 2) for a, s in zip(drawn, step, strict=True)]
        for i, text in enumerate(observations):
            if self.fault is not None and is_bad(text) and step[i] >= self.at:
                actions = self.fault(actions, i)
        return actions, (step + 1, draws)


def guess(text: str) -> str:
    return "heads"


def make(num_envs: int | None, actor: Any = guess) -> Any:
    people = {"actor": actor, "interventions": [Intervention(ExpertActor(), name="expert")]}
    if num_envs is None:
        return InterventionEnv("selfreg/Coin-v0", **people)
    return InterventionVectorEnv(num_envs, "selfreg/Coin-v0", **people, autoreset_mode="Disabled")


SPECS = [EpisodeSpec(i % 4, 50 + i) for i in range(24)]


def played(helper: Any, num_envs: int | None, specs: list[EpisodeSpec] = SPECS, **kwargs: Any) -> dict[int, Episode]:
    return {episode.seed: episode for episode in run_episodes(make(num_envs, ExpertActor()), specs, helper, **kwargs)}


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("name", FAULTS)
def test_only_the_episodes_of_a_faulty_answer_are_discarded(name: str, at: int) -> None:
    fault, rule = FAULTS[name]
    right = played(Faulty(None), 5)
    bad = {seed for seed, episode in right.items() if "-1" in episode.task_id}
    assert len(bad) == 6
    for num_envs in (None, 1, 5, 24):
        found = played(Faulty(fault, at), num_envs, retries=0)
        for seed in bad:
            error = found[seed].error
            assert error is not None
            assert error.startswith("the helper: ")
            assert re.search(rule, error), error
            assert len(found[seed].steps) == at
        assert {seed: one for seed, one in found.items() if seed not in bad} == {
            seed: one for seed, one in right.items() if seed not in bad
        }


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [StopIteration("empty"), Unprintable()])
def test_unusual_exceptions_are_faults_of_the_episode(error: Exception) -> None:
    def fault(actions: list[Any], i: int) -> Any:
        raise error

    found = played(Faulty(fault), 5, retries=0)
    errors = [one.error for one in found.values() if one.error is not None]
    assert len(errors) == 6
    assert all(f"predict of Faulty raised {type(error).__name__}" in one for one in errors)

    def act(text: str) -> str:
        raise error

    failed = list(run_episodes(make(2, act), SPECS[:4], Random(0.0), retries=0))
    assert all(f"raised {type(error).__name__}" in str(one.error) for one in failed)

    class Task(Coin):
        def __init__(self) -> None:
            raise error

    with pytest.raises(RegistryError, match=type(error).__name__):
        InterventionEnv(Task, actor=guess, interventions=[])


@pytest.mark.parametrize("num_envs", [None, 4])
def test_answers_that_cannot_be_read_name_the_helper(num_envs: int | None) -> None:
    class NoArray:
        def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: Any = False):
            return Unconvertible(), state

    with pytest.raises(TaskContractError, match=r"N integer actions .*NoArray returned <.*Unconvertible"):
        list(run_episodes(make(num_envs), SPECS, NoArray()))


@pytest.mark.parametrize("value", [np.array([True, False]), "abc", [None] * 4, np.full(4, np.nan), np.ones((4, 2)), {}])
def test_states_that_are_new_to_a_helper_are_bools(value: Any) -> None:
    class Unseen(Helper):
        def decide(self, observations: Any, state: Any, start: np.ndarray) -> Any:
            self.last_unseen = value if any(map(is_bad, observations)) else np.ones(len(start), bool)
            return np.ones(len(start), int), state

    right = played(Unseen(), 4, [spec for spec in SPECS if spec.task_index != 1])
    assert all(episode.metrics["unseen"] == len(episode.steps) for episode in right.values())
    found = played(Unseen(), 4, retries=0)
    assert {seed: episode for seed, episode in found.items() if seed in right} == right
    errors = [episode.error for seed, episode in found.items() if seed not in right]
    assert len(errors) == 6
    assert all(re.search(r"^the helper: last_unseen .* N bools \(here N = 4\); Unseen set", str(one)) for one in errors)


def test_a_helper_that_changes_its_observations_gets_them_unchanged_when_it_is_asked_again() -> None:
    class Scaled(Helper):
        def __init__(self, *, in_place: bool, faulty: bool) -> None:
            self.in_place, self.faulty = in_place, faulty

        def wrap(self, env: Any) -> Any:
            return FeatureObservation(env)

        def decide(self, observations: Any, state: Any, start: np.ndarray) -> Any:
            numbers = observations["scalars"]
            left = numbers[:, 3].copy()
            if self.in_place:
                numbers *= 0.5
            if self.faulty and (left == 0.5).any():
                raise RuntimeError("no opinion")
            return (left > 0.3).astype(int), state

    right = played(Scaled(in_place=False, faulty=False), 5)
    found = played(Scaled(in_place=True, faulty=True), 5, retries=0)
    assert played(Scaled(in_place=False, faulty=True), 5, retries=0) == found
    working = {seed: episode for seed, episode in found.items() if episode.error is None}
    assert 0 < len(working) < len(found)
    assert working == {seed: right[seed] for seed in working}


def test_a_failed_episode_is_played_again() -> None:
    class Recovers(Faulty):
        left = 3

        def decide(self, observations: Any, state: Any, start: np.ndarray) -> Any:
            self.fault = raises if Recovers.left > 0 and any(map(is_bad, observations)) else None
            Recovers.left -= self.fault is not None
            return super().decide(observations, state, start)

    assert played(Recovers(None), 1, retries=2) == played(Faulty(None), 1)
    assert Recovers.left == 0


def test_a_helper_that_always_fails_ends_the_call() -> None:
    class Broken(Helper):
        def decide(self, observations: Any, state: Any, start: Any) -> Any:
            raise KeyError("a word")

    asked = []
    for num_envs in (None, 4):
        with pytest.raises(TaskContractError, match=r"failed in all of the 24 .*predict of Broken raised") as caught:
            list(run_episodes(make(num_envs), SPECS, Broken(), on_episode=asked.append))
        assert isinstance(caught.value.__cause__, TaskContractError)
    with pytest.raises(TaskContractError, match="failed in all of the 36 "):
        list(run_episodes(make(4), SPECS * 9, Broken(), retries=0))
    kept = list(run_episodes(make(4), SPECS, Broken(), helper_must_work=False))
    assert len(kept) == 24
    assert all(episode.error is not None and not episode.steps for episode in kept)


def test_a_server_that_does_not_answer_ends_the_call_and_a_refusal_ends_an_episode() -> None:
    calls = []

    def server(error: EndpointError) -> Callable[[list[Any], int], Any]:
        def fault(actions: list[Any], i: int) -> Any:
            calls.append(i)
            raise error

        return fault

    refused = Faulty(server(EndpointError("the prompt is too long", status=400, reached=True)))
    found = played(refused, 5, retries=0)
    assert sum(episode.error is not None for episode in found.values()) == 6
    down = Faulty(server(EndpointError("no answer", reached=False)))
    calls.clear()
    with pytest.raises(EndpointError, match="no answer"):
        played(down, 12, [EpisodeSpec(1, i) for i in range(40)])
    assert len(calls) < 12


def test_errors_about_settings_end_the_call() -> None:
    class Misused(Helper):
        def decide(self, observations: Any, state: Any, start: Any) -> Any:
            from selfreg_gym.errors import CheckpointError

            raise CheckpointError("no file")

    with pytest.raises(Exception, match="no file"):
        played(Misused(), 4)


def test_an_evaluation_discards_only_the_failed_episodes() -> None:
    with pytest.warns(UserWarning, match="4 episodes ended in an error"):
        result = evaluate(
            make(4, ExpertActor()), {"mine": Faulty(raises), "random": Random(0.5)}, tasks=range(4), episodes=4
        )
    rows = {row["helper"]: row for row in result.rows if row["kind"] == "all"}
    assert (rows["mine"]["episodes"], rows["mine"]["errors"]) == (12, 4)
    assert (rows["random"]["episodes"], rows["random"]["errors"]) == (16, 0)
    with pytest.raises(TaskContractError, match=r"the first 8 episodes of the helper 'mine' .*the helper: .*Faulty"):
        evaluate(make(4), {"mine": Faulty(raises), "random": Random(0.5)}, tasks=[1], episodes=8)


def test_a_calibration_names_the_failed_episode() -> None:
    class WithKnob(Faulty):
        @property
        def knob(self) -> float:
            return self.random.p

        def with_knob(self, p: float) -> WithKnob:
            return self._replaced(random=self.random.with_knob(p))

    with pytest.raises(FailedEpisodesError, match=r"task 1 .*the helper: .*no opinion"):
        calibrate(WithKnob(raises), make(4), budget=0.5, tasks=range(4), episodes=40, seed=0)


def test_forks_and_replays_name_the_helper() -> None:
    episodes = list(played(Random(0.5), 4).values())
    with pytest.raises(TaskContractError, match=r"needs the helper's action at every stored decision.*the helper: "):
        replayed_actions(episodes, Faulty(raises))
    env = make(None)
    env.reset(seed=0, options={"episode": 1})
    with pytest.raises(FailedEpisodesError, match=r"every continuation .*the helper: .*no opinion"):
        fork(env, live_states(env), then=Faulty(raises), repetitions=2, progress=False)


@pytest.mark.parametrize("name", ["raises", "NaN", "None", "all too large"])
def test_forks_of_other_states_are_not_affected(name: str) -> None:
    env = make(None)
    states = []
    for task in range(4):
        env.reset(seed=0, options={"episode": task})
        states += live_states(env)
    kwargs = {"task": "selfreg/Coin-v0", "actor": ExpertActor(), "interventions": env.interventions}
    result = fork(kwargs, states, then=Faulty(FAULTS[name][0], at=1), repetitions=2, progress=False)
    assert result.failed.all(axis=(1, 2)).tolist() == [False, True, False, False]
    assert not result.failed[[0, 2, 3]].any()


def test_check_helper_finds_an_episode_in_which_the_helper_fails() -> None:
    with pytest.raises(TaskContractError, match="no opinion"):
        check_helper(Faulty(raises))
