"""InterventionVectorEnv: it equals N single envs; autoreset; one call per step; known errors of similar packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym import Act, Decision, Intervention, InterventionVectorEnv
from selfreg_gym.errors import InvalidArgumentError, NotResetError, UnknownNameError
from selfreg_gym.testing import ExpertActor, RandomActor

MODES = ["NextStep", "SameStep", "Disabled"]


class Counting:
    """Passes decisions on to another actor and keeps their numbers."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.batches: list[int] = []

    def act(self, decisions: Sequence[Decision]) -> Any:
        self.batches.append(len(decisions))
        return self.actor.act(decisions)

    def __deepcopy__(self, memo: dict[int, Any]) -> Counting:
        return self


class Heads:
    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return ["heads"] * len(decisions)


def arguments(**kwargs: Any) -> dict[str, Any]:
    people = [
        Intervention(ExpertActor(), name="expert"),
        Intervention(RandomActor(), name="stranger", cost=0.5),
    ]
    return {
        "task": "selfreg/Coin-v0",
        "actor": RandomActor(),
        "interventions": people,
        "help_cost": 0.1,
        "task_kwargs": {"heads": 0.7},
        **kwargs,
    }


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Compare nested dicts of arrays exactly, types included."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), (where, one.keys() ^ other.keys())
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, tuple) and any(isinstance(part, dict) for part in one):
        for part, counterpart in zip(one, other, strict=True):
            assert_same(part, counterpart, where)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        assert all(a == b for a, b in zip(one.ravel(), other.ravel(), strict=True)), where
    else:
        assert one == other, where


# --- batched equals single --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", [Heads(), RandomActor()], ids=["scripted", "sampling"])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@settings(max_examples=15, deadline=None)
@given(num_envs=st.integers(1, 5), seed=st.integers(0, 10**6), choices=st.integers(0, 10**6))
def test_batched_stepping_is_gymnasiums_sync_vector_env_of_single_envs(
    actor: Any, mode: str, num_envs: int, seed: int, choices: int
) -> None:
    kwargs = arguments(actor=actor)
    batched = gym.make_vec("selfreg/Intervention-v0", num_envs=num_envs, autoreset_mode=mode, **kwargs)
    single = gym.make_vec(
        "selfreg/Intervention-v0",
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **kwargs,
    )
    assert_same(batched.reset(seed=seed), single.reset(seed=seed))
    rng = np.random.default_rng(choices)
    for _ in range(12):
        chosen = rng.integers(0, 3, size=num_envs)
        for a, b in zip(batched.step(chosen), single.step(chosen), strict=True):
            assert_same(a, b)


@pytest.mark.parametrize("seed", range(3))
def test_in_disabled_mode_the_episodes_are_those_of_single_envs(seed: int) -> None:
    kwargs = arguments()
    rng = np.random.default_rng(seed)
    batched = InterventionVectorEnv(4, autoreset_mode="Disabled", **kwargs)
    singles = [gym.make("selfreg/Intervention-v0", **kwargs) for _ in range(4)]
    batched.reset(seed=[seed, 7, 8, 9], options={"episode": np.array([0, 1, 2, 3])})
    for i, env in enumerate(singles):
        env.reset(seed=[seed, 7, 8, 9][i], options={"episode": i})
    running = np.ones(4, dtype=bool)
    while running.any():
        actions = rng.integers(0, 3, size=4)
        texts, rewards, terminations, _, infos = batched.step(actions)
        for i in np.flatnonzero(running):
            text, reward, terminated, _, info = singles[i].step(int(actions[i]))
            assert (text, reward, terminated) == (texts[i], rewards[i], terminations[i])
            assert info["usage"].tolist() == infos["usage"][i].tolist()
        running &= ~terminations


# --- who is called ----------------------------------------------------------------------------------------------------


def test_one_call_per_step_for_the_actor_and_one_per_intervention() -> None:
    actor, first, second = Counting(ExpertActor()), Counting(ExpertActor()), Counting(ExpertActor())
    people = [Intervention(first, name="first"), Intervention(second, name="second")]
    env = InterventionVectorEnv(6, **arguments(actor=actor, interventions=people))
    env.reset(seed=0, options={"episode": 3})
    env.step(np.array([0, 1, 0, 2, 1, 0]))
    env.step(np.array([0, 0, 0, 0, 0, 0]))
    env.step(np.array([2, 2, 2, 2, 2, 2]))
    assert (actor.batches, first.batches, second.batches) == ([3, 6], [2], [1, 6])


