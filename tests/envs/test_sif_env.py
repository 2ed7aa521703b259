"""The Gymnasium env: contract, determinism, snapshots, invalid actions, limits, errors."""

from __future__ import annotations

import copy
import pickle
import random
import time
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import selfreg_gym
from selfreg_gym.envs.sif import ENTRY, IDS, SIF
from selfreg_gym.envs.sif.episodes import KINDS, SPLITS
from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError, UnknownNameError


def play(env, choose, *, seed, episode, limit=60):
    """Play one episode; return all results of ``reset`` and ``step``."""
    results = [env.reset(seed=seed, options={"episode": episode})]
    for _ in range(limit):
        results.append(env.step(choose(results[-1][-1]["admissible_actions"])))
        if results[-1][2]:
            break
    return results


def test_registered_under_its_id():
    assert (IDS, ENTRY) == (("selfreg/SIF-v0",), "SIF")
    assert selfreg_gym is not None
    env = gym.make("selfreg/SIF-v0", kind="s_hum", split="val-unseen")
    assert isinstance(env.unwrapped, SIF)
    _, info = env.reset(seed=0, options={"episode": 3})
    assert info["task_id"] == "val-unseen/s_hum/3"


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_gymnasiums_checker_has_no_warning(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("selfreg/SIF-v0", kind=kind, render_mode="ansi", disable_env_checker=True).unwrapped)


def test_info_has_the_keys_of_a_text_task():
    env = SIF()
    observation, info = env.reset(seed=0, options={"episode": 4})
    assert env.observation_space.contains(observation)
    assert (info["task_id"], info["kind"], info["steps_left"]) == ("train/s_obj/1", "s_obj", 15)
    assert info["invalid_action"] is False
    assert "success" not in info
    for action in info["admissible_actions"]:
        assert env.action_space.contains(action)
        assert f"{action}," in observation or f"{action}\n" in observation
    _, reward, terminated, truncated, info = env.step("Done!")
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["success"] is info["is_success"] is False
    assert info["admissible_actions"] == ()
    assert info["steps_left"] == 0
    assert set(info["metrics"]) == {"spl", "low_level_steps", "oracle_steps", "decisions", "actions"}
    assert all(isinstance(value, float) for value in info["metrics"].values())


def test_an_episode_by_the_expert_has_reward_one_and_metrics():
    env = SIF(kind="pnp")
    env.reset(seed=1, options={"episode": 1})
    total, over = 0.0, False
    while not over:
        _, reward, over, _, info = env.step(env.expert_action())
        total += reward
    metrics = info["metrics"]
    assert total == reward == 1.0
    assert metrics["spl"] == metrics["oracle_steps"] / max(metrics["oracle_steps"], metrics["low_level_steps"])
    assert metrics["decisions"] == metrics["actions"] > 3


# -------------------------------------------------------------------- determinism


def test_the_same_seed_and_episode_replay_exactly():
    for episode in range(9):
        first, second = (play(SIF(), random.Random(episode).choice, seed=episode, episode=episode) for _ in range(2))
        assert first == second


def test_the_seed_changes_random_events_and_the_index_changes_the_task():
    env = SIF(kind="s_hum")
    last, first = set(), set()
    for seed in range(20):
        results = play(env, lambda actions: actions[0], seed=seed, episode=5, limit=4)
        first.add(results[0][0])
        last.add(results[-1][0])
    assert len(first) == 1, "the seed must not change the task"
    assert len(last) > 5, "the seed must change the spots seen"
    commands = {env.reset(seed=0, options={"episode": i})[0] for i in range(50)}
    assert len(commands) == 50


def test_the_seed_determines_the_humans_pace_and_route():
    env = SIF(kind="s_hum")
    walks, paces = set(), set()
    for seed in range(60):
        env.reset(seed=seed, options={"episode": 8})
        walks.add(env._world.walk)
        paces.add(env._world.pace)
    assert len(paces) == 60
    assert len(walks) > 1


def test_without_an_index_the_task_is_drawn_from_the_seed():
    env = SIF()
    ids = [env.reset(seed=s)[1]["task_id"] for s in (1, 2, 1)]
    assert ids[0] == ids[2] != ids[1]
    assert env.reset()[1]["task_id"] != env.reset()[1]["task_id"]


