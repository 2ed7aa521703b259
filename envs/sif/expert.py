"""The expert: a deterministic planner that knows the true state and can take over at any step.

It puts down other objects, fetches the target from its true position, brings it to the cheapest goal, and says Done! as
soon as the command is fulfilled. In an ambiguous ``s_hum`` episode it follows the human as long as that is possible,
because the destination is unknown to the robot; in a clear one it never follows.
"""

from __future__ import annotations

from selfreg_gym.envs.sif.actions import DONE, EXPLORE, FOLLOW, GIVE, GO, PICK, PUT
from selfreg_gym.envs.sif.episodes import HUMAN, PICK_STEPS
from selfreg_gym.envs.sif.houses import HALL, NO_PUT, RECEPTACLES
from selfreg_gym.envs.sif.world import MAX_STEPS, SEEN, STOPPED, World

__all__ = ["plan"]

_DECISION = 30  # low-level steps that weigh as much as one decision, in the choice of a goal
_LONG_WAIT = 60  # low-level steps of waiting for the human, above which a walk saves decisions

_TOILET = RECEPTACLES.index("toilet")

Plan = tuple[int, int]


def plan(world: World) -> Plan:
    """The next action ``(op, argument)``; always admissible."""
    task, held = world.task, world.held
    if world.fulfilled() or (task.goal == HUMAN and task.target in world.received):
        return DONE, 0
    if task.goal == HUMAN:
        return _bring_to_human(world)
    if held == task.target:
        return _deliver(world)
    return _fetch(world)


def _target_room(world: World) -> tuple[int, int]:
    """The true ``(spot, room)`` of the target."""
    for s, objects in enumerate(world.truth):
        if world.task.target in objects:
            return s, world.house.spot_room[s]
    raise AssertionError("the target is neither on a spot nor held")


def _fetch(world: World) -> Plan:
    """Pick up the target."""
    if world.held >= 0:
        return _put_down(world)
    spot, room = _target_room(world)
    if room != world.room:
        return GO, room
    if world.task.target in (world.belief[spot] or ()):
        return PICK, world.task.target
    return EXPLORE, room


def _put_down(world: World) -> Plan:
    """Put down another object, in the current room or on the way to the target."""
    home, here = world.house, world.room
    room = _target_room(world)[1]
    if here == HALL:
        return GO, room
    for s in home.spots[here]:
        if world.belief[s] is not None and home.spot_kind[s] not in NO_PUT:
            return PUT, home.spot_kind[s]
    return (GO, room) if room != here else (EXPLORE, here)


def _steps(world: World, room: int) -> int:
    home = world.house
    return home.steps_from_hall(world.x, room) if world.room == HALL else home.steps[world.room][room]


def _deliver(world: World) -> Plan:
    """Bring the held target to the cheapest goal."""
    task, home = world.task, world.house
    best, plan_, here = None, (DONE, 0), world.room
    for room in range(home.rooms):
        goals = [s for s in home.spots[room] if task.is_goal_spot(s) and home.spot_kind[s] not in NO_PUT]
        if not goals:
            continue
        known = [s for s in goals if world.belief[s] is not None]
        known.sort(key=lambda s: home.spot_kind[s] == _TOILET)  # a toilet is the last choice
        cost = (0 if room == here else _steps(world, room) + _DECISION) + (0 if known else _DECISION)
        if best is None or cost < best:
            best = cost
            at_goal = (PUT, home.spot_kind[known[0]]) if known else (EXPLORE, room)
            plan_ = at_goal if room == here else (GO, room)
    return plan_


def _bring_to_human(world: World) -> Plan:
    task, here, goal = world.task, world.room, world.task.goal_arg
    carrying = world.held == task.target
    human = world.human_place()[0]
    if carrying and human == here != HALL:
        believed = world.human_room == here and world.human_status >= STOPPED
        return (GIVE, world.held) if believed else (EXPLORE, here)
    if not task.clear and world.human_status >= SEEN and _time_to_follow(world):
        return FOLLOW, 0
    if not carrying:
        return _fetch(world)
    if here != goal:
        return GO, goal
    if world.human_steps_left() > _LONG_WAIT and world.left > 4:
        return GO, min((r for r in range(world.house.rooms) if r != here), key=lambda r: world.house.steps[here][r])
    return EXPLORE, here


def _time_to_follow(world: World) -> bool:
    """Whether enough low-level steps remain, after following to the end, to fetch the target and come back."""
    goal = world.task.goal_arg
    rest = world.human_steps_left() + 2 * PICK_STEPS
    if world.held != world.task.target:
        rest += 2 * world.house.steps[goal][_target_room(world)[1]]
    return world.clock + rest < MAX_STEPS - 40
