"""StateKeyObservation, FeatureObservation, PRMObservation, PRMReward: single, vector, every autoreset mode."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import (
    FeatureObservation,
    HelpBudget,
    Intervention,
    InterventionEnv,
    InterventionVectorEnv,
    PRMObservation,
    PRMReward,
    StateKeyObservation,
)
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError
from selfreg_gym.testing import ExpertActor, RandomActor
from selfreg_gym.wrappers.features import hashed_bag_of_words

MODES = ["NextStep", "SameStep", "Disabled"]


class Length:
    """p(s) = a number that follows from the text alone; keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score(self, observations: Sequence[str]) -> np.ndarray:
        self.batches.append(len(observations))
        return np.array([(sum(map(ord, text)) % 101) / 101 for text in observations])


def p(text: str) -> float:
    return float(Length().score([text])[0])


def arguments(**kwargs: Any) -> dict[str, Any]:
    expert = [Intervention(ExpertActor(), name="expert")]
    return {"task": "selfreg/Coin-v0", "actor": RandomActor(), "interventions": expert, "help_cost": 0.1, **kwargs}


def single(**kwargs: Any) -> InterventionEnv:
    return InterventionEnv(**arguments(**kwargs))


def vector(n: int, mode: str = "NextStep", **kwargs: Any) -> InterventionVectorEnv:
    return InterventionVectorEnv(n, autoreset_mode=mode, **arguments(**kwargs))


WRAPPERS = {
    "state-key": lambda env: StateKeyObservation(env, parts=("state_key", "feature_key", "steps_left")),
    "features": FeatureObservation,
    "features-prm": lambda env: FeatureObservation(HelpBudget(env, 2), prm=Length()),
    "prm-reward": lambda env: PRMReward(env, Length(), gamma=0.9),
    "prm-info": lambda env: PRMObservation(env, Length()),
    "prm-info-features": lambda env: FeatureObservation(PRMObservation(env, Length())),
    "all": lambda env: FeatureObservation(PRMObservation(PRMReward(HelpBudget(env, 1), Length()), Length())),
}


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool(np.allclose(one, other, atol=1e-12))
    return bool(one == other)


def row(batch: Any, i: int) -> Any:
    return {key: value[i] for key, value in batch.items()} if isinstance(batch, dict) else batch[i]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_vector_version_agrees_with_the_single_version(name: str, mode: str) -> None:
    n, rng = 3, np.random.default_rng(0)
    envs = WRAPPERS[name](vector(n, mode))
    singles = [WRAPPERS[name](single()) for _ in range(n)]
    observations, infos = envs.reset(seed=5)
    assert observations in envs.observation_space
    for i, env in enumerate(singles):
        observation, info = env.reset(seed=5 + i)
        assert equal(observation, row(observations, i))
        assert info.get("prm_score") == (infos["prm_score"][i] if "prm_score" in info else None)
    over = [False] * n
    for _ in range(25):
        actions = rng.integers(0, 2, size=n)
        observations, rewards, terminations, _, infos = envs.step(actions)
        assert observations in envs.observation_space
        for i, env in enumerate(singles):
            if over[i] and mode == "Disabled":
                assert rewards[i] == 0.0
                continue
            if over[i] and mode == "NextStep":
                observation, info = env.reset()
                reward, over[i] = 0.0, False
            else:
                observation, reward, over[i], _, info = env.step(int(actions[i]))
            assert reward == pytest.approx(rewards[i])
            assert over[i] == terminations[i]
            if over[i] and mode == "SameStep":
                assert equal(observation, infos["final_obs"][i])
                if "prm_score" in info:
                    assert info["prm_score"] == infos["final_info"]["prm_score"][i]
                observation, info = env.reset()
                over[i] = False
            assert equal(observation, row(observations, i))
            if "prm_score" in info:
                assert info["prm_score"] == infos["prm_score"][i]