def test_np_random_is_made_from_the_seed_at_the_first_use():
    env = SIF(kind="pnp")
    env.reset(seed=7, options={"episode": 0})
    assert env._np_random is None
    assert env.np_random.bit_generator.state == np.random.default_rng(7).bit_generator.state
    assert env.np_random_seed == 7


# -------------------------------------------------------------------- snapshots


@pytest.mark.parametrize("kind", KINDS)
def test_restore_replays_exactly_from_random_states(kind):
    env = SIF(kind=kind)
    for episode in range(25):
        choose = random.Random(episode)
        _, info = env.reset(seed=episode, options={"episode": episode})
        for _ in range(choose.randrange(6)):
            _, _, over, _, info = env.step(choose.choice(info["admissible_actions"][:-1]))
            if over:
                break
        if info["steps_left"] == 0:
            continue
        snapshot, state = env.snapshot(), choose.getstate()
        futures = []
        for machine in (env, env, SIF(kind=kind)):
            machine.restore(snapshot)
            choose.setstate(state)
            now, future = info, []
            while now["admissible_actions"]:
                future.append(machine.expert_action())
                future.append(machine.step(choose.choice(now["admissible_actions"])))
                now = future[-1][-1]
            future.append(machine.reset(options={"episode": 0}))  # the random streams continue equally, too
            future.append(machine.step(machine.expert_action()))
            futures.append(future)
        assert futures[0] == futures[1] == futures[2]


def test_a_snapshot_is_independent_of_later_steps_and_can_be_pickled():
    env = SIF(kind="s_hum")
    env.reset(seed=3, options={"episode": 3})
    env.step(env.expert_action())
    snapshot = env.snapshot()
    stored = pickle.dumps(snapshot)
    future = [env.step(env.expert_action()) for _ in range(3)]
    for again in (snapshot, pickle.loads(stored), copy.deepcopy(snapshot)):
        env.restore(again)
        assert [env.step(env.expert_action()) for _ in range(3)] == future


def test_expert_action_does_not_change_the_state():
    env = SIF(kind="s_hum")
    env.reset(seed=3, options={"episode": 3})
    before = env.snapshot()
    assert env.expert_action() == env.expert_action()
    assert env.snapshot().draws == before.draws
    assert env.snapshot().generator == before.generator


# -------------------------------------------------------------------- invalid actions and limits


@pytest.mark.parametrize("text", ["Fly to Mars", "", "Go to Room 99", "Give the cup to the human"])
def test_an_invalid_action_ends_the_episode_as_a_failure(text):
    env = SIF(kind="pnp")
    env.reset(seed=0, options={"episode": 0})
    _, reward, terminated, truncated, info = env.step(text)
    assert (reward, terminated, truncated, info["invalid_action"], info["success"]) == (0.0, True, False, True, False)


def test_an_invalid_action_is_a_failure_also_if_the_command_is_fulfilled():
    env = SIF(kind="pnp")
    env.reset(seed=0, options={"episode": 1})
    while env.expert_action() != "Done!":
        env.step(env.expert_action())
    assert env._world.fulfilled()
    assert env.step("Finished")[-1]["success"] is False


def test_noop_counts_an_invalid_action_as_a_decision():
    env = SIF(kind="pnp", invalid_action="noop")
    _, before = env.reset(seed=0, options={"episode": 0})
    observation, _, terminated, _, info = env.step("Fly to Mars")
    assert not terminated
    assert info["invalid_action"] is True
    assert info["steps_left"] == 14
    assert info["admissible_actions"] == before["admissible_actions"]
    assert "You cannot do that." in observation
    assert "Mars" not in observation
    over = False
    while not over:
        _, _, over, _, info = env.step(env.expert_action())
    assert info["success"] is True


def test_fifteen_decisions_end_the_episode():
    env = SIF(kind="pnp")
    _, info = env.reset(seed=0, options={"episode": 0})
    left = [info["steps_left"]]
    over = False
    while not over:
        _, _, over, truncated, info = env.step(f"Explore Room {env._world.room + 1}")
        left.append(info["steps_left"])
    assert left == list(range(15, -1, -1))
    assert not truncated
    assert info["metrics"]["decisions"] == 15.0


