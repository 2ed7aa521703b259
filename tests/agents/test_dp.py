"""The dp helper: it follows the policy, draws one coin per episode, and never asks in unknown states."""

from __future__ import annotations

from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym  # noqa: F401  (registers the envs)
from selfreg_gym import registry
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.solver import MixedPolicy, evaluate_policy, solve_budget, solve_frontier
from selfreg_gym.transitions import Rows, TransitionModel

DP = registry.load("helpers", "dp")


@pytest.fixture(scope="module")
def model() -> TransitionModel:
    """Two states in sequence; help succeeds more often in both, with a larger gain in the second."""
    move = np.array([[0.0, 0.8], [0.0, 0.0]])
    return TransitionModel([move, move], [[0.0, 0.3], [0.1, 0.9]], [1, 0], keys=["a", "b\nwith a line"])


def texts(*keys: str) -> list[str]:
    return [f"{key}\n\n5" for key in keys]


def test_it_follows_the_policy_and_never_asks_in_unknown_states(model):
    policy = solve_budget(model, budget=100)
    helper = DP(policy)
    actions, _ = helper.predict(texts("a", "b\nwith a line", "elsewhere"))
    assert actions.tolist() == [policy.action(0), 1, 0]
    assert helper.last_unseen.tolist() == [False, False, True]
    single, _ = helper.predict("b\nwith a line\nsome feature\n")
    assert single == 1
    assert np.ndim(single) == 0


def test_one_coin_per_episode_kept_in_state_also_when_deterministic(model):
    frontier = solve_frontier(model, gap=0)
    helper = DP(frontier, budget=0.4, seed=3)
    assert len(helper.policy.policies) == 2
    rows, state, first = 500, None, None
    for step in range(4):
        observations = texts(*["b\nwith a line"] * rows)
        starts = np.full(rows, step == 0)
        actions, state = helper.predict(observations, state, starts, deterministic=True)
        first = actions if first is None else first
        assert np.array_equal(actions, first)  # the coin holds within the episode
    assert first.mean() == pytest.approx(helper.policy.help_probability()[1], abs=0.06)
    half = np.arange(rows) < rows // 2
    again, _ = helper.predict(observations, state, half, deterministic=True)
    assert np.array_equal(again[~half], first[~half])
    assert not np.array_equal(again[half], first[half])
    repeated, _ = DP(frontier, budget=0.4, seed=3).predict(observations, None, np.ones(rows, bool))
    assert np.array_equal(repeated, first)
    other, _ = DP(frontier, budget=0.4, seed=4).predict(observations)
    assert not np.array_equal(other, first)


def test_it_counts_steps_where_the_task_does_not():
    """Three decisions: only help at the last one succeeds, and waiting is free."""
    wait = Rows(np.array([0, 1]), np.array([0], np.int32), np.array([1.0]), np.array([1], np.int32))
    end = Rows(np.array([0, 0]), np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32))
    model = TransitionModel.levelled([wait, end], 3, [[0.0], [0.5]], [0, 0, 1], last_success=[[0.0], [0.9]], keys=["a"])
    helper = DP(solve_budget(model, budget=9))
    state, taken = None, []
    for step in range(3):
        action, state = helper.predict("a\n\n", state, np.array([step == 0]))
        taken.append(action)
    assert taken == [0, 0, 1]
    assert helper.predict("a\n\n", state, np.array([True]))[0] == 0
    assert helper.predict("a\n\n1")[0] == 1


def test_its_knob_is_the_nominal_budget(model):
    for helper in (DP(solve_frontier(model), budget=0.3), DP(solve_budget(model, budget=0.3))):
        assert helper.knob == pytest.approx(0.3)
        low, high = helper.knob_bounds
        assert low == 0
        usages = [helper.with_knob(x).policy.expected_usage for x in np.linspace(low, high, 6)]
        np.testing.assert_allclose(usages, np.linspace(low, high, 6), atol=1e-9)
        assert helper.with_knob(high + 9).knob == pytest.approx(high)
        assert deepcopy(helper) is helper


