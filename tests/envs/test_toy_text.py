"""Taxi, CliffWalking and FrozenLake: dynamics, experts and exact models, compared with Gymnasium and with play."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv
from small_actors import NoisyExpert

from selfreg_gym import InterventionVectorEnv, registry
from selfreg_gym.envs.cliff_walking import CliffWalking
from selfreg_gym.envs.frozen_lake import FrozenLake, _maps
from selfreg_gym.envs.taxi import Taxi
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.solver import evaluate_policy, solve_budget
from selfreg_gym.transitions import TransitionModel

CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "taxi": (Taxi, TaxiEnv(), {"max_steps": 16}),
    "rainy taxi": (Taxi, TaxiEnv(is_rainy=True), {"rainy": True, "max_steps": 16}),
    "cliff": (CliffWalking, CliffWalkingEnv(), {"max_steps": 14}),
    "slippery cliff": (CliffWalking, CliffWalkingEnv(is_slippery=True), {"slippery": True, "max_steps": 20}),
    "lake": (FrozenLake, FrozenLakeEnv(is_slippery=True), {"clock": True, "max_steps": 12}),
}


def value_of(P: Any, horizon: int, won: Any, start: int) -> float:
    """The largest probability of success within the horizon, by recursion over Gymnasium's ``P``."""

    @cache
    def value(state: int, left: int) -> float:
        if left == 0:
            return 0.0
        return max(
            sum(p * (float(won(reward)) if ends else value(int(to), left - 1)) for p, to, reward, ends in P[state][a])
            for a in P[state]
        )

    return value(start, horizon)


@pytest.mark.parametrize("case", CASES)
def test_the_expert_is_optimal_with_the_steps_that_are_left(case: str) -> None:
    kind, bare, kwargs = CASES[case]
    won = {Taxi: lambda r: r == 20, CliffWalking: lambda r: True, FrozenLake: lambda r: r > 0}[kind]
    for horizon in (3, 8, kwargs["max_steps"]):
        task = kind(**{**kwargs, "max_steps": horizon})
        for episode in (0, 1, 5) if kind is not FrozenLake else (0,):
            model = task.intervention_model([episode])
            expected = value_of(bare.P, horizon, won, task._first(episode))
            found = evaluate_policy(model, np.ones(model.n, int)).expected_success
            assert found == pytest.approx(expected, abs=1e-12)


def test_the_expert_arrives_as_early_as_possible() -> None:
    for task in (Taxi(), CliffWalking()):
        for episode in range(12):
            task.reset(seed=0, options={"episode": episode})
            distance = int(task._dynamics.distance[task._first(episode)])
            for step in range(distance):
                *_, terminated, _, info = task.step(task.expert_action())
                assert terminated is (step == distance - 1)
            assert info["success"]


def test_the_expert_keeps_away_from_the_cliff_if_it_slips() -> None:
    moves = {}
    for slippery in (False, True):
        task = CliffWalking(slippery=slippery)
        task.reset(seed=0, options={"episode": 0})
        *_, over, stream = task.snapshot()
        task.restore((0, 2 * 12 + 6, 20, over, stream))
        moves[slippery] = task.expert_action()
    assert moves == {False: "right", True: "up"}


def test_an_expert_with_a_clock_succeeds_more_often() -> None:
    always = {}
    for clock in (False, True):
        model = FrozenLake(max_steps=30, clock=clock).intervention_model([7])
        always[clock] = evaluate_policy(model, np.ones(model.n, int)).expected_success
    assert always[True] > always[False] + 0.01


@pytest.mark.parametrize("case", ["rainy taxi", "slippery cliff"])
def test_steps_have_gymnasiums_probabilities(case: str) -> None:
    kind, bare, kwargs = CASES[case]
    task = kind(**kwargs)
    rng = np.random.default_rng(0)
    for episode in (0, 3):
        task.reset(seed=episode, options={"episode": episode})
        state = task._state
        for move in range(len(task.MOVES)):
            counts: dict[int, float] = {}
            for _ in range(2000):
                to, _, _ = task._dynamics.draw(state, move, rng.random())
                counts[to] = counts.get(to, 0) + 1 / 2000
            expected: dict[int, float] = {}
            for chance, to, *_ in bare.P[state][move]:
                expected[int(to)] = expected.get(int(to), 0) + chance
            assert counts.keys() == expected.keys()
            assert all(abs(counts[to] - expected[to]) < 0.05 for to in expected)


