"""FrozenLake: the contract of a task, and the exact model compared with episodes of the env."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import selfreg_gym  # noqa: F401 - registers the ids
from selfreg_gym import registry
from selfreg_gym.collection import collect
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.solver import evaluate_policy, solve, solve_budget, solve_frontier
from selfreg_gym.testing import check_task
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Decision
from selfreg_gym.wrappers import HelpBudget

DP = registry.load("helpers", "dp")


class NoisyExpert:
    """The actor of ``intervention_model``: the expert's move, or with probability ``noise`` any of the four."""

    def __init__(self, noise: float = 0.5) -> None:
        self.noise = noise

    def act(self, decisions: list[Decision]) -> list[str]:
        return [self._act(decision) for decision in decisions]

    def _act(self, decision: Decision) -> str:
        if decision.rng.random() < self.noise:
            return str(decision.rng.choice(decision.admissible_actions))
        return decision.task.get_wrapper_attr("expert_action")()


@pytest.fixture(scope="module")
def lake() -> gym.Env:
    return gym.make("selfreg/FrozenLake-v0", max_steps=30, clock=False)


@pytest.fixture(scope="module")
def played() -> InterventionVectorEnv:
    return InterventionVectorEnv(
        32, task="selfreg/FrozenLake-v0", actor=NoisyExpert(), interventions=["expert"],
        task_kwargs={"max_steps": 30, "clock": False}, autoreset_mode="Disabled",
    )  # fmt: skip


