"""The expert: success of nearly 100 % from the start, and after random actions."""

from __future__ import annotations

import random

import pytest

from selfreg_gym.envs.sif import SIF
from selfreg_gym.envs.sif.episodes import HUMAN, KINDS
from selfreg_gym.envs.sif.houses import HALL


def finish(env, info) -> dict:
    """Finish the episode by the expert; each of its actions must be admissible."""
    while info["admissible_actions"]:
        action = env.expert_action()
        assert action in info["admissible_actions"], (action, info)
        info = env.step(action)[-1]
    assert info["invalid_action"] is False
    return info


@pytest.mark.parametrize("split", ["train", "val-unseen"])
@pytest.mark.parametrize(("kind", "rate", "mean"), [("pnp", 1.0, 6), ("s_obj", 1.0, 6.5), ("s_hum", 0.98, 9)])
def test_the_expert_succeeds_from_the_start(kind, rate, mean, split):
    env = SIF(kind=kind, split=split)
    done, actions, spl = 0, 0.0, 0.0
    for i in range(200):
        info = finish(env, env.reset(seed=1_000 + i, options={"episode": i})[1])
        done += info["success"]
        actions += info["metrics"]["actions"]
        spl += info["metrics"]["spl"]
    assert done / 200 >= rate
    assert actions / 200 <= mean
    assert spl / 200 > 0.7


def least_work(world) -> tuple[float, int]:
    """A lower bound on the low-level steps and decisions to success, from any state."""
    task, home = world.task, world.house

    def way(here: int, there: int) -> int:
        return home.steps_from_hall(world.x, there) if here == HALL else home.steps[here][there]

    goals = (
        [task.goal_arg]
        if task.goal == HUMAN
        else sorted({home.spot_room[s] for s in range(len(home.spot_room)) if task.is_goal_spot(s)})
    )
    if world.held == task.target:
        return min(way(world.room, r) for r in goals) + 10, 3
    at = next((home.spot_room[s] for s, objects in enumerate(world.truth) if task.target in objects), None)
    if at is None:
        return 0, 1
    return way(world.room, at) + min(home.steps[at][r] for r in goals) + 20 + 10 * (world.held >= 0), 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_expert_succeeds_after_random_actions_if_there_is_time(kind):
    """The clocks must leave slack for a look, a failed pick and the walk of the human."""
    env = SIF(kind=kind)
    tried = done = hopeless = 0
    for i in range(400):
        choose = random.Random(i)
        _, info = env.reset(seed=i, options={"episode": i})
        for _ in range(choose.choice((2, 4, 6))):
            info = env.step(choose.choice(info["admissible_actions"][:-1]))[-1]
            if not info["admissible_actions"]:
                break
        if not info["admissible_actions"]:
            continue
        world = env._world
        steps, decisions = least_work(world)
        slack = 60 + (world.human_steps_left() if kind == "s_hum" else 0)
        if world.needless or world.clock + steps + slack > 600 or world.left < decisions + 3:
            hopeless += 1
            continue
        tried += 1
        done += finish(env, info)["success"]
    assert tried > 200
    assert hopeless < 180
    assert done >= 0.99 * tried, f"{done} of {tried}"


def test_the_expert_says_done_after_the_target_was_given():
    env = SIF(kind="s_hum")
    env.reset(seed=0, options={"episode": 0})
    env._world.received = (env._world.task.target,)
    assert env.expert_action() == "Done!"
    env._world.needless = True
    assert env.expert_action() == "Done!"


def test_the_expert_puts_down_another_object_first():
    env = SIF(kind="pnp")
    for i in range(60):
        _, info = env.reset(seed=i, options={"episode": i})
        pick = [a for a in info["admissible_actions"] if a.startswith("Pick")]
        if pick:
            info = env.step(pick[0])[-1]
            assert finish(env, info)["success"]


def test_the_expert_follows_in_ambiguous_tasks_only():
    env = SIF(kind="s_hum")
    for i in range(40):
        _, info = env.reset(seed=i, options={"episode": i})
        first = env.expert_action()
        assert (first == "Follow the human") is (i % 2 == 1)
        clear = i % 2 == 0
        while info["admissible_actions"]:
            action = env.expert_action()
            assert not (clear and action == "Follow the human")
            info = env.step(action)[-1]


def test_random_actions_almost_never_succeed():
    env, choose = SIF(), random.Random(0).choice
    done = 0
    for i in range(1_500):
        _, info = env.reset(seed=i, options={"episode": i})
        while info["admissible_actions"]:
            info = env.step(choose(info["admissible_actions"]))[-1]
        done += info["success"]
    assert done / 1_500 < 0.015
