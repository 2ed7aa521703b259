"""EncodedObservation: single and vector envs agree in every autoreset mode, and learners accept it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import EncodedObservation, HelpBudget, Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs import DecisionTable, InputEncoder
from selfreg_gym.testing import ExpertActor, RandomActor

NAMES = ["features", "steps_left", "calls_so_far", "state"]


def arguments(**kwargs: Any) -> dict[str, Any]:
    expert = [Intervention(ExpertActor(), name="expert")]
    return {"task": "selfreg/Coin-v0", "actor": RandomActor(), "interventions": expert, **kwargs}


def vector(n: int, mode: str) -> InterventionVectorEnv:
    return InterventionVectorEnv(n, autoreset_mode=mode, **arguments())


@pytest.fixture(scope="module")
def encoder() -> InputEncoder:
    env = InterventionEnv(**arguments())
    texts, infos = [], []
    for task in range(5):
        text, info = env.reset(seed=task, options={"episode": task})
        over = False
        while not over:
            texts.append(text)
            infos.append(info)
            text, _, over, _, info = env.step(1)
    return InputEncoder.fit(DecisionTable.from_infos(texts, infos), NAMES)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_the_vector_version_agrees_with_the_single_version(encoder: InputEncoder, mode: str) -> None:
    n, rng = 3, np.random.default_rng(0)
    envs = EncodedObservation(HelpBudget(vector(n, mode), 2), encoder)
    singles = [EncodedObservation(HelpBudget(InterventionEnv(**arguments()), 2), encoder) for _ in range(n)]
    observations, _ = envs.reset(seed=5)
    assert observations in envs.observation_space
    for i, env in enumerate(singles):
        observation, _ = env.reset(seed=5 + i)
        assert observation in env.observation_space
        np.testing.assert_array_equal(observation, observations[i])
    over, ends = [False] * n, 0
    for _ in range(25):
        actions = rng.integers(0, 2, size=n)
        before = observations
        observations, _, terminations, _, infos = envs.step(actions)
        assert observations in envs.observation_space
        for i, env in enumerate(singles):
            if over[i] and mode == "Disabled":
                np.testing.assert_array_equal(observations[i], before[i])
                continue
            if over[i] and mode == "NextStep":
                observation, over[i] = env.reset()[0], False
            else:
                observation, _, over[i], _, _ = env.step(int(actions[i]))
            assert over[i] == terminations[i]
            ends += over[i]
            if over[i] and mode == "SameStep":
                np.testing.assert_array_equal(observation, infos["final_obs"][i])
                observation, over[i] = env.reset()[0], False
            np.testing.assert_array_equal(observation, observations[i])
    assert ends >= n


def test_specs_record_what_the_wrapper_was_made_with(encoder: InputEncoder) -> None:
    env = EncodedObservation(gym.make("selfreg/Intervention-v0", **arguments()), encoder)
    again = gym.make(env.spec)
    np.testing.assert_array_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])


def test_an_environment_without_an_episode_is_zero(encoder: InputEncoder) -> None:
    envs = EncodedObservation(vector(3, "Disabled"), encoder)
    observations, _ = envs.reset(seed=0, options={"reset_mask": np.array([True, False, True])})
    assert not observations[1].any()
    assert observations[0].any()


def test_a_learner_of_stable_baselines3_reads_it(encoder: InputEncoder) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from selfreg_gym import to_sb3

    envs = to_sb3(EncodedObservation(vector(4, "SameStep"), encoder))
    model = sb3.PPO("MlpPolicy", envs, n_steps=8, batch_size=16, seed=0).learn(64)
    actions, _ = model.predict(envs.reset())
    assert actions.shape == (4,)


def test_wrong_arguments_are_refused(encoder: InputEncoder) -> None:
    with pytest.raises(InvalidArgumentError, match="lacks width"):
        EncodedObservation(InterventionEnv(**arguments()), object())
    with pytest.raises(InvalidArgumentError, match="wraps an intervention env"):
        EncodedObservation(gym.make("selfreg/Coin-v0"), encoder)