def test_contract_of_a_task_and_of_gymnasium():
    check_task("selfreg/FrozenLake-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("selfreg/FrozenLake-v0").unwrapped)


def test_the_observation_describes_the_map_and_the_neighbouring_cells(lake):
    observation, info = lake.reset(seed=0, options={"episode": 0})
    assert "@FFF\nFHFH\nFFFH\nHFFG" in observation
    assert "row 1, column 1, with the edge to the left, ice below, ice to the right, the edge above" in observation
    assert "30 moves are left" in observation
    assert info["state_key"] == "lake-0/0"
    assert "lake" not in info["feature_key"]


def test_moves_slip_with_gymnasiums_probabilities(lake):
    counts = np.zeros(16)
    for seed in range(3000):
        lake.reset(seed=seed, options={"episode": 0})
        *_, info = lake.step("right")
        counts[int(info["state_key"].rpartition("/")[2])] += 1
    np.testing.assert_allclose(counts[[0, 1, 4]] / 3000, 1 / 3, atol=0.035)
    dry = gym.make("selfreg/FrozenLake-v0", slippery=False)
    dry.reset(seed=0, options={"episode": 0})
    for move in ("down", "down", "right", "right", "down"):
        _, reward, terminated, *_ = dry.step(move)
        assert (reward, terminated) == (0.0, False)
    observation, reward, terminated, truncated, info = dry.step("right")
    assert (reward, terminated, truncated, info["success"], info["steps_left"]) == (1.0, True, False, True, 0)
    assert observation.endswith("You are at the goal.")


def test_an_episode_ends_in_a_hole_at_the_limit_or_by_an_invalid_action(lake):
    dry = gym.make("selfreg/FrozenLake-v0", slippery=False, max_steps=2)
    dry.reset(seed=0, options={"episode": 0})
    dry.step("right")
    observation, reward, terminated, truncated, info = dry.step("down")
    assert (reward, terminated, truncated, info["success"]) == (0.0, True, False, False)
    assert observation.endswith("You fell into a hole.")
    dry.reset(seed=0, options={"episode": 0})
    dry.step("left")
    _, reward, terminated, truncated, info = dry.step("left")
    assert (reward, terminated, truncated, info["success"], info["steps_left"]) == (0.0, False, True, False, 0)
    lake.reset(seed=0, options={"episode": 0})
    _, _, terminated, _, info = lake.step("swim")
    assert terminated
    assert info["invalid_action"]


def test_the_expert_is_optimal_without_a_clock():
    """Gymnasium's 4x4 lake is won with probability 14/17 when there is no limit on moves."""
    task = gym.make("selfreg/FrozenLake-v0", max_steps=3000, clock=False).unwrapped
    model = task.intervention_model([0], noise=1.0)
    always = evaluate_policy(model, np.ones(model.n, int))
    assert always.expected_success == pytest.approx(14 / 17, abs=1e-6)
    assert evaluate_policy(model, np.zeros(model.n, int)).expected_success < 0.02


def test_the_exact_mixture_has_its_expected_success_and_usage_in_the_env(lake, played):
    model = lake.unwrapped.intervention_model([0, 3], noise=0.5)
    flat = model.flat()
    for budget in (1.0, 6.0):
        policy = solve_budget(model, budget=budget)
        assert policy.expected_success == pytest.approx(solve_budget(flat, budget=budget).expected_success, abs=1e-12)
        specs = [EpisodeSpec((0, 3)[i % 2], 10_000 + i) for i in range(1500)]
        episodes = list(run_episodes(played, specs, DP(policy), record_steps=False))
        cost = np.array([episode.cost for episode in episodes])
        won = np.array([float(episode.success) for episode in episodes])
        assert abs(cost.mean() - policy.expected_usage) < 4 * cost.std() / np.sqrt(len(cost))
        assert abs(won.mean() - policy.expected_success) < 4 * won.std() / np.sqrt(len(won))


def test_the_capped_policy_has_its_expected_success_and_usage_in_the_env(lake):
    """Under HelpBudget no call is denied, because the policy respects the cap by itself."""
    model = lake.unwrapped.intervention_model([0], noise=0.5)
    capped = solve_budget(model, hard_cap=3)
    env = gym.make(
        "selfreg/Intervention-v0", task="selfreg/FrozenLake-v0", actor=NoisyExpert(), interventions=["expert"],
        task_kwargs={"max_steps": 30, "clock": False},
    )  # fmt: skip
    env = HelpBudget(env, budget=3)
    cost, won = np.zeros(600), np.zeros(600)
    for i in range(600):
        _, info = env.reset(seed=20_000 + i, options={"episode": 0})
        over = False
        while not over:
            index = model.locate(info["state_key"], None, info["steps_left"])
            _, _, terminated, truncated, info = env.step(capped.action(index, int(info["budget_left"])))
            over = terminated or truncated
            assert not info["denied"]
        cost[i], won[i] = info["usage"].sum(), info["success"]
    for measured, expected in ((cost, capped.expected_usage[3]), (won, capped.expected_success[3])):
        assert abs(measured.mean() - expected) < 4 * measured.std() / np.sqrt(len(measured))
    assert cost.max() <= 3


def test_collection_fit_and_frontier_converge_to_the_exact_frontier(lake, played, tmp_path):
    """Collection, fit and frontier together."""
    exact_model = lake.unwrapped.intervention_model([0], noise=0.5)
    exact = solve_frontier(exact_model, gap=1e-4)
    budgets = np.linspace(0.05, 0.9, 8) * exact.usage[-1]
    errors, regrets = [], []
    with collect(played, store=tmp_path / "all.sqlite", tasks=[0], episodes=3300, seed=1, progress=False) as rollouts:
        episodes = list(rollouts.episodes())
    for count in (110, 660, 3300):
        model = TransitionModel.fit(episodes[:count])
        frontier = solve_frontier(model)
        errors.append(np.abs(frontier.success_at(budgets) - exact.success_at(budgets)).max())
        policy = frontier.policy(4.0)
        true = success = 0.0
        for weight, part in zip(policy.weights, policy.policies, strict=True):
            own = [part.action(model.locate(f"lake-0/{i % 16}", None, i // 16 + 1)) for i in range(exact_model.n)]
            value = evaluate_policy(exact_model, own)
            success += weight * value.expected_success
            true += weight * value.expected_usage
        regrets.append(exact.success_at(true) - success)
    assert errors[2] < 0.02
    assert errors[2] < errors[0] / 2
    assert -1e-4 <= regrets[2] < 0.01


def test_help_is_asked_for_at_some_cells_at_a_low_help_cost_and_never_at_a_high_one(lake):
    model = lake.unwrapped.intervention_model([0], noise=0.5)
    solution = solve(model, help_cost=0.03)
    asked = solution.policy.reshape(30, 16)[-1]
    assert 0 < asked.sum() < 11
    assert not solve(model, help_cost=1.1).policy.any()


def test_the_expert_walks_to_the_goal_on_ice_without_slips():
    env = gym.make("selfreg/FrozenLake-v0", slippery=False)
    for episode in range(12):
        env.reset(seed=0, options={"episode": episode})
        steps, over, info = 0, False, {}
        while not over:
            _, _, over, _, info = env.step(env.unwrapped.expert_action())
            steps += 1
        assert info["success"]
        assert steps <= 9


def test_invalid_arguments_raise(lake):
    with pytest.raises(InvalidArgumentError, match="max_steps must be an integer of at least 1"):
        gym.make("selfreg/FrozenLake-v0", max_steps=0)
    with pytest.raises(UnknownNameError, match="Did you mean 'ansi'"):
        type(lake.unwrapped)(render_mode="ansii")
    with pytest.raises(InvalidArgumentError, match=r"from 0 to 99, .*received 100"):
        lake.reset(options={"episode": 100})
    with pytest.raises(InvalidArgumentError, match="noise must be in"):
        lake.unwrapped.intervention_model([0], noise=2)
