"""The robot's perception: each visit reveals part of a room and updates the map.

The map (``world.belief``) has for each spot the objects last seen there, or None for a spot never seen. Only looking,
picking up and putting down change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from selfreg_gym.envs.sif.world import World

__all__ = ["forget", "look"]

_GLANCE = 0.6  # probability that a spot is seen when the robot enters a room
_SEARCH = 0.85  # probability that a spot is seen when the robot explores


def look(world: World, draw: Callable[[], float], *, thorough: bool) -> list[int]:
    """See part of the current room and return the spots seen, at least one.

    Exploring (``thorough``) looks at the spots not yet seen in the episode, or at all if there are none.
    """
    spots = world.house.spots[world.room]
    fresh = world.fresh
    if thorough:
        rest = [s for s in spots if not fresh >> s & 1] or spots
        seen = [s for s in rest if draw() < _SEARCH] or [rest[int(draw() * len(rest))]]
    else:
        seen = [s for s in spots if draw() < _GLANCE] or [spots[int(draw() * len(spots))]]
    for s in seen:
        fresh |= 1 << s
        world.belief[s] = world.truth[s]
    world.fresh = fresh
    world.stale.add(world.room)
    return seen


def forget(world: World, kind: int) -> None:
    """Remove objects of ``kind`` from the map of the current room where there are none, after a failed pick."""
    for s in world.house.spots[world.room]:
        believed = world.belief[s]
        if believed and kind not in world.truth[s]:
            world.belief[s] = tuple(k for k in believed if k != kind)
    world.stale.add(world.room)