@pytest.mark.parametrize("case", ["rainy taxi", "slippery cliff", "lake"])
def test_the_exact_mixture_has_its_expected_success_and_usage_in_the_env(case: str) -> None:
    kind, _, kwargs = CASES[case]
    tasks = (0, 1, 2)
    model = kind(**kwargs).intervention_model(tasks, noise=0.5)
    policy = solve_budget(model, budget=1.5)
    env = InterventionVectorEnv(32, lambda: kind(**kwargs), NoisyExpert(), ["expert"], autoreset_mode="Disabled")
    specs = [EpisodeSpec(tasks[i % 3], 10_000 + i) for i in range(900)]
    episodes = list(run_episodes(env, specs, registry.load("helpers", "dp")(policy), record_steps=False))
    for name, expected in (("cost", policy.expected_usage), ("success", policy.expected_success)):
        found = np.array([float(getattr(episode, name)) for episode in episodes])
        assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(len(found)) + 1e-9, name


def test_a_model_without_a_clock_is_the_same_in_both_forms() -> None:
    """With an expert that takes the same move at every clock, the flat model equals the levelled one."""
    task = FrozenLake(max_steps=7, clock=False)
    levelled = task.intervention_model([0, 1])
    best = task._best
    task._best = lambda index: np.tile(best(index), (8, 1))
    flat = task.intervention_model([0, 1])
    assert (flat.levels, flat.n) == (1, levelled.n)
    for a in range(2):
        assert abs(flat.P[a] - levelled.P[a]).max() == 0
    np.testing.assert_array_equal(flat.start, levelled.start)
    for node, key in enumerate(levelled.keys):
        for left in (1, 7):
            assert (
                flat.locate(key, None, left) == levelled.locate(key, None, left) == (left - 1) * levelled.nodes + node
            )


def test_a_model_with_a_clock_can_be_saved(tmp_path: Any) -> None:
    model = CliffWalking(max_steps=5).intervention_model([0])
    model.save(tmp_path / "cliff.npz")
    again = TransitionModel.load(tmp_path / "cliff.npz")
    assert again.fingerprint == model.fingerprint
    assert again.locate("cliff/36", None, 5) == model.locate("cliff/36", None, 5) == 4 * 48 + 36


@pytest.mark.parametrize("kind", [Taxi, CliffWalking, FrozenLake])
def test_no_task_is_in_two_splits(kind: Any) -> None:
    names: dict[str, set[Any]] = {}
    for split in ("train", "val", "test"):
        task = kind(split=split)
        if kind is FrozenLake:
            names[split] = set(_maps(split))
        else:
            names[split] = {task._first(i) for i in range(task.num_episodes)}
            assert len(names[split]) == task.num_episodes
        ids = {task.reset(seed=0, options={"episode": i})[1]["task_id"] for i in range(task.num_episodes)}
        assert len(ids) == task.num_episodes
    assert not names["train"] & names["test"]
    assert not names["train"] & names["val"]
    assert not names["val"] & names["test"]


def test_texts_name_what_a_person_must_know() -> None:
    taxi = gym.make("selfreg/Taxi-v0", rainy=True)
    text, _ = taxi.reset(seed=0, options={"episode": 1})
    assert "waits at G (row 1, column 5)" in text
    assert "destination is R (row 1, column 1)" in text
    assert "It rains" in text
    for action in ("north",) * 9 + ("pick up",):
        text, *_, info = taxi.step(action)
    assert ("is in the taxi" in text) is info["feature_key"].startswith("aboard")
    cliff = gym.make("selfreg/CliffWalking-v0")
    text, _ = cliff.reset(seed=0, options={"episode": 0})
    assert "the cliff to the right" in text
    text, *_ = cliff.step("right")
    assert "row 4, column 1" in text, "a fall leads back to the start"


def test_invalid_arguments_raise() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        Taxi(split="trian")
    with pytest.raises(InvalidArgumentError, match="max_steps must be an integer of at least 1"):
        CliffWalking(max_steps=0)
    with pytest.raises(InvalidArgumentError, match=r"from 0 to 7, .*received 8"):
        CliffWalking(split="test").reset(options={"episode": 8})
    with pytest.raises(InvalidArgumentError, match="at least one task"):
        Taxi().intervention_model([])