def test_budgets_for_each_intervention_keep_their_proportions():
    """Two interventions with a gain of their own in each of two states; the budgets limit both."""
    success = np.array([[0.1, 0.1], [0.9, 0.2], [0.6, 0.5]])
    model = TransitionModel([np.zeros((2, 2))] * 3, success, [0.5, 0.5], cost=[0, 1.0, 0.5], keys=["a", "b"])
    helper = DP(solve_budget(model, budget=[0.2, 0.1]))
    assert helper.knob == pytest.approx(0.3)
    np.testing.assert_allclose(helper.policy.expected_usage_by_intervention, [0.2, 0.1], atol=1e-9)
    np.testing.assert_allclose(helper.with_knob(0.15).policy.expected_usage_by_intervention, [0.1, 0.05], atol=1e-9)
    low, high = helper.knob_bounds
    assert (low, high) == (0.0, pytest.approx(0.75))  # the best policy uses 0.5 and 0.25 units
    assert helper.with_knob(high).expected_success == pytest.approx(0.7)
    never = helper.with_knob(0.0)
    assert never.expected_usage == 0.0
    assert never.with_knob(0.3).expected_usage == pytest.approx(0.3)


def test_it_is_read_from_a_run(model, tmp_path):
    frontier = solve_frontier(model)
    model.save(tmp_path / "transitions.npz")
    with pytest.raises(CheckpointError, match=r"solution\.npz"):
        DP.from_run(tmp_path)
    frontier.save(tmp_path / "solution.npz")
    helper = DP.from_run(tmp_path, budget=0.5, seed=1)
    assert helper.policy.expected_usage == pytest.approx(0.5)
    assert DP.from_run(tmp_path).policy.expected_usage == pytest.approx(frontier.usage[-1])
    assert DP.from_run(tmp_path, budget=0.5, shares=[1.0]).expected_success == pytest.approx(helper.expected_success)
    for shares in ([0.5, 0.5], [0.9], 1.0, ["1"]):
        with pytest.raises(InvalidArgumentError, match="share"):
            DP.from_run(tmp_path, budget=0.5, shares=shares)


def test_other_policies_are_refused(model):
    with pytest.raises(InvalidArgumentError, match="MixedPolicy or a Frontier, received dict"):
        DP({})
    with pytest.raises(InvalidArgumentError, match="already has a budget"):
        DP(solve_budget(model, budget=1), budget=1)
    with pytest.raises(InvalidArgumentError, match="use it on wrap"):
        DP(solve_budget(model, budget=1)).predict("You stand in the hall. What now?")


def test_usage_and_success_in_the_env_are_those_of_the_model():
    """The exact model of Coin, solved, and its policy played in the env."""
    from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
    from selfreg_gym.playing.loop import run_episodes
    from selfreg_gym.playing.plan import EpisodeSpec
    from selfreg_gym.types import Intervention

    class Guess:
        def act(self, decisions):
            return [str(decision.rng.choice(decision.admissible_actions)) for decision in decisions]

    class Knows:
        def act(self, decisions):
            return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]

    env = InterventionVectorEnv(
        16, task="selfreg/Coin-v0", actor=Guess(), interventions=[Intervention(Knows(), name="knows")],
        autoreset_mode="Disabled",
    )  # fmt: skip
    keys: dict[str, tuple[int, int]] = {}
    for number in range(6):
        task = gym.make("selfreg/Coin-v0")
        _, info = task.reset(seed=0, options={"episode": number})
        done = False
        while not done:
            keys[info["state_key"]] = (number, info["steps_left"])
            _, _, done, _, info = task.step(task.unwrapped.expert_action())
    names = list(keys)
    n = len(names)
    P, success = [np.zeros((n, n)), np.zeros((n, n))], np.zeros((2, n))
    for i, name in enumerate(names):
        number, left = keys[name]
        after = [j for j, other in enumerate(names) if keys[other] == (number, left - 1)]
        for a, right in enumerate((0.5, 1.0)):
            if after:
                P[a][i, after[0]] = right
            else:
                success[a, i] = right
    first = {}
    for i, name in enumerate(names):
        first.setdefault(keys[name][0], i)
    start = np.bincount(list(first.values()), minlength=n) / len(first)
    exact = TransitionModel(P, success, start, keys=names)
    for budget in (0.3, 1.2):
        policy = solve_budget(exact, budget=budget)
        assert isinstance(policy, MixedPolicy)
        specs = [EpisodeSpec(i % 6, 1000 + i) for i in range(1800)]
        episodes = list(run_episodes(env, specs, DP(policy), record_steps=False))
        cost = np.array([episode.cost for episode in episodes])
        won = np.array([episode.success for episode in episodes])
        assert abs(cost.mean() - policy.expected_usage) < 4 * cost.std() / np.sqrt(len(cost))
        assert abs(won.mean() - policy.expected_success) < 4 * won.std() / np.sqrt(len(won))
        assert sum(episode.metrics["unseen"] for episode in episodes) == 0
    never = evaluate_policy(exact, np.zeros(n, int))
    assert never.expected_success < policy.expected_success
