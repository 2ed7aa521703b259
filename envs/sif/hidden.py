"""Facts that the robot cannot know, sampled from what it knows: the places of objects, and the human's walk.

The robot knows its map, what it has seen, done and heard in the episode, the layout of the house, and the rules by
which tasks are made (:mod:`selfreg_gym.envs.sif.episodes`). So an object that was not moved lies where the map shows
it; a moved one lies in a room of the mentioned function; an object that is not on the map lies where the robot has not
looked. Samples have the posterior distribution under these rules, with the paces of the human on a grid.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import comb, factorial

import numpy as np

from selfreg_gym.envs.sif.episodes import HUMAN, RECEPTACLE, Task
from selfreg_gym.envs.sif.houses import OBJECTS
from selfreg_gym.envs.sif.sightings import walks
from selfreg_gym.envs.sif.world import CATCH_UP, NO_HUMAN, STOPPED, World

__all__ = ["sample_hidden"]

_OTHERS = (2, 3)  # numbers of objects beside the target, equally likely


def sample_hidden(world: World, rng: np.random.Generator) -> None:
    """Replace the hidden facts of ``world`` by a sample; what the robot has observed does not change."""
    task = world.task
    goal = task.goal_arg
    if world.human_status not in (NO_HUMAN, STOPPED):
        goal = _sample_walk(world, rng)
    spot = _sample_objects(world, goal, rng)
    if goal != task.goal_arg or task.target not in task.truth[spot]:
        world.task = _variant(task, goal, spot)


@lru_cache(maxsize=8192)
def _variant(task: Task, goal: int, spot: int) -> Task:
    """The task with another destination of the human, and its target on another spot at the beginning."""
    truth = tuple(tuple(k for k in objects if k != task.target) for objects in task.truth)
    truth = tuple((*objects, task.target) if s == spot else objects for s, objects in enumerate(truth))
    return replace(task, goal_arg=goal, truth=truth)


def _known_target(world: World) -> int:
    """The spot on which the target was at the beginning, if the robot knows it, or -1."""
    task, target = world.task, world.task.target
    found = world.held == target or target in world.received
    for s, objects in enumerate(world.belief):
        if objects and target in objects and (world.fresh >> s & 1 or task.kind != "s_obj"):
            found = True
    return next(s for s, objects in enumerate(task.truth) if target in objects) if found else -1


def _away(task: Task, goal: int) -> tuple[int, ...]:
    """The spots on which the target can be at the beginning: neither in a goal room nor in the robot's first room."""
    home = task.house
    if task.goal == HUMAN:
        rooms: tuple[int, ...] = (goal,)
    elif task.goal == RECEPTACLE:
        rooms = home.rooms_with(task.goal_arg)
    else:
        rooms = tuple(r for r in range(home.rooms) if home.function[r] == task.goal_arg)
    return tuple(s for s, room in enumerate(home.spot_room) if room not in rooms and room != task.start)


def _possible_spots(world: World, goal: int) -> list[int]:
    """The spots on which an unknown target may be."""
    task, home = world.task, world.house
    free = [s for s in _away(task, goal) if not world.fresh >> s & 1 and not task.premap[s]]
    if task.kind == "s_obj":
        return [s for s in free if home.function[home.spot_room[s]] == task.hint]
    return [s for s in free if task.premap[s] is None]


def _sample_walk(world: World, rng: np.random.Generator) -> int:
    """Sample the human's walk and return its destination."""
    task, home = world.task, world.house
    goals = [r for r in range(home.rooms) if r != task.start and (not task.clear or home.function[r] == task.hint)]
    possible, chances = walks(home, task.start, tuple(goals), world.sightings, CATCH_UP)
    lies = _known_target(world)
    factor = {}
    for goal in goals:  # the target lies on any spot outside the goal with equal probability
        away = _away(task, goal)
        places = [s for s in away if s == lies] if lies >= 0 else _possible_spots(world, goal)
        factor[goal] = len(places) / len(away) if away else 0.0
    weight = np.array([chance * factor[one.goal] for one, chance in zip(possible, chances, strict=True)])
    if weight.sum() == 0:
        weight = np.array(chances)
    one = possible[int(rng.choice(len(possible), p=weight / weight.sum()))]
    world.walk, world.pace = one.walk, one.pace
    world.walked = min(one.walk[-1][0], one.pace * world.walking)
    return one.goal


def _sample_objects(world: World, goal: int, rng: np.random.Generator) -> int:
    """Sample the objects on the spots that the robot has not seen, and return the first spot of the target."""
    task, home, target = world.task, world.house, world.task.target
    first = _known_target(world)
    spots = range(len(home.spot_room))
    truth = []
    for s in spots:
        objects = world.belief[s] or ()
        stays = world.fresh >> s & 1 or task.kind != "s_obj"
        truth.append(objects if stays else tuple(k for k in objects if k != target))
    known = {k for objects in truth for k in objects} | set(world.received)
    if world.held >= 0:
        known.add(world.held)
    known.discard(target)
    unseen = [s for s in spots if world.belief[s] is None and not world.fresh >> s & 1]
    moved = task.kind == "s_obj"
    if first < 0:
        places = _possible_spots(world, goal)
        weight = np.array([sum(_number_weights(world, len(known), len(unseen) - (s in unseen), moved)) for s in places])
        if not weight.sum():
            weight = np.ones(len(places))
        first = places[int(rng.choice(len(places), p=weight / weight.sum()))]
        truth[first] = (*truth[first], target)
    free = [s for s in unseen if not truth[s]]
    numbers = np.array(_number_weights(world, len(known), len(free), moved))
    if numbers.sum():
        number = _OTHERS[int(rng.choice(len(_OTHERS), p=numbers / numbers.sum()))] - len(known)
        kinds = [k for k in range(len(OBJECTS)) if k != target and k not in known]
        where, what = rng.permutation(len(free))[:number], rng.permutation(len(kinds))[:number]
        for s, k in zip(where.tolist(), what.tolist(), strict=True):
            truth[free[s]] = (kinds[k],)
    world.truth = truth
    return first


def _number_weights(world: World, known: int, free: int, moved: bool) -> list[float]:
    """The probability of each number of other objects, up to a factor.

    ``known`` of them are known, and ``free`` spots have not been seen. With n others, each choice of n spots, n kinds
    and their order is equally likely.
    """
    spots, kinds = len(world.house.spot_room) - 1 - moved, len(OBJECTS) - 1
    weights = []
    for n in _OTHERS:
        hidden = n - known
        fits = hidden >= 0 and hidden <= free
        ways = comb(free, hidden) * comb(kinds - known, hidden) * factorial(hidden) if fits else 0
        weights.append(ways / (comb(spots, n) * comb(kinds, n) * factorial(n)))
    return weights
