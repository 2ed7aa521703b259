"""What the robot gets to see: part of a room at each visit, written into its map.

The map (``world.belief``) says for each spot which objects were last seen there, or None for a spot never seen. It is
only ever changed by looking, and by what the robot itself picks up and puts down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from selfreg_gym.envs.sif.world import World

__all__ = ["forget", "look"]

_GLANCE = 0.6  # chance that a spot is seen when the robot enters a room
_SEARCH = 0.85  # chance that a spot is seen when it explores


def look(world: World, draw: Callable[[], float], *, thorough: bool) -> list[int]:
    """See part of the current room and return the spots seen, at least one.

    Exploring (``thorough``) looks at the spots not seen in phase 2 first; if there are none left, at all.
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
    """Strike objects of ``kind`` off the map of the current room: the hand found none where the map had one."""
    for s in world.house.spots[world.room]:
        believed = world.belief[s]
        if believed and kind not in world.truth[s]:
            world.belief[s] = tuple(k for k in believed if k != kind)
    world.stale.add(world.room)