@pytest.mark.parametrize("name", WRAPPERS)
def test_specs_record_what_the_wrapper_was_made_with(name: str) -> None:
    env = WRAPPERS[name](gym.make("selfreg/Intervention-v0", **arguments()))
    again = gym.make(env.spec)
    assert type(again) is type(env)
    assert equal(again.reset(seed=3)[0], env.reset(seed=3)[0])


# --- StateKeyObservation ----------------------------------------------------------------------------------------------


def test_missing_parts_are_empty_lines() -> None:
    env = StateKeyObservation(
        gym.wrappers.TransformObservation(single(), lambda text: text, None), parts=("steps_left", "kind", "state_key")
    )
    assert env.reset(seed=0, options={"episode": 1})[0] == "3\ncoin\ncoin-1/3"

    class Bare(gym.Wrapper):
        def reset(self, **kwargs: Any) -> Any:
            text, info = self.env.reset(**kwargs)
            return text, {key: info[key] for key in info if key not in ("feature_key", "steps_left")}

    bare = InterventionEnv(Bare(gym.make("selfreg/Coin-v0")), str, [])
    parts = ("state_key", "feature_key", "steps_left")
    assert StateKeyObservation(bare, parts).reset(seed=0, options={"episode": 1})[0] == "coin-1/3\n\n"


def test_a_finished_environment_keeps_its_last_key_and_an_unused_one_is_empty() -> None:
    envs = StateKeyObservation(vector(3, "Disabled", actor=ExpertActor()), parts=("state_key", "steps_left"))
    mask = np.array([True, True, False])
    keys, _ = envs.reset(seed=[0, 1, None], options={"reset_mask": mask, "episode": np.array([0, 1, 0])})
    assert keys == ("coin-0/2\n2", "coin-1/3\n3", "\n")
    for _ in range(3):
        keys = envs.step(np.zeros(3, dtype=int))[0]
    assert keys == ("coin-0/0\n0", "coin-1/0\n0", "\n")


def test_bad_parts() -> None:
    with pytest.raises(UnknownNameError, match=r"part of a state key: received 'state_keys'. Did you mean 'state_key'"):
        StateKeyObservation(single(), parts=("state_keys",))
    for parts in ("state_key", ()):
        with pytest.raises(InvalidArgumentError, match="non-empty sequence"):
            StateKeyObservation(vector(1), parts=parts)


# --- FeatureObservation -----------------------------------------------------------------------------------------------


def test_the_scalars_are_score_usage_budget_and_time() -> None:
    env = FeatureObservation(HelpBudget(single(actor=ExpertActor()), budget=3), prm=Length())
    observation, _ = env.reset(seed=0, options={"episode": 2})
    text = "Coin 1 of 4 lies under the cup. Call it: heads or tails?"
    np.testing.assert_allclose(observation["scalars"], [p(text), 0, 3, 1], rtol=1e-6)
    observation = env.step(1)[0]
    np.testing.assert_allclose(observation["scalars"][1:], [1, 2, 0.75])
    assert observation in env.observation_space
    assert observation["embedding"].dtype == observation["scalars"].dtype == np.float32


def test_equal_feature_keys_have_equal_embeddings_whatever_the_task() -> None:
    env = FeatureObservation(single(actor=ExpertActor()))
    env.reset(seed=0, options={"episode": 1})
    later = env.step(1)[0]["embedding"]  # two left of three
    first = env.reset(seed=1, options={"episode": 0})[0]["embedding"]  # two left of two
    np.testing.assert_array_equal(later, first)
    assert not np.array_equal(first, env.step(1)[0]["embedding"])


def test_embeddings_are_copies() -> None:
    bag = hashed_bag_of_words("a few words")
    bag[:] = 7
    assert np.linalg.norm(hashed_bag_of_words("a few words")) == pytest.approx(1.0)
    assert not hashed_bag_of_words("").any()


def test_embeddings_are_the_same_in_every_process() -> None:
    code = "from selfreg_gym.wrappers.features import hashed_bag_of_words as h; print(h('two left').tobytes().hex())"
    there = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert there == {hashed_bag_of_words("two left").tobytes().hex()}


