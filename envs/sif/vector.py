"""The feature vector of a state: positions, distances, clocks and beliefs of the robot as 41 numbers.

The vector has only what the robot knows: its map, what it saw, did and heard, and its own clocks. It has neither the
true places of objects nor that of a human out of sight. Facts that the keys pool (:mod:`selfreg_gym.envs.sif.keys`) are
numbers here: the clock, the distances, the share of the house that was searched. There is neither a task id nor a room
number, so a function of the vector can be used in new houses.

Positions are metres along the hall divided by 15, distances are low-level steps divided by 100, clocks and counts are
shares. An entry about a place that is not known is 0, and an entry before it says whether it is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.envs.sif.episodes import HUMAN, KINDS, RECEPTACLE, ROOM
from selfreg_gym.envs.sif.houses import HALL, NO_PUT
from selfreg_gym.envs.sif.human import rooms_ahead
from selfreg_gym.envs.sif.world import GONE, LOST, MAX_DECISIONS, MAX_STEPS, SEEN, STOPPED, World

__all__ = ["ENTRIES", "vector"]

ENTRIES: dict[str, str] = {
    "pnp": "1 if the task is of this kind",
    "s_obj": "1 if the task is of this kind",
    "s_hum": "1 if the task is of this kind",
    "clear": "1 if the human names the room (always in pnp)",
    "goal_receptacle": "1 if the command names a receptacle",
    "goal_room": "1 if the command names a room",
    "decisions_left": "counted decisions left, as a share of 15",
    "clock_left": "low-level steps left, as a share of 600",
    "x": "the robot's position along the hall",
    "in_hall": "1 if the robot is in the hall",
    "holds_target": "1 if the robot holds the object of the command",
    "holds_other": "1 if it holds another object",
    "placed": "1 if it has put down an object in this episode",
    "fulfilled": "1 if the command is fulfilled, to the robot's knowledge",
    "needless": "1 if it followed the human needlessly",
    "target_known": "1 if the object of the command is on the map",
    "target_new": "1 if that place was seen in this episode",
    "target_here": "1 if that place is in the robot's room",
    "target_x": "its position along the hall",
    "target_distance": "its distance from the robot",
    "goal_known": "1 if a room is known in which the command can be fulfilled",
    "goal_here": "1 if the robot is in such a room",
    "goal_x": "the position of the nearest one",
    "goal_distance": "its distance from the robot",
    "put_here": "1 if the robot holds the object, and a receptacle of the command is here",
    "hint_known": "1 if the human mentioned where the object is (s_obj)",
    "hint_here": "1 if the robot is in such a room",
    "hint_x": "the position of the nearest one",
    "hint_distance": "its distance from the robot",
    "rooms_entered": "share of the rooms entered in this episode",
    "spots_seen": "share of the house's receptacles seen in this episode",
    "spots_seen_here": "share of the receptacles of this room seen in this episode",
    "human_stopped": "1 if the robot knows where the human stands",
    "human_seen": "1 if it sees the human walking",
    "human_gone": "1 if the human is out of sight for a short time",
    "human_lost": "1 if it has lost the human",
    "human_x": "the human's position along the hall at the last sight",
    "human_distance": "the distance of that room, or of that position in the hall, from the robot",
    "human_heading": "the human's direction along the hall at the last sight, 1 or -1",
    "human_unseen": "low-level steps since then, divided by 100",
    "human_ahead": "share of the rooms to which the human may be walking",
}
"""The entries in their order, and their meaning."""

_METRES, _STEPS = 15.0, 100.0


def vector(world: World) -> NDArray[np.float32]:
    """The feature vector of the current state, float32 ``(len(ENTRIES),)``."""
    task, home, room, held, belief = world.task, world.house, world.room, world.held, world.belief
    target = task.target

    def distance(other: int) -> float:
        steps = home.steps_from_hall(world.x, other) if room == HALL else home.steps[room][other]
        return steps / _STEPS

    def nearest(rooms: list[int]) -> tuple[float, float, float, float]:
        """Whether one is known, whether the robot is in one, and position and distance of the nearest."""
        if not rooms:
            return 0.0, 0.0, 0.0, 0.0
        best = min(rooms, key=distance)
        return 1.0, float(room in rooms), home.x[best] / _METRES, distance(best)

    # The mapped place of the object, as in the state key: newer entries have priority over the premap.
    known = [s for s, objects in enumerate(belief) if objects and target in objects]
    fresh = [s for s in known if world.fresh >> s & 1]
    places = nearest([home.spot_room[s] for s in fresh or known])
    mapped, here, target_x, target_distance = places

    if task.goal == RECEPTACLE:
        goals = [
            r for s, r in enumerate(home.spot_room) if home.spot_kind[s] == task.goal_arg and belief[s] is not None
        ]
    elif task.goal == ROOM:
        goals = [r for r, function in enumerate(home.function) if function == task.goal_arg]
    elif world.human_status >= STOPPED:
        goals = [world.human_room] if world.human_room != HALL else []
    else:
        goals = [r for r, function in enumerate(home.function) if function == task.hint]
    hinted = [r for r, function in enumerate(home.function) if function == task.hint] if task.kind == "s_obj" else []
    spots_here = home.spots[room] if room != HALL else ()
    put_here = held == target and any(
        belief[s] is not None and task.is_goal_spot(s) and home.spot_kind[s] not in NO_PUT for s in spots_here
    )
    if task.goal == HUMAN:
        fulfilled = target in world.received and not world.needless
    else:
        fulfilled = any(task.is_goal_spot(s) for s in known) and not (task.goal == ROOM and held >= 0)

    status = world.human_status
    last: tuple[float, ...] = (0.0,) * 5
    if status:
        x, place = world.human_x, world.human_room
        away = distance(place) if place != HALL else home.steps_to_hall(room, world.x, x) / _STEPS
        ahead = 0 if status == STOPPED else len(rooms_ahead(home, task.start, place, round(x, 1), world.heading))
        last = (x / _METRES, away, float(world.heading), world.unseen / _STEPS, ahead / home.rooms)
    entries = (
        *(float(task.kind == kind) for kind in KINDS),
        float(task.clear),
        float(task.goal == RECEPTACLE),
        float(task.goal == ROOM),
        world.left / MAX_DECISIONS,
        max(MAX_STEPS - world.clock, 0) / MAX_STEPS,
        (world.x if room == HALL else home.x[room]) / _METRES,
        float(room == HALL),
        float(held == target),
        float(held >= 0 and held != target),
        float(world.placed),
        float(fulfilled),
        float(world.needless),
        mapped,
        float(bool(fresh)),
        here,
        target_x,
        target_distance,
        *nearest(goals),
        float(put_here),
        *nearest(hinted),
        world.visited.bit_count() / home.rooms,
        world.fresh.bit_count() / len(home.spot_room),
        sum(world.fresh >> s & 1 for s in spots_here) / len(spots_here) if spots_here else 0.0,
        *(float(status == one) for one in (STOPPED, SEEN, GONE, LOST)),
        *last,
    )
    return np.array(entries, np.float32)
