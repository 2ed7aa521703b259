"""HelpCost and HelpBudget, on single and vector envs, in every autoreset mode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from selfreg_gym import (
    Act,
    FeatureObservation,
    HelpBudget,
    HelpCost,
    Intervention,
    InterventionEnv,
    InterventionVectorEnv,
    StateKeyObservation,
    to_sb3,
)
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.testing import ExpertActor, RandomActor

MODES = ["NextStep", "SameStep", "Disabled"]


def arguments(**kwargs: Any) -> dict[str, Any]:
    people = [Intervention(ExpertActor(), name="expert"), Intervention(ExpertActor(), name="friend", cost=0.5)]
    return {"task": "selfreg/Coin-v0", "actor": ExpertActor(), "interventions": people, "help_cost": 0.1, **kwargs}


def single(**kwargs: Any) -> InterventionEnv:
    return InterventionEnv(**arguments(**kwargs))


def vector(n: int, mode: str = "NextStep", **kwargs: Any) -> InterventionVectorEnv:
    return InterventionVectorEnv(n, autoreset_mode=mode, **arguments(**kwargs))


# --- HelpCost ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [0.0, 0.1, 0.37])
def test_help_cost_equals_an_env_with_that_cost(new: float) -> None:
    changed, made = HelpCost(single(), help_cost=new), single(help_cost=new)
    for env in (changed, made):
        env.reset(seed=0, options={"episode": 3})
    for action in (1, 0, 2, 0, 1):
        assert changed.step(action)[1] == pytest.approx(made.step(action)[1])


@pytest.mark.parametrize("mode", MODES)
def test_help_cost_of_a_vector_env(mode: str) -> None:
    changed, made = HelpCost(vector(3, mode), help_cost=0.37), vector(3, mode, help_cost=0.37)
    rng = np.random.default_rng(0)
    for env in (changed, made):
        env.reset(seed=0, options={"episode": np.array([0, 1, 3])})
    for _ in range(12):
        actions = rng.integers(0, 3, size=3)
        np.testing.assert_allclose(changed.step(actions)[1], made.step(actions)[1])


def test_the_outermost_of_several_help_costs_counts() -> None:
    env = HelpCost(HelpBudget(HelpCost(single(), help_cost=0.9), budget=9), help_cost=0.2)
    env.reset(seed=0, options={"episode": 3})
    assert env.step(1)[1] == pytest.approx(-0.2)
    assert env.get_wrapper_attr("help_cost") == 0.2
    envs = HelpCost(HelpBudget(HelpCost(vector(1), help_cost=0.9), budget=9), help_cost=0.2)
    envs.reset(seed=0, options={"episode": 3})
    assert envs.step(np.array([1]))[1] == pytest.approx([-0.2])
    assert envs.get_wrapper_attr("help_cost") == 0.2
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        envs.get_wrapper_attr("nothing")


def test_a_failed_call_stays_free() -> None:
    env = HelpCost(single(interventions=[Intervention(lambda text: 1 / 0, name="broken")]), help_cost=0.5)
    env.reset(seed=0)
    assert env.step(1)[1] == 0.0


@pytest.mark.parametrize("bad", [-1.0, float("nan"), "x"])
def test_an_invalid_help_cost_raises(bad: Any) -> None:
    for env in (single(), vector(2)):
        with pytest.raises(InvalidArgumentError, match="help_cost"):
            HelpCost(env, bad)


# --- HelpBudget -------------------------------------------------------------------------------------------------------


def test_a_call_beyond_the_budget_is_executed_as_nohelp() -> None:
    env = HelpBudget(single(), budget=1.5)
    _, info = env.reset(seed=0, options={"episode": 3})
    assert (info["budget_left"], info["denied"]) == (1.5, False)
    shown = []
    for action in (1, 1, 2, 2, 0):
        left = info["budget_left"]
        assert env.action_masks().tolist() == [True, left >= 1, left >= 0.5]
        info = env.step(action)[4]
        shown.append((info["intervention"], info["denied"], info["budget_left"]))
    assert shown == [
        ("expert", False, 0.5),
        (None, True, 0.5),
        ("friend", False, 0.0),
        (None, True, 0.0),
        (None, False, 0.0),
    ]
    assert info["usage"].sum() == 1.5


def test_each_episode_has_its_own_budget() -> None:
    env = HelpBudget(single(), budget=1)
    for _ in range(3):
        env.reset(options={"episode": 0})
        assert env.step(1)[4]["denied"] is False
        assert env.step(1)[4]["denied"] is True


@pytest.mark.parametrize("mode", MODES)
def test_each_environment_of_a_vector_env_has_its_own_budget(mode: str) -> None:
    envs = HelpBudget(vector(4, mode), budget=1.5)
    rng = np.random.default_rng(1)
    _, infos = envs.reset(seed=0, options={"episode": np.array([0, 1, 2, 3])})
    assert infos["budget_left"].tolist() == [1.5] * 4
    ends = 0
    for _ in range(40):
        masks = envs.action_masks()
        actions = rng.integers(0, 3, size=4)
        running = np.array([not row.over for row in envs.unwrapped.slots])
        expected = running & ~masks[np.arange(4), actions]
        _, _, terminations, _, infos = envs.step(actions)
        for i in range(4):
            if mode == "SameStep" and terminations[i]:
                ends += 1
                assert infos["final_info"]["denied"][i] == expected[i]
                assert infos["final_info"]["usage"][i].sum() <= 1.5
                assert infos["final_info"]["budget_left"][i] == 1.5 - infos["final_info"]["usage"][i].sum()
                assert (infos["budget_left"][i], infos["denied"][i]) == (1.5, False)
            elif "_denied" in infos and infos["_denied"][i]:
                assert infos["denied"][i] == expected[i]
                assert infos["usage"][i].sum() <= 1.5
                assert infos["budget_left"][i] == 1.5 - infos["usage"][i].sum()
        assert (envs.action_masks()[:, 0]).all()
    assert ends > 0 or mode != "SameStep"


def test_single_and_vector_budgets_agree() -> None:
    env, envs = (
        HelpBudget(single(actor=RandomActor()), 1.0),
        HelpBudget(vector(1, "Disabled", actor=RandomActor()), 1.0),
    )
    for seed in range(10):
        env.reset(seed=seed, options={"episode": 3})
        envs.reset(seed=[seed], options={"episode": 3})
        over = False
        while not over:
            _, reward, over, _, info = env.step(1)
            _, rewards, _, _, infos = envs.step(np.array([1]))
            assert (reward, info["denied"], info["budget_left"]) == (
                rewards[0],
                infos["denied"][0],
                infos["budget_left"][0],
            )


def test_ten_calls_of_a_tenth_fit_into_one() -> None:
    cheap = Intervention(ExpertActor(), name="cheap", cost=0.1)
    env = HelpBudget(single(interventions=[cheap]), budget=0.5)
    env.reset(seed=0, options={"episode": 3})
    assert [env.step(1)[4]["denied"] for _ in range(5)] == [False] * 5


def test_a_call_that_costs_more_than_expected_exceeds_the_budget_once() -> None:
    class Expensive:
        def act(self, decisions: Any) -> list[Act]:
            return [Act(decision.task.get_wrapper_attr("expert_action")(), cost=3.0) for decision in decisions]

    env = HelpBudget(single(interventions=[Intervention(Expensive(), name="expensive", cost=1.0)]), budget=2)
    env.reset(seed=0, options={"episode": 3})
    info = env.step(1)[4]
    assert (info["usage"].tolist(), info["budget_left"]) == ([3.0], 0.0)
    assert env.step(1)[4]["denied"] is True


def test_a_restored_snapshot_restores_the_budget() -> None:
    env = HelpBudget(single(), budget=1)
    env.reset(seed=0, options={"episode": 3})
    snapshot = env.get_wrapper_attr("snapshot")()
    env.step(1)
    assert env.action_masks().tolist() == [True, False, False]
    env.get_wrapper_attr("restore")(snapshot)
    assert env.action_masks().tolist() == [True, True, True]
    assert env.step(1)[4]["denied"] is False


def test_invalid_actions_raise() -> None:
    env = HelpBudget(single(), budget=0)
    env.reset(seed=0)
    for action in (3, -1, "1", None):
        with pytest.raises(InvalidArgumentError, match="integer from 0 to 2"):
            env.step(action)
    envs = HelpBudget(vector(2), budget=0)
    envs.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="from 0 to 2"):
        envs.step(np.array([0, 3]))


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "x", None])
def test_an_invalid_budget_raises(bad: Any) -> None:
    for env in (single(), vector(2)):
        with pytest.raises(InvalidArgumentError, match="budget"):
            HelpBudget(env, bad)


@pytest.mark.parametrize("batched", [False, True])
def test_maskable_ppo_never_chooses_a_denied_call(batched: bool) -> None:
    sb3_contrib = pytest.importorskip("sb3_contrib")
    denied: list[bool] = []

    class Spy(HelpBudget if not batched else HelpBudget.vector):  # type: ignore[misc]
        def _add_budget(self, info: dict[str, Any], refused: Any) -> dict[str, Any]:
            denied.extend(np.atleast_1d(refused).tolist())
            return super()._add_budget(info, refused)

    env = FeatureObservation(Spy(vector(2, "SameStep") if batched else single(), budget=1))
    model = sb3_contrib.MaskablePPO(
        "MultiInputPolicy", to_sb3(env) if batched else env, n_steps=32, batch_size=32, seed=0
    )
    model.learn(64)
    assert len(denied) >= 64
    assert not any(denied)


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", [lambda env: HelpCost(env, 0.3), lambda env: HelpBudget(env, 1.5)])
def test_gymnasiums_checker_and_the_spec(wrapper: Any) -> None:
    env = wrapper(gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor="human", interventions=["human"]))
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert type(again) is type(env)
    live = wrapper(single())
    live.reset(seed=0)
    assert live.observation_space == single().observation_space
    check_env(live.unwrapped, skip_render_check=True)


def test_one_name_serves_single_and_vector() -> None:
    assert isinstance(HelpCost(single(), 0.1), gym.Wrapper)
    assert isinstance(HelpCost(vector(2), 0.1), gym.vector.VectorWrapper)
    assert isinstance(StateKeyObservation(HelpBudget(vector(2), 1)), gym.vector.VectorWrapper)
