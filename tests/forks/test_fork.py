"""Forks agree with exact values, are paired, and do not depend on batches, workers and interruptions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from corridor import STEPS, Corridor, Hasty, moves
from small_actors import NoisyExpert

import selfreg_gym
from selfreg_gym import EpisodeSpec, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.helpers.dp import DP
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.agents.helpers.wait_n import WaitN
from selfreg_gym.envs.frozen_lake import FrozenLake
from selfreg_gym.errors import (
    CheckpointError,
    InvalidArgumentError,
    TaskContractError,
    UnknownNameError,
)
from selfreg_gym.forks import ForkState, choose_rows, fork, live_states, stored_states
from selfreg_gym.helper import Helper
from selfreg_gym.types import Act, Intervention


def _exact(model, solution, states):
    """Differences of success and cost of the exact model at states, followed by the policy of a solution."""
    at = model.locate_many(
        [state.state_key for state in states], [state.feature_key for state in states],
        [state.steps_left for state in states],
    )  # fmt: skip
    assert (at >= 0).all()
    return tuple(values[1, at] - values[0, at] for values in (solution.success_by_action, solution.usage_by_action))


def _states(rollouts, count, seed=0):
    return stored_states(rollouts, choose_rows(rollouts.columns("state_key", "steps_left"), count, seed=seed))


@pytest.mark.parametrize("policy", ["nohelp", "optimal"])
def test_forks_agree_with_the_exact_values(request: pytest.FixtureRequest, policy: str) -> None:
    env, model, rollouts = request.getfixturevalue("lake" if policy == "nohelp" else "walkway")
    if policy == "nohelp":
        solution, then = selfreg_gym.evaluate_policy(model, np.zeros(model.n, int)), None
    else:
        mixture = selfreg_gym.solve_budget(model, budget=1.0)
        solution = mixture.policies[0]
        then = DP(type(mixture)(**{**vars(mixture), "policies": (solution,), "weights": np.ones(1)}))
    states = _states(rollouts, 16)
    forks = fork(env, states, then=then, repetitions=50, num_envs=64, seed=1)
    assert forks.reseeded
    assert not forks.failed.any()
    success, usage = _exact(model, solution, states)
    found = forks.differences()
    inside = (found.success_low <= success) & (success <= found.success_high)
    assert inside.sum() >= len(states) - 3  # intervals of 95 %
    sd = np.std(forks.success[:, 1].astype(float) - forks.success[:, 0], axis=1, ddof=1)
    assert abs(np.mean(found.success - success)) < 3.3 * np.sqrt(np.sum(sd**2 / 50)) / len(states)
    assert abs(np.mean(found.cost - usage)) < 0.1
    if policy == "optimal":
        assert success.std() > 0.08
        assert np.corrcoef(found.success, success)[0, 1] > 0.8


def test_the_replayed_state_is_that_of_the_episode(lake_env, lake_rollouts) -> None:
    states = _states(lake_rollouts, 8)
    helped = [sum(step.action for step in state.steps) for state in states]
    assert max(helped) > 0

    seen: dict[tuple, tuple] = {}

    class Counters(Helper):
        def wrap(self, env):
            self.slots = env.unwrapped.slots
            return env

        def decide(self, observations, state, start):
            for slot in self.slots:
                if not slot.over and slot.task.recorded is None:
                    of = slot.task.state
                    seen.setdefault((of.row, slot.task.first), (slot.t, slot.observation, slot.usage.sum()))
            return np.zeros(len(start), int), state

    fork(lake_env, states, then=Counters(), repetitions=2, num_envs=5)
    for state, calls in zip(states, helped, strict=True):
        for first in ((0,), (1,)):
            assert seen[state.row, first] == (state.t, state.observation, float(calls))


def test_recorded_steps_and_snapshots_lead_to_the_same_state(lake_env, lake_rollouts) -> None:
    class Nohelp(Helper):
        def decide(self, observations, state, start):
            return np.zeros(len(start), int), state

    states = _states(lake_rollouts, 5)
    replayed, restored = (fork(lake_env, states, then=one, repetitions=5) for one in (Nohelp(), None))
    for name in ("success", "cost", "calls", "steps", "invalid_at"):
        assert (getattr(replayed, name) == getattr(restored, name)).all()


def test_the_memory_of_a_helper_counts_the_recorded_steps(lake_env, lake_rollouts) -> None:
    states = [state for state in _states(lake_rollouts, 12) if state.t >= 2][:4]
    forks = fork(lake_env, states, first_actions=[()], then=WaitN(2), repetitions=4)
    assert (forks.calls[..., 0] == forks.steps).all()  # it has waited during the recorded steps
    forks = fork(lake_env, states, first_actions=[()], then=WaitN(50), repetitions=4)
    assert not forks.calls.any()


def test_batches_workers_and_other_states_change_nothing(lake_rollouts) -> None:
    env = {
        "task": "selfreg/FrozenLake-v0", "task_kwargs": {"max_steps": 60}, "actor": "scripted",
        "interventions": ["expert"],
    }  # fmt: skip
    with_scripted = selfreg_gym.collect(
        env, store=lake_rollouts.path.with_name("scripted.sqlite"), tasks=[0, 1], episodes=11, progress=False
    )
    states = _states(with_scripted, 8)
    options = {"then": Random(0.5, seed=4), "repetitions": 3, "seed": 2}
    whole = fork(env, states, num_envs=16, **options)
    assert whole.success.any()
    assert not whole.success.all()
    for found in (
        fork(env, states, num_envs=1, **options),
        fork(env, states, num_envs=7, workers=2, **options),
    ):
        assert (found.success == whole.success).all()
        assert (found.cost == whole.cost).all()
    alone = fork(env, states[3:4], num_envs=4, **options)
    assert (alone.success[0] == whole.success[3]).all()
    assert (alone.steps[0] == whole.steps[3]).all()


def test_equal_first_actions_have_equal_random_numbers(lake_rollouts, lake_env) -> None:
    """With an intervention that acts like the actor, the paired continuations differ only by the draws of who acts."""

    class Same:
        def act(self, decisions):
            return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]

    env = {**lake_env, "actor": Same(), "interventions": [Intervention(Same(), name="same")]}
    rollouts = selfreg_gym.collect(
        env, store=lake_rollouts.path.with_name("same.sqlite"), tasks=[0], episodes=11, progress=False
    )
    forks = fork(env, _states(rollouts, 5), repetitions=20)
    assert (forks.success[:, 0] == forks.success[:, 1]).all()
    assert forks.success.any(axis=2).any()
    assert not forks.success.all()


def test_a_task_that_cannot_be_reseeded_keeps_its_randomness(lake_rollouts) -> None:
    class Fixed(FrozenLake):
        reseed = property()  # no such member

    env = {"task": lambda: Fixed(max_steps=12), "actor": Heads2(), "interventions": ["expert"]}
    rollouts = selfreg_gym.collect(
        env, store=lake_rollouts.path.with_name("fixed.sqlite"), tasks=[0], episodes=11, progress=False
    )
    forks = fork(env, _states(rollouts, 6), repetitions=5)
    assert not forks.reseeded
    assert "recorded randomness" in forks.note
    assert (forks.success == forks.success[:, :, :1]).all()


class Heads2:
    """Goes down."""

    def act(self, decisions):
        return ["down"] * len(decisions)


def test_sequences_of_first_actions(lake_env, lake_rollouts) -> None:
    env = {**lake_env, "interventions": ["expert", Intervention(Heads2(), name="down", cost=0.5)]}
    rollouts = selfreg_gym.collect(
        env, store=lake_rollouts.path.with_name("two.sqlite"), tasks=[0], episodes=22, progress=False
    )
    states = [state for state in _states(rollouts, 12) if state.steps_left > 3]
    forks = fork(env, states, first_actions=[(1, 2), (2, 2), (2, 1)], repetitions=4)
    long = forks.steps >= 2
    assert (forks.calls[:, 0][long[:, 0]] == 1).all()
    assert (forks.calls[:, 1, :, 1][long[:, 1]] == 2).all()
    assert (forks.cost[:, 2][long[:, 2]] == 1.5).all()
    assert forks.differences((1, 2), (2, 2)).success.shape == (len(states),)
    assert forks.index([2, 1]) == 2
    assert (fork(env, states[:1], repetitions=1).first_actions) == ((0,), (1,), (2,))


class TestCallsOfSeveralSteps:
    class Walkway(Corridor):
        def reseed(self, seed: int) -> None:
            self.np_random = np.random.default_rng(seed)

    def _value(self, expert_steps: int) -> float:
        """Probability of success from the start, with some steps of the expert and then the actor."""
        P, win = moves()
        value = np.zeros(len(win[0]))
        for left in range(1, STEPS + 1):
            who = int(STEPS - left < expert_steps)
            value = win[who] + P[who] @ value
        return float(value[0])

    @pytest.mark.parametrize(("duration", "expert_steps"), [(3, 3), ("end", STEPS)])
    def test_an_action_stands_for_the_whole_call(self, duration, expert_steps: int) -> None:
        expert = Intervention(lambda text: "walk", name="expert", duration=duration)
        env = InterventionEnv(self.Walkway(), Hasty(), [expert])
        env.reset(seed=0)
        kwargs = {"task": self.Walkway, "actor": Hasty(), "interventions": [expert]}
        forks = fork(kwargs, live_states(env), first_actions=[(0,), (1,), (1, 1)], repetitions=200, num_envs=64)
        for first, steps in (((0,), 0), ((1,), expert_steps), ((1, 1), min(STEPS, 2 * expert_steps))):
            rate = forks.rates(first)[0][0]
            assert rate == pytest.approx(self._value(steps), abs=3.3 * np.sqrt(0.25 / 200))
        assert (forks.calls[0, 1, :, 0] == 1).all()
        assert forks.calls[0, 2, :, 0].max() == (1 if duration == "end" else 2)

    def test_a_state_within_a_call(self, tmp_path) -> None:
        expert = Intervention(lambda text: "walk", name="expert", duration=3)
        kwargs = {"task": self.Walkway, "actor": Hasty(), "interventions": [expert]}
        vector = InterventionVectorEnv(4, **kwargs, autoreset_mode="Disabled")
        episodes = list(run_episodes(vector, [EpisodeSpec(0, i, 0.5) for i in range(20)]))
        rows = [step for episode in episodes for step in episode.steps]
        inside = next(i for i, step in enumerate(rows) if step.continuation)
        with pytest.raises(InvalidArgumentError, match="continues a call"):
            stored_states(episodes, [inside])
        after = next(i for i in range(inside, len(rows)) if rows[i].t > 2 and not rows[i].continuation)
        forks = fork(kwargs, stored_states(episodes, [after]), repetitions=5)
        assert (forks.cost[0, 1] - forks.cost[0, 0] == 1.0).all()
        env = InterventionEnv(self.Walkway(), Hasty(), [expert])
        env.reset(seed=0)
        env.step(1)
        forks = fork(kwargs, live_states(env), repetitions=5)
        assert (forks.steps[0, 0] >= 2).all()
        assert not forks.cost[0, 0].any()  # the call that goes on was paid before the state


def test_a_changed_task_is_an_error(lake_env, lake_rollouts) -> None:
    states = [state for state in _states(lake_rollouts, 12) if state.t]

    class Other(FrozenLake):
        def __init__(self):
            super().__init__(max_steps=12, slippery=False)

    with pytest.raises(TaskContractError, match="reached again"):
        fork({**lake_env, "task": Other}, states, repetitions=1)


def test_an_interrupted_call_continues(lake_env, lake_rollouts, tmp_path) -> None:
    states = _states(lake_rollouts, 6)
    whole = fork(lake_env, states, repetitions=4)
    file, calls = tmp_path / "work.json", 0

    class Stops(NoisyExpert):
        def act(self, decisions):
            nonlocal calls
            calls += 1
            if calls == 60:
                raise KeyboardInterrupt
            return super().act(decisions)

        def __repr__(self) -> str:
            return "noisy"

    env = {**lake_env, "actor": Stops()}
    with pytest.raises(KeyboardInterrupt):
        fork(env, states, repetitions=4, num_envs=2, resume=file)
    finished = len(json.loads(file.read_text())["finished"])
    assert 0 < finished < 6
    calls = -(10**6)
    found = fork(env, states, repetitions=4, num_envs=2, resume=file)
    assert (found.success == whole.success).all()
    assert (found.steps == whole.steps).all()
    before = calls
    fork(env, states, repetitions=4, num_envs=3, resume=file)
    assert calls == before  # nothing is played again
    with pytest.raises(CheckpointError, match="other arguments"):
        fork(env, states, repetitions=5, resume=file)
    file.write_text("{")
    with pytest.raises(CheckpointError, match="delete it"):
        fork(env, states, repetitions=4, resume=file)


def test_failed_actors_are_left_out(lake_env, lake_rollouts) -> None:
    class Fails:
        def act(self, decisions):
            return [Act("", error="no answer") for _ in decisions]

    states = _states(lake_rollouts, 3)
    broken = {**lake_env, "interventions": [Intervention(Fails(), name="expert")]}
    forks = fork(broken, states, repetitions=3, retries=0)
    assert forks.failed[:, 1].all()
    assert not forks.failed[:, 0].any()
    assert np.isnan(forks.differences().success).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"states": []}, "at least one ForkState"),
        ({"states": None}, "stored_states"),
        ({"first_actions": [0, 2]}, "from 0 to 1"),
        ({"first_actions": [0, 0]}, "different"),
        ({"first_actions": "01"}, "received '01'"),
        ({"repetitions": 0}, "repetitions"),
        ({"then": 3}, "then"),
    ],
)
def test_invalid_arguments(lake_env, lake_rollouts, change: dict, words: str) -> None:
    arguments = {"states": _states(lake_rollouts, 1), **change}
    with pytest.raises(InvalidArgumentError, match=words):
        fork(lake_env, arguments.pop("states"), **arguments)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"actor": None}, InvalidArgumentError, "actor is missing"),
        ({"num_envs": 3}, UnknownNameError, "received 'num_envs'"),
        ({"actr": "scripted"}, UnknownNameError, "Did you mean 'actor'"),
    ],
)
def test_invalid_arguments_of_the_env(lake_env, lake_rollouts, change: dict, error: type, words: str) -> None:
    env = {key: value for key, value in {**lake_env, **change}.items() if value is not None}
    with pytest.raises(error, match=words):
        fork(env, _states(lake_rollouts, 1), repetitions=1)


def test_a_state_is_before_a_step_of_its_episode(lake_rollouts) -> None:
    episode = next(iter(lake_rollouts))
    assert ForkState.of_episode(episode, len(episode) - 1).t == len(episode) - 1
    for t in (-1, len(episode)):
        with pytest.raises(InvalidArgumentError, match="the step of a fork must be an integer from 0"):
            ForkState.of_episode(episode, t)
    with pytest.raises(InvalidArgumentError, match="at least one index"):
        stored_states(lake_rollouts, [])