def test_help_in_one_environment_leaves_the_others_to_the_actor() -> None:
    # Seen elsewhere: one env of a batch asks for help, and every env executes the helper's action.
    env = InterventionVectorEnv(3, **arguments(actor=lambda text: "neither"))
    env.reset(seed=0, options={"episode": 2})
    _, rewards, terminations, _, infos = env.step(np.array([0, 1, 0]))
    assert infos["intervention"].tolist() == [None, "expert", None]
    assert infos["action_text"][0] == infos["action_text"][2] == "neither"
    assert terminations.tolist() == [True, False, True]
    assert infos["usage"].tolist() == [[0, 0], [1, 0], [0, 0]]
    assert rewards.tolist() == [0.0, -0.1, 0.0]


@pytest.mark.parametrize("helped", [[0], [1], [0, 1], [0, 1, 2], []])
def test_help_is_charged_for_any_number_of_environments(helped: list[int]) -> None:
    # Seen elsewhere: the cost is skipped when exactly one env of a batch switches.
    env = InterventionVectorEnv(3, **arguments(actor=ExpertActor()))
    env.reset(seed=0, options={"episode": 3})
    actions = np.array([1 if i in helped else 0 for i in range(3)])
    _, rewards, _, _, infos = env.step(actions)
    assert rewards.tolist() == [-0.1 if i in helped else 0.0 for i in range(3)]
    assert infos["cost"].tolist() == actions.tolist()


# --- autoreset --------------------------------------------------------------------------------------------------------


def test_next_step_a_reset_calls_no_actor_and_costs_nothing() -> None:
    actor, helper = Counting(ExpertActor()), Counting(ExpertActor())
    env = InterventionVectorEnv(2, **arguments(actor=actor, interventions=[Intervention(helper, name="x")]))
    env.reset(seed=0, options={"episode": np.array([0, 3])})
    env.step(np.array([1, 0]))
    _, rewards, terminations, _, infos = env.step(np.array([1, 0]))
    assert terminations.tolist() == [True, False]
    assert infos["metrics"]["coins"][0] == 2.0
    actor.batches.clear()
    helper.batches.clear()
    _, rewards, terminations, truncations, infos = env.step(np.array([1, 1]))
    assert (actor.batches, helper.batches) == ([], [1])  # row 1 alone
    assert (rewards[0], terminations[0], truncations[0], infos["cost"][0], infos["step"][0]) == (
        0.0,
        False,
        False,
        0.0,
        0,
    )
    assert infos["usage"][0].tolist() == [0.0]
    assert infos["intervention"][0] is None


def test_same_step_the_end_is_in_final_obs_and_final_info() -> None:
    env = InterventionVectorEnv(2, autoreset_mode=AutoresetMode.SAME_STEP, **arguments())
    env.reset(seed=0, options={"episode": np.array([0, 3])})
    env.step(np.array([1, 1]))
    texts, rewards, terminations, _, infos = env.step(np.array([1, 1]))
    assert terminations.tolist() == [True, False]
    assert rewards.tolist() == [0.9, -0.1]
    assert infos["final_obs"].tolist() == ["The game is over.", None]
    assert infos["_final_info"].tolist() == [True, False]
    assert infos["final_info"]["usage"][0].tolist() == [2.0, 0.0]
    assert texts[0].startswith("Coin 1 of")
    assert infos["usage"][0].tolist() == [0.0, 0.0]


def test_disabled_a_finished_environment_stays_finished_until_reset() -> None:
    actor = Counting(ExpertActor())
    env = InterventionVectorEnv(2, autoreset_mode="DISABLED", **arguments(actor=actor))
    env.reset(seed=0, options={"episode": np.array([0, 3])})
    for _ in range(2):
        texts, rewards, terminations, _, _ = env.step(np.array([0, 0]))
    assert (terminations.tolist(), rewards.tolist()) == ([True, False], [1.0, 0.0])
    actor.batches.clear()
    after, rewards, terminations, _, infos = env.step(np.array([77, 0]))  # an idle row may carry any action
    assert actor.batches == [1]
    assert (terminations.tolist(), rewards.tolist(), after[0]) == ([True, False], [0.0, 0.0], texts[0])
    assert not any(infos[key][0] for key in infos if key.startswith("_"))
    texts, infos = env.reset(seed=[5, None], options={"reset_mask": np.array([True, False]), "episode": 1})
    assert (texts[0], texts[1]) == ("Coin 1 of 3 lies under the cup. Call it: heads or tails?", after[1])
    assert infos["_task_id"].tolist() == [True, False]
    assert env.slots[1].t == 3
    assert env.step(np.array([0, 0]))[2].tolist() == [False, False]


@pytest.mark.parametrize("mode", MODES)
def test_environments_outside_the_first_reset_mask_have_no_past(mode: str) -> None:
    env = InterventionVectorEnv(2, autoreset_mode=mode, **arguments(actor=ExpertActor()))
    env.reset(seed=0, options={"reset_mask": np.array([False, True]), "episode": 3})
    _, rewards, terminations, truncations, infos = env.step(np.array([1, 0]))
    assert rewards.tolist() == [0.0, 0.0]
    assert not (terminations | truncations).any()
    assert "final_info" not in infos
    assert bool(infos["_task_id"][0]) is (mode != "Disabled")


