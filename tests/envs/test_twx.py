"""The games of TextWorldExpress: splits, experts, keys, snapshots by replay, and the Java virtual machine."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sys

import gymnasium as gym
import numpy as np
import pytest
from example_files import load_example
from processes import stop

import selfreg_gym  # noqa: F401
from selfreg_gym import EpisodeSpec, InterventionVectorEnv, run_episodes
from selfreg_gym.envs._java import JvmError
from selfreg_gym.envs.twx import games
from selfreg_gym.envs.twx.features import VECTOR
from selfreg_gym.errors import (
    EpisodeOverError,
    InvalidArgumentError,
    MissingPackageError,
    NotResetError,
    TaskContractError,
    UnknownNameError,
)

pytest.importorskip("textworld_express")
NAMES = ("CookingWorld", "CoinCollector", "Commonsense", "MapReader")


def make(name: str = "CookingWorld", **kwargs):
    return gym.make(f"selfreg/TWX-{name}-v0", disable_env_checker=True, **kwargs).unwrapped


def play(env, episode: int, *, deviate: float = 0.0, seed: int = 0, actions=()):
    """Play an episode by the expert with deviations; yields (env, observation, info) at each state before the end."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(options={"episode": episode})
    over = False
    while not over:
        yield observation, info
        offered = [a for a in info["admissible_actions"] if not a.startswith(("eat", "cook", "prepare"))]
        action = offered[rng.integers(len(offered))] if rng.random() < deviate else env.expert_action()
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    yield observation, info


def test_every_sentence_of_many_rooms_is_understood():
    for name in NAMES:
        env = make(name)
        for observation, info in play(env, 3, deviate=0.5, seed=1):
            del observation, info
        for scene in env.snapshot().known.rooms.values():
            for thing in scene.things:
                assert not any(word in thing.name for word in (" that ", "you see", ",")), thing
            assert scene.room


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_wins_also_after_deviations(name):
    env = make(name)
    for episode in range(4):
        for deviate in (0.0, 0.3):
            *_, (_, info) = play(env, episode, deviate=deviate, seed=episode)
            assert info["success"], (episode, deviate)
            assert info["progress"] == 1.0


def test_the_expert_wins_tasks_of_every_split():
    for split in games.SPLITS:
        env = make(split=split)
        assert env.num_episodes == games.SPLITS[split][2]
        *_, (_, info) = play(env, env.num_episodes - 1)
        assert info["success"]
        assert info["task_id"] == f"cookingworld/{split}/{env.num_episodes - 1}"


def test_splits_share_no_task():
    ranges = [(fold, first, first + number) for fold, first, number in games.SPLITS.values()]
    for i, (fold, first, end) in enumerate(ranges):
        for other, start, last in ranges[i + 1 :]:
            assert fold != other or end <= start or last <= first


def test_equal_keys_mean_equal_futures():
    """States that several histories reach, as the key says, offer the same actions with the same outcomes."""
    for name in NAMES:
        env, seen = make(name), {}
        for seed in range(5):
            for _, info in play(env, 0, deviate=0.5, seed=seed):
                if not info["admissible_actions"]:
                    continue
                before = env.snapshot()
                assert seen.setdefault(info["state_key"], before).reply.actions == before.reply.actions
        rng, compared = np.random.default_rng(0), 0
        for seed in range(5, 9):
            for _, info in play(env, 0, deviate=0.5, seed=seed):
                other, now = seen.get(info["state_key"]), env.snapshot()
                if other is None or other.actions == now.actions or not info["admissible_actions"]:
                    continue
                action = str(rng.choice(info["admissible_actions"]))
                keys = []
                for state in (other, now):
                    env.restore(state)
                    _, reward, terminated, _, after = env.step(action)
                    keys.append((after["state_key"].removesuffix("|over"), reward, terminated))
                assert keys[0] == keys[1], action
                env.restore(now)
                compared += 1
        assert compared >= 3, name


def test_what_was_put_into_a_closed_container_is_part_of_the_key():
    env = make()
    env.reset(options={"episode": 0})
    ways = []
    for container in ("fridge", "dishwasher"):
        env.reset(options={"episode": 0})
        for action in ("take banana", "open fridge", "open dishwasher", f"put banana in {container}"):
            env.step(action)
        env.step("close fridge")
        *_, info = env.step("close dishwasher")
        ways.append((info["state_key"], env.snapshot().reply.look))
    assert ways[0][1] == ways[1][1]  # the room looks the same
    assert ways[0][0] != ways[1][0]


