"""State keys and feature keys: their number, and the states that they distinguish."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from selfreg_gym.agents.actors.scripted import Scripted
from selfreg_gym.envs.sif import SIF
from selfreg_gym.envs.sif.houses import RECEPTACLES as _RECEPTACLES
from selfreg_gym.envs.sif.keys import keys
from selfreg_gym.types import Decision


@pytest.fixture(scope="module")
def decisions():
    """(info, observation) of a small collection: 12 tasks, 60 episodes each, a noisy actor with random help."""
    env, actor, found = SIF(), Scripted(noise=0.3), []
    for episode in range(12):
        for n in range(60):
            seed = 1_000 * episode + n
            choose = random.Random(seed)
            observation, info = env.reset(seed=seed, options={"episode": episode})
            while info["admissible_actions"]:
                found.append((info, observation))
                if choose.random() < (n % 11) / 10:
                    action = env.expert_action()
                else:
                    decision = Decision(
                        observation, info["admissible_actions"], key=(seed, info["steps_left"], len(found))
                    )
                    action = actor.act([decision])[0]
                observation, _, _, _, info = env.step(action)
    return found


def test_a_task_has_about_a_hundred_states(decisions):
    states = defaultdict(set)
    for info, _ in decisions:
        states[info["task_id"]].add(info["state_key"])
    counts = [len(keys) for keys in states.values()]
    assert len(counts) == 12
    assert 20 < sum(counts) / 12 < 130
    assert max(counts) < 260


def test_there_are_at_most_300_feature_keys_without_task_and_room(decisions):
    features = {info["feature_key"] for info, _ in decisions}
    assert 50 <= len(features) <= 300
    assert not any("train" in key or "Room" in key for key in features)


def test_state_keys_begin_with_the_task_id(decisions):
    for info, _ in decisions:
        assert info["state_key"].startswith(f"{info['task_id']}|")
        assert info["feature_key"].startswith(info["kind"])


def relevant(actions, target):
    """The actions without those on other objects."""
    return tuple(a for a in actions if not a.startswith(("Pick", "Put", "Give")) or f"the {target}" in a)


def test_equal_state_keys_have_equal_relevant_actions(decisions):
    """Documented exception: Put on receptacles that are not the goal."""
    actions_of = defaultdict(set)
    for info, observation in decisions:
        command = observation.split('says: "')[1]
        target = command.split("the ", 1)[1].split(" on the")[0].split(" in the")[0].split(".")[0]
        kept = tuple(a for a in relevant(info["admissible_actions"], target) if not a.startswith("Put"))
        actions_of[info["state_key"]].add(kept)
    mixed = [key for key, sets in actions_of.items() if len(sets) > 1]
    assert not mixed, mixed[:5]


def test_relevant_changes_change_both_keys():
    env = SIF(kind="s_hum")
    env.reset(seed=0, options={"episode": 0})
    seen = {keys(env._world)}
    for change in (
        lambda w: setattr(w, "needless", True),
        lambda w: setattr(w, "held", w.task.target),
        lambda w: setattr(w, "held", (w.task.target + 1) % 8),
        lambda w: setattr(w, "placed", True),
        lambda w: setattr(w, "received", (w.task.target,)),
        lambda w: setattr(w, "human_status", 1),
        lambda w: setattr(w, "human_status", 2),
        lambda w: setattr(w, "human_status", 4),
        lambda w: setattr(w, "clock", 550),
        lambda w: setattr(w, "over", True),
    ):
        world = env._world.copy()
        change(world)
        both = keys(world)
        assert both[0] not in {state for state, _ in seen}
        assert both[1] not in {feature for _, feature in seen}
        seen.add(both)


def test_the_feature_key_is_a_function_of_the_state_key(decisions):
    """A fitted model takes the node of the feature key as the prior of the state's node."""
    features = defaultdict(set)
    for info, _ in decisions:
        features[info["state_key"]].add(info["feature_key"])
    assert all(len(found) == 1 for found in features.values())


def test_an_object_found_and_an_object_in_a_wrong_place_have_different_keys():
    for seed in range(60):
        env = SIF(kind="pnp")
        _, info = env.reset(seed=seed, options={"episode": seed})
        world = env._world
        if "carry" in info["feature_key"] or world.task.goal != 0:
            continue
        while info["admissible_actions"] and not any(a.startswith("Put") for a in info["admissible_actions"]):
            _, _, _, _, info = env.step(env.expert_action())
        wrong = [a for a in info["admissible_actions"] if a.startswith("Put")]
        wrong = [a for a in wrong if not a.endswith(f" {_RECEPTACLES[world.task.goal_arg]}")]
        if not wrong:
            continue
        snapshot = env.snapshot()
        _, _, _, _, info = env.step(wrong[0])
        assert info["feature_key"].endswith("|placed")
        assert info["state_key"].endswith("P")
        env.restore(snapshot)
        assert "placed" not in env.step("Done!")[4]["feature_key"]
        env.restore(snapshot)
        assert env._world.placed is False
        assert env.step(wrong[0])[4]["feature_key"] == info["feature_key"]
        return
    raise AssertionError("no episode led past a wrong receptacle")