# --- the process reward model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_shaping_is_a_potential_difference_and_adds_up_to_minus_the_first_score(gamma: float) -> None:
    env, bare = PRMReward(single(actor=ExpertActor()), Length(), gamma=gamma), single(actor=ExpertActor())
    text, _ = env.reset(seed=0, options={"episode": 2})
    bare.reset(seed=0, options={"episode": 2})
    first, total, over, t = text, 0.0, False, 0
    while not over:
        before = text
        text, reward, over, _, _ = env.step(0)
        extra = reward - bare.step(0)[1]
        assert extra == pytest.approx((0.0 if over else gamma * p(text)) - p(before))
        total += gamma**t * extra
        t += 1
    assert total == pytest.approx(-p(first))


def test_a_failed_episode_keeps_its_reward_of_zero() -> None:
    broken = arguments(actor=lambda text: 1 / 0)
    env = PRMReward(InterventionEnv(**broken), Length())
    env.reset(seed=0)
    assert env.step(0)[1] == 0.0
    for mode in MODES:
        envs = PRMReward(InterventionVectorEnv(2, autoreset_mode=mode, **broken), Length())
        envs.reset(seed=0)
        assert envs.step(np.array([0, 0]))[1].tolist() == [0.0, 0.0]


def test_shaping_follows_a_restored_snapshot() -> None:
    env = PRMReward(single(actor=ExpertActor()), Length())
    env.reset(seed=0, options={"episode": 3})
    env.step(0)
    snapshot = env.get_wrapper_attr("snapshot")()
    first = [env.step(0)[1] for _ in range(4)]
    env.get_wrapper_attr("restore")(snapshot)
    assert [env.step(0)[1] for _ in range(4)] == first


def test_the_model_is_called_once_per_step_and_not_for_final_states() -> None:
    model = Length()
    envs = PRMReward(vector(4, "Disabled", actor=ExpertActor()), model)
    envs.reset(seed=0, options={"episode": np.array([0, 0, 1, 3])})
    for _ in range(4):
        envs.step(np.zeros(4, dtype=int))
    assert model.batches == [4, 4, 2, 1, 1]
    model = Length()
    envs = PRMObservation(vector(4), model)
    envs.reset(seed=0)
    envs.step(np.zeros(4, dtype=int))
    assert model.batches == [4, 4]


@pytest.mark.parametrize("wrapper", [PRMReward, PRMObservation, FeatureObservation])
def test_an_invalid_model_raises(wrapper: Any) -> None:
    for env in (single(), vector(2)):
        with pytest.raises(InvalidArgumentError, match="must have score"):
            wrapper(env, prm=3)


def test_a_model_of_the_wrong_shape_and_a_bad_gamma() -> None:
    class Wrong:
        def score(self, observations: Sequence[str]) -> np.ndarray:
            return np.zeros((len(observations), 2))

    for wrapper in (PRMReward, PRMObservation, FeatureObservation):
        with pytest.raises(InvalidArgumentError, match=r"shape \(1,\), received \(1, 2\)"):
            wrapper(single(), prm=Wrong()).reset(seed=0)
    for gamma in (0.0, 1.1, -1.0):
        with pytest.raises(InvalidArgumentError, match="gamma"):
            PRMReward(single(), Length(), gamma=gamma)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 5.0, -0.1, "a", None])
def test_a_score_outside_0_to_1_raises(score: Any) -> None:
    class Odd:
        def score(self, observations: Sequence[str]) -> Any:
            return [score for _ in observations]

    for wrapper in (PRMReward, PRMObservation, FeatureObservation):
        with pytest.raises(InvalidArgumentError, match=r"numbers in \[0, 1\]"):
            wrapper(single(), Odd()).reset(seed=0)


def test_a_model_that_raises_is_named() -> None:
    class Odd:
        def score(self, observations: Sequence[str]) -> Any:
            raise OSError("lost")

    with pytest.raises(TaskContractError, match="Odd raised OSError: 'lost'"):
        PRMReward(single(), Odd()).reset(seed=0)