def test_the_order_of_harmless_actions_is_not_part_of_the_key():
    env, keys = make(), set()
    for actions in (
        ("open fridge", "open dishwasher", "look around"),
        ("look around", "open dishwasher", "examine stove", "open fridge"),
    ):
        env.reset(options={"episode": 0})
        for action in actions:
            *_, info = env.step(action)
        keys.add(info["state_key"])
    assert len(keys) == 1


def test_a_closed_door_is_seen_from_both_sides():
    env = make()
    env.reset(options={"episode": 0})
    env.step("open door to south")
    env.step("move south")
    env.step("close door to north")
    known = env.snapshot().known
    assert known.rooms["kitchen"].exit("south").closed
    env.step("open door to north")
    assert not env.snapshot().known.rooms["kitchen"].exit("south").closed


def test_games_in_one_process_do_not_disturb_each_other():
    alone = {}
    for name in NAMES:
        env = make(name)
        alone[name] = [observation for observation, _ in play(env, 5)]
    walks = {name: play(make(name), 5) for name in NAMES}
    together = {name: [] for name in NAMES}
    while walks:
        for name in list(walks):
            state = next(walks[name], None)
            if state is None:
                del walks[name]
            else:
                together[name].append(state[0])
    assert together == alone


def test_a_snapshot_can_be_restored_elsewhere_and_after_the_machine_has_died():
    env, other = make(), make()
    states = list(play(env, 7))
    env.reset(options={"episode": 7})
    for _ in range(4):
        env.step(env.expert_action())
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    assert env.render_mode is None
    other.restore(copy.deepcopy(snapshot))
    os.kill(env._simulator._jvm.pid, signal.SIGKILL)
    env._simulator._jvm._process.wait()
    for one in (env, other):
        actions = []
        observation = states[4][0]
        over = False
        while not over:
            action = one.expert_action()
            actions.append(action)
            observation, _, terminated, truncated, info = one.step(action)
            over = terminated or truncated
        assert info["success"]
        assert observation == states[-1][0]


def test_a_replay_with_another_outcome_is_an_error():
    env = make()
    env.reset(options={"episode": 0})
    env.step("open fridge")
    before = env.snapshot()
    changed = before.reply._replace(look="You are in the attic.")
    forged = type(before)(**{name: getattr(before, name) for name in before.__slots__} | {"reply": changed})
    env.reset(options={"episode": 1})
    env.restore(forged)
    with pytest.raises(TaskContractError, match="same answers to the same actions"):
        env.step("look around")
    env.restore(before)
    assert env.step("look around")[4]["progress"] == 0.0


def test_a_hanging_machine_is_an_errored_episode_and_the_next_one_is_played():
    env = InterventionVectorEnv(
        1, "selfreg/TWX-CoinCollector-v0", lambda observation: "look around", [], autoreset_mode="Disabled"
    )
    env.reset(seed=0, options={"episode": 0})
    jvm = env.slots[0].task.unwrapped._simulator._jvm
    for connection in jvm.gateway._gateway_client.deque:
        connection.socket.settimeout(0.5)  # in place of 30 s
    stop(jvm.pid)
    _, _, _, truncations, infos = env.step([0])
    assert truncations[0]
    assert "did not answer within 30 s" in infos["error"][0]
    assert not jvm.alive
    (episode,) = run_episodes(env, [EpisodeSpec(0, 0, 0.0)])
    assert len(episode.steps) == 50
    assert episode.error is None


def test_a_machine_that_dies_in_a_step_is_an_error_of_that_env_alone(monkeypatch):
    env, other = make("CoinCollector"), make("CoinCollector")
    for one in (env, other):
        one.reset(options={"episode": 0})
        one.step("look around")
    jvm = env._simulator._jvm
    assert other._simulator._jvm is jvm

    def killed(*arguments):
        os.kill(jvm.pid, signal.SIGKILL)
        jvm._process.wait()
        raise OSError("broken pipe")

    monkeypatch.setattr(env._simulator, "_game", type("Game", (), {"stepJSON": killed})())
    with pytest.raises(JvmError, match="ended with status -9"):
        env.step("look around")
    assert other.step("look around")[4]["steps_left"] == 48  # on a new machine, at the same position
    env.reset(options={"episode": 0})
    assert env._simulator._jvm is other._simulator._jvm


def test_invalid_actions():
    env = make(invalid_action="noop")
    env.reset(options={"episode": 0})
    observation, reward, terminated, truncated, info = env.step("fly \ud800 to the moon\n\x00")
    assert (reward, terminated, truncated, info["invalid_action"], info["steps_left"]) == (0.0, False, False, True, 49)
    assert "That is not a possible action." in observation
    assert not env.step("  Open   FRIDGE ")[4]["invalid_action"]
    env = make()
    env.reset(options={"episode": 0})
    *_, terminated, _, info = env.step("help")
    assert (terminated, info["success"], info["admissible_actions"], info["steps_left"]) == (True, False, (), 0)
    with pytest.raises(EpisodeOverError):
        env.step("look around")
    with pytest.raises(InvalidArgumentError, match="must be a str"):
        (env.reset(options={"episode": 0}), env.step(3))


