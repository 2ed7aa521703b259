"""Samples of hidden facts: nothing observed changes, the truth does not matter, samples agree with it on average."""

import numpy as np
import pytest

from selfreg_gym.envs.sif import SIF
from selfreg_gym.envs.sif.hidden import sample_hidden
from selfreg_gym.envs.sif.houses import HALL
from selfreg_gym.envs.sif.human import place
from selfreg_gym.envs.sif.keys import keys
from selfreg_gym.envs.sif.sightings import walks
from selfreg_gym.envs.sif.text import observation
from selfreg_gym.envs.sif.vector import vector
from selfreg_gym.envs.sif.world import CATCH_UP, STOPPED


def states(kind, episodes, *, expert=0.5, seed=0):
    """Yield (env, world) at every decision of episodes in which expert and random actions are mixed."""
    env, rng = SIF(kind=kind), np.random.default_rng(seed)
    for i in range(episodes):
        _, info = env.reset(seed=i, options={"episode": i})
        over = False
        while not over:
            yield env, env._world
            actions = info["admissible_actions"][:-1] or info["admissible_actions"]
            action = env.expert_action() if rng.random() < expert else actions[int(rng.integers(len(actions)))]
            _, _, over, _, info = env.step(action)


def facts(world):
    return tuple(world.truth), world.task.goal_arg, world.task.truth.index, world.walk, world.pace, world.walked


@pytest.mark.parametrize("kind", ["pnp", "s_obj", "s_hum"])
def test_what_was_observed_stays_and_the_truth_does_not_matter(kind):
    changed = 0
    for n, (env, world) in enumerate(states(kind, 25)):
        shown = observation(world, env._history, env._admissible), keys(world), vector(world).tolist(), env._admissible
        once, again = world.copy(), world.copy()
        sample_hidden(once, np.random.default_rng(n))
        env._world, true = once, env._world
        from selfreg_gym.envs.sif.actions import admissible

        once.stale = set(range(once.house.rooms))  # the text is made anew
        sampled = observation(once, env._history, admissible(once)), keys(once), vector(once).tolist(), admissible(once)
        env._world = true
        assert sampled == shown
        for s in range(len(world.truth)):
            if world.fresh >> s & 1:
                assert once.truth[s] == world.truth[s]
        assert sum(world.task.target in objects for objects in once.truth) == (
            0 if world.held == world.task.target or world.task.target in world.received else 1
        )
        # A sample from a sample: the other facts of the first sample must not matter.
        sample_hidden(once, np.random.default_rng(7))
        sample_hidden(again, np.random.default_rng(7))
        assert (once.truth, once.task.goal_arg, once.walk, once.pace, once.walked) == (
            again.truth, again.task.goal_arg, again.walk, again.pace, again.walked,
        )  # fmt: skip
        changed += again.truth != world.truth or again.walk != world.walk
    assert changed > 20


def _numbers(world):
    """Hidden quantities, the expectations of which must agree between truth and samples."""
    home, task = world.house, world.task
    spot = next((s for s, objects in enumerate(world.truth) if task.target in objects), None)
    room, x = world.human_place()
    ahead = [r for r in range(home.rooms) if (home.x[r] - world.human_x) * world.heading > 0.1]
    nearest = min(ahead, key=lambda r: abs(home.x[r] - world.human_x), default=None)
    return [
        0.0 if spot is None else home.x[home.spot_room[spot]],
        0.0 if spot is None else float(spot % 2),
        float(sum(len(objects) for objects in world.truth)),
        float(task.goal_arg == nearest),
        home.x[task.goal_arg] if world.walk else 0.0,
        float(room == HALL),
        x,
        world.pace * 100,
        float(world.walked),
        float(len(world.walk)),
    ]


@pytest.mark.parametrize(("kind", "expert"), [("pnp", 0.3), ("s_obj", 0.1), ("s_hum", 0.1), ("s_hum", 0.7)])
def test_samples_have_the_distribution_of_the_truth(kind, expert):
    """For every hidden quantity f, E[f(truth) - f(sample)] = 0, also where the human is out of sight."""
    differences = []
    for n, (_, world) in enumerate(states(kind, 250, expert=expert, seed=1)):
        if n % 3:
            continue
        copies = [world.copy() for _ in range(2)]
        for i, copy in enumerate(copies):
            sample_hidden(copy, np.random.default_rng((n, i)))
        sampled = np.mean([_numbers(copy) for copy in copies], axis=0)
        differences.append((world.task.task_id, np.array(_numbers(world)) - sampled))
    by_task = {}
    for task, difference in differences:
        by_task.setdefault(task, []).append(difference)
    sums = np.array([np.sum(one, axis=0) for one in by_task.values()])  # the states of a task are correlated
    z = sums.mean(axis=0) / np.maximum(sums.std(axis=0), 1e-9) * np.sqrt(len(sums))
    assert np.abs(z).max() < 3.7, z


def test_the_human_is_where_it_was_seen():
    walking = 0
    for n, (_, world) in enumerate(states("s_hum", 60, expert=0.6)):
        if world.human_status == STOPPED:
            continue
        copy = world.copy()
        sample_hidden(copy, np.random.default_rng(n))
        for seen in world.sightings:
            at = place(copy.walk, min(copy.walk[-1][0], copy.pace * seen.time))
            if seen.heading:
                walking += 1
                assert at[0] == seen.room
                assert abs(at[1] - seen.x) < 0.1
            elif seen.missed == 0:
                assert at[0] != seen.room
    assert walking > 100


def test_the_true_walk_is_among_the_possible_ones():
    for _, world in states("s_hum", 40, expert=0.6):
        task = world.task
        goals = tuple(r for r in range(world.house.rooms) if r != task.start)
        possible, chances = walks(world.house, task.start, goals, world.sightings, CATCH_UP)
        assert abs(sum(chances) - 1) < 1e-9
        near = [one for one in possible if one.walk == world.walk]
        assert near
        assert min(abs(one.pace - world.pace) for one in near) < 0.002


def test_reseed_keeps_the_state_and_changes_what_happens_next():
    env = SIF(kind="pnp")
    env.reset(seed=0, options={"episode": 4})
    shown, start = env._world.copy(), env.snapshot()
    outcomes = set()
    for seed in range(20):
        env.restore(start)
        env.reseed(seed)
        assert env._world.truth == shown.truth
        outcomes.add(env.step(env.expert_action())[0])
    assert len(outcomes) > 3
