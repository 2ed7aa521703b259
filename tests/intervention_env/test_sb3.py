"""The Stable-Baselines3 adapter of the vector env."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import Act, FeatureObservation, Intervention, InterventionEnv, InterventionVectorEnv, to_sb3
from selfreg_gym.errors import FailedEpisodesError, InvalidArgumentError
from selfreg_gym.testing import ExpertActor, RandomActor


def arguments(**kwargs: Any) -> dict[str, Any]:
    people = [
        Intervention(ExpertActor(), name="expert"),
        Intervention(RandomActor(), name="stranger", cost=0.5),
    ]
    parts = {"task": "selfreg/Coin-v0", "actor": RandomActor(), "interventions": people, "help_cost": 0.1}
    return {**parts, "task_kwargs": {"heads": 0.7}, **kwargs}


def test_to_sb3_reports_the_end_of_an_episode_as_sb3_expects() -> None:
    from stable_baselines3.common.vec_env import VecEnv

    env = InterventionVectorEnv(2, autoreset_mode="SameStep", **arguments())
    sb3 = to_sb3(FeatureObservation(env))
    assert isinstance(sb3, VecEnv)
    sb3.seed(3)
    sb3.set_options({"episode": 0})
    observations = sb3.reset()
    assert observations["embedding"].shape == (2, 64)
    assert [info["task_seed"] for info in sb3.reset_infos] == [3, 4]
    sb3.step(np.array([1, 1]))
    observations, rewards, dones, infos = sb3.step(np.array([1, 1]))
    assert (rewards.dtype, rewards.tolist(), dones.tolist()) == (np.float32, [np.float32(0.9)] * 2, [True, True])
    assert infos[0]["success"] is np.True_ or infos[0]["success"] is True
    assert infos[0]["terminal_observation"]["scalars"].tolist()[1] == 2.0
    assert observations["scalars"][0, 1] == 0.0
    assert infos[0]["TimeLimit.truncated"] is False
    assert sb3.env_is_wrapped(gym.Wrapper) == [False, False]
    assert sb3.get_attr("num_envs", [1]) == [2]
    sb3.close()


def test_to_sb3_needs_same_step() -> None:
    with pytest.raises(InvalidArgumentError, match="autoreset_mode='SameStep'"):
        to_sb3(InterventionVectorEnv(2, **arguments()))


def test_ppo_trains_on_it() -> None:
    from stable_baselines3 import PPO

    env = InterventionVectorEnv(4, autoreset_mode="SameStep", **arguments(help_cost=0.02, task_kwargs={"heads": 0.5}))
    model = PPO("MultiInputPolicy", to_sb3(FeatureObservation(env)), n_steps=64, batch_size=64, seed=0)
    model.learn(512)
    assert model.num_timesteps >= 512
    action, _ = model.predict(model.env.reset(), deterministic=True)
    assert action.shape == (4,)


def test_sb3s_checker_passes_with_features_and_no_warning() -> None:
    import warnings

    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(FeatureObservation(gym.make("selfreg/Intervention-v0", **arguments())))


class Flaky:
    """Fails at the given calls."""

    def __init__(self, failing: range) -> None:
        self.calls, self.failing = 0, failing

    def act(self, decisions):
        self.calls += 1
        if self.calls in self.failing:
            return [Act("", error="the server is down") for _ in decisions]
        return ["heads" for _ in decisions]

    def __deepcopy__(self, memo):
        return self


def flaky(failing: range, retries: int = 2):
    env = InterventionVectorEnv(
        1, "selfreg/Coin-v0", Flaky(failing), ["expert"], task_kwargs={"heads": 0.999}, autoreset_mode="SameStep"
    )  # fmt: skip
    return to_sb3(FeatureObservation(env), retries=retries)


def test_a_failed_call_is_repeated_before_the_step() -> None:
    seen = []
    for failing in (range(0), range(2, 4)):
        sb3 = flaky(failing)
        sb3.seed(0)
        sb3.reset()
        seen.append([sb3.step(np.array([0])) for _ in range(6)])
    for (_, reward, done, infos), (_, reward_b, done_b, infos_b) in zip(*seen, strict=True):
        assert (reward, done) == (reward_b, done_b)
        assert infos[0]["error"] is infos_b[0]["error"] is None
        assert not infos_b[0].get("TimeLimit.truncated", False)


@pytest.mark.parametrize(("failing", "retries"), [(range(2, 100), 2), (range(2, 3), 0)])
def test_repeated_failures_stop_the_training(failing: range, retries: int) -> None:
    sb3 = flaky(failing, retries)
    sb3.reset()
    sb3.step(np.array([0]))
    with pytest.raises(FailedEpisodesError, match="the server is down"):
        sb3.step(np.array([0]))


def test_text_and_single_envs_raise() -> None:
    with pytest.raises(InvalidArgumentError, match=r"to_sb3\(FeatureObservation\(env\)\)"):
        to_sb3(InterventionVectorEnv(2, **arguments(), autoreset_mode="SameStep"))
    with pytest.raises(InvalidArgumentError, match="takes a vector env"):
        to_sb3(InterventionEnv(**arguments()))