def test_following_is_not_counted_as_a_decision():
    env = SIF(kind="s_hum")
    _, info = env.reset(seed=0, options={"episode": 1})
    while "Follow the human" in info["admissible_actions"]:
        _, _, _, _, info = env.step("Follow the human")
        assert info["steps_left"] == 15
    info = env.step("Done!")[-1]
    assert info["metrics"]["decisions"] == 1.0
    assert info["metrics"]["actions"] >= 2.0


def test_six_hundred_low_level_steps_end_the_episode():
    env = SIF(kind="pnp")
    _, info = env.reset(seed=0, options={"episode": 1})
    over = False
    while not over:
        far = max(
            (a for a in info["admissible_actions"] if a.startswith("Go")),
            key=lambda a: env._world.house.steps[max(env._world.room, 0)][int(a.split()[-1]) - 1],
        )
        before = env._world.clock
        _, _, over, _, info = env.step(far)
    assert before < 600 <= info["metrics"]["low_level_steps"]
    assert info["metrics"]["decisions"] < 15
    assert info["steps_left"] == 0


def test_the_final_state_determines_success_also_at_the_limit():
    env = SIF(kind="pnp")
    env.reset(seed=0, options={"episode": 1})
    while env.expert_action() != "Done!":
        env.step(env.expert_action())
    over = False
    while not over:
        _, reward, over, _, info = env.step(f"Explore Room {env._world.room + 1}")
    assert reward == 1.0
    assert info["success"] is True


def test_steps_left_never_increases_and_is_zero_only_at_the_end():
    for episode in range(60):
        results = play(SIF(), random.Random(episode).choice, seed=episode, episode=episode)
        left = [result[-1]["steps_left"] for result in results]
        assert left == sorted(left, reverse=True)
        assert 0 not in left[:-1]
        assert left[-1] == 0


# -------------------------------------------------------------------- errors


def test_error_messages_have_the_rule_and_the_received_value():
    with pytest.raises(UnknownNameError, match=r"'s_objj'.*Did you mean 's_obj'"):
        SIF(kind="s_objj")
    with pytest.raises(UnknownNameError, match=r"'val-sen'.*Did you mean 'val-seen'"):
        SIF(split="val-sen")
    with pytest.raises(UnknownNameError, match="invalid_action"):
        SIF(invalid_action="ignore")
    with pytest.raises(UnknownNameError, match="render_mode"):
        SIF(render_mode="human")
    env = SIF(render_mode="ansi")
    for early in (env.render, env.snapshot, env.expert_action, lambda: env.step("Done!")):
        with pytest.raises(NotResetError):
            early()
    with pytest.raises(InvalidArgumentError, match="from 0 to 59999"):
        env.reset(seed=0, options={"episode": 60_000})
    with pytest.raises(InvalidArgumentError, match="episode=-1"):
        env.reset(seed=0, options={"episode": -1})
    with pytest.raises(InvalidArgumentError, match="seed=-1"):
        env.reset(seed=-1)
    with pytest.raises(UnknownNameError, match="Did you mean 'episode'"):
        env.reset(seed=0, options={"episodes": 1})
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="int"):
        env.step(3)
    env.step("Done!")
    with pytest.raises(EpisodeOverError):
        env.step("Done!")
    with pytest.raises(EpisodeOverError):
        env.expert_action()


def test_num_episodes_is_the_size_of_the_split():
    for split in SPLITS:
        for kind in (*KINDS, "mixed"):
            env = SIF(split=split, kind=kind)
            assert env.num_episodes >= 2_000
            env.reset(seed=0, options={"episode": env.num_episodes - 1})
            with pytest.raises(InvalidArgumentError):
                env.reset(seed=0, options={"episode": env.num_episodes})


def test_render_returns_the_observation():
    env = SIF(render_mode="ansi")
    observation, _ = env.reset(seed=0, options={"episode": 2})
    assert env.render() == observation
    observation = env.step(env.expert_action())[0]
    assert env.render() == observation


def test_speed():
    """A lower bound: the benchmark has 20,000 decisions per CPU-second."""
    env, choose, decisions = SIF(), random.Random(0).choice, 0
    play(env, choose, seed=0, episode=0)
    begin = time.process_time()
    for i in range(300):
        decisions += len(play(env, choose, seed=i, episode=i % 10)) - 1
    assert decisions / (time.process_time() - begin) > 6_000