# --- failures ---------------------------------------------------------------------------------------------------------


class Picky:
    """Fails whenever one certain text is among the decisions, and draws from every stream before."""

    def act(self, decisions: Sequence[Decision]) -> list[str | Act]:
        drawn = [("heads", "tails")[int(decision.rng.random() < 0.5)] for decision in decisions]
        if any("of 5" in decision.observation for decision in decisions):
            raise ValueError("cannot read 5")
        return list(drawn)


def test_one_bad_decision_ends_one_episode_and_changes_no_other() -> None:
    env = InterventionVectorEnv(4, **arguments(actor=Picky()))
    env.reset(seed=3, options={"episode": np.array([0, 3, 1, 2])})
    _, rewards, _, truncations, infos = env.step(np.zeros(4, dtype=int))
    assert truncations.tolist() == [False, True, False, False]
    rule = "the actor: an actor must answer every decision; Picky.act raised"
    assert infos["error"].tolist() == [None, f"{rule} ValueError: cannot read 5", None, None]
    assert rewards[1] == 0.0
    for i, episode in ((0, 0), (2, 1), (3, 2)):
        single = gym.make("selfreg/Intervention-v0", **arguments(actor=Picky()))
        single.reset(seed=3 + i, options={"episode": episode})
        assert single.step(0)[4]["action_text"] == infos["action_text"][i]


# --- clear errors -----------------------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    with pytest.raises(InvalidArgumentError, match="num_envs"):
        InterventionVectorEnv(0, **arguments())
    with pytest.raises(InvalidArgumentError, match="needs its own task"):
        InterventionVectorEnv(2, **arguments(task=gym.make("selfreg/Coin-v0"), task_kwargs=None))
    with pytest.raises(UnknownNameError, match=r"autoreset mode: received 'NextStp'. Did you mean 'NextStep'"):
        InterventionVectorEnv(2, autoreset_mode="NextStp", **arguments())
    env = InterventionVectorEnv(2, **arguments())
    with pytest.raises(NotResetError):
        env.step(np.zeros(2, dtype=int))
    for options in (
        {"reset_mask": np.array([True])},
        {"reset_mask": np.array([1, 0])},
        {"reset_mask": np.array([False, False])},
        {"episode": np.array([1, 2, 3])},
        {"episode": np.array([0.5, 1.0])},
    ):
        with pytest.raises(InvalidArgumentError, match="options"):
            env.reset(options=options)
    for seed in ([1], [1, -1], -3, [1, "a"]):
        with pytest.raises(InvalidArgumentError, match="seed"):
            env.reset(seed=seed)  # type: ignore[arg-type]
    env.reset(seed=0)
    for actions in (np.zeros(3, dtype=int), np.zeros(2), [0, None], 0):
        with pytest.raises(InvalidArgumentError, match="2 integers, one per environment"):
            env.step(actions)
    with pytest.raises(InvalidArgumentError, match="from 0 to 2"):
        env.step(np.array([0, 3]))
    assert [row.t for row in env.slots] == [0, 0]


def test_make_vec_gives_the_batched_env_with_its_metadata() -> None:
    envs = gym.make_vec("selfreg/Intervention-v0", num_envs=3, **arguments())
    assert type(envs.unwrapped) is InterventionVectorEnv
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    texts, _ = envs.reset(seed=0)
    assert texts in envs.observation_space
    assert envs.action_space.sample() in envs.action_space
    assert envs.single_action_space == gym.spaces.Discrete(3)
    envs.close()


def test_resets_without_a_seed_use_one_stream_per_environment() -> None:
    env = InterventionVectorEnv(2, **arguments())
    runs = []
    for _ in range(2):
        env.reset(seed=4)
        runs.append(env.reset()[1]["task_seed"].tolist())
    single = gym.make("selfreg/Intervention-v0", **arguments())
    expected = []
    for seed in (4, 5):
        single.reset(seed=seed)
        expected.append(single.reset()[1]["task_seed"])
    assert runs == [expected, expected]


def test_snapshot_and_restore_every_environment() -> None:
    env = InterventionVectorEnv(3, autoreset_mode="Disabled", **arguments())
    env.reset(seed=0, options={"episode": 3})
    env.step(np.array([1, 0, 2]))
    snapshot = env.snapshot()
    first = env.step(np.array([0, 1, 1]))
    env.restore(snapshot)
    for a, b in zip(first, env.step(np.array([0, 1, 1])), strict=True):
        assert_same(a, b)