def test_mistakes_with_ingredients_are_failures_and_the_limit_truncates():
    env = make()
    env.reset(options={"episode": 0})
    env.step("open fridge")
    env.step("take block of cheese")
    before = env.snapshot()
    for mistake in ("eat block of cheese", "cook block of cheese in stove"):
        env.restore(before)
        *_, terminated, truncated, info = env.step(mistake)
        assert (terminated, truncated, info["success"]) == (True, False, False)
    env = make(max_steps=2)
    env.reset(options={"episode": 0})
    env.step("look around")
    *_, terminated, truncated, info = env.step("look around")
    assert (terminated, truncated, info["success"], info["metrics"]["steps"]) == (False, True, False, 2.0)


def test_actions_are_listed_on_request_and_sorted():
    env = make(list_actions=True)
    observation, info = env.reset(options={"episode": 0})
    assert list(info["admissible_actions"]) == sorted(info["admissible_actions"])
    assert observation.endswith(f"Possible actions: {', '.join(info['admissible_actions'])}.")
    assert "Possible actions" not in make().reset(options={"episode": 0})[0]


def test_arguments_are_checked(monkeypatch):
    for kwargs, error in (
        ({"split": "tset"}, UnknownNameError),
        ({"params": {"numRooms": 3}}, UnknownNameError),
        ({"params": {"numLocations": -1}}, InvalidArgumentError),
        ({"params": 3}, InvalidArgumentError),
        ({"max_steps": 0}, InvalidArgumentError),
        ({"time_limit": 0}, InvalidArgumentError),
        ({"list_actions": 1}, InvalidArgumentError),
        ({"vector": 1}, InvalidArgumentError),
        ({"invalid_action": "ignore"}, UnknownNameError),
    ):
        with pytest.raises(error):
            make(**kwargs)
    env = make()
    for method in (env.snapshot, env.expert_action, env.subgoal, lambda: env.step("look around")):
        with pytest.raises(NotResetError):
            method()
    with pytest.raises(InvalidArgumentError, match="episode"):
        env.reset(options={"episode": 1000})
    env.reset(options={"episode": 0})
    with pytest.raises(InvalidArgumentError, match="restore takes a snapshot of an env with the game 'coin'"):
        make("CoinCollector").restore(env.snapshot())
    with pytest.raises(InvalidArgumentError, match=r"must know the parameters of 'mapreader'.*equal to 8"):
        make("MapReader", params={"maxDistanceApart": 9}).reset(options={"episode": 0})
    with pytest.raises(InvalidArgumentError, match=r"cannot be made with these parameters .* for seed 9"):
        make("MapReader", params={"numLocations": 6}).reset(options={"episode": 9})
    monkeypatch.setitem(sys.modules, "textworld_express", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'selfreg-gym\[twx\]'"):
        make()


def test_the_feature_vector_counts_what_is_left_to_do():
    env = make(vector=True, max_steps=20)
    _, info = env.reset(options={"episode": 0})
    seen = []
    over = False
    while not over:
        entries = dict(zip(VECTOR, info["feature_vector"].tolist(), strict=True))
        seen.append(entries)
        assert info["feature_vector"].dtype == np.float32
        _, _, terminated, truncated, info = env.step(env.expert_action())
        over = terminated or truncated
    assert (seen[0]["read"], seen[0]["book"], seen[0]["left"], seen[0]["unopened"]) == (0.0, 1.0, 1.0, 5 / 4)
    assert (seen[1]["read"], seen[1]["missing"], seen[1]["cuts"], seen[1]["cooks"]) == (1.0, 2 / 4, 1 / 4, 1 / 4)
    assert (seen[-2]["prepare"], seen[-1]["eat"], seen[-2]["missing"], seen[-2]["cuts"]) == (1.0, 1.0, 0.0, 0.0)


def test_demonstrations_are_the_experts_actions(repository):
    example = load_example(repository / "examples" / "demonstrations.py")
    family = example.FAMILIES["cookingworld"]
    pairs = example.expert_decisions(family, 3, 0.3, 1)
    assert pairs == example.expert_decisions(family, 3, 0.3, 1)
    pages = "\n".join(text for text, _ in pairs)
    assert all(f"Steps left: {limit}." in pages for limit in (50, 30, 40))
    assert family.lost not in {action for _, action in pairs}
    assert sum(action == "eat meal" for _, action in pairs) >= 3
