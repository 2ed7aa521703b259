"""The state key and the feature key of a state.

``state_key`` has the task id and the relevant part of the robot's knowledge: its room, the held object, the mapped room
of the target, the progress of the search, the known position of the human, whether the command is fulfilled, whether
following was needless, and whether an object was put down in the episode. (The last fact matters because an actor that
has put the object in a wrong place is about to end the episode, and one that has just found it is not.) States that
differ only in facts unknown to the robot, such as the distance that an unseen human has walked, have equal keys. To
keep the number of states small, keys leave out actions on other objects and irrelevant receptacles; of the searched
rooms they have only the number, and of the low-level clock only one of three ranges. ``steps_left`` is reported
separately.

``feature_key``: the same without task id and room numbers (a few hundred values in all).
"""

from __future__ import annotations

from selfreg_gym.envs.sif.episodes import HUMAN, RECEPTACLE, ROOM
from selfreg_gym.envs.sif.houses import HALL, NO_PUT
from selfreg_gym.envs.sif.world import GONE, LOST, MAX_STEPS, World

__all__ = ["keys"]

# The limit on low-level steps ends as many episodes as that on decisions, but ``steps_left`` counts decisions only. A
# walk takes about 75 low-level steps, fetching and bringing an object about 170.
_LATE = (MAX_STEPS - 220, MAX_STEPS - 100)
_GOAL_NAMES = ("receptacle", "room", "human")
_HUMAN_NAMES = ("-", "lost", "stopped", "seen", "gone")


def keys(world: World) -> tuple[str, str]:
    """``(state_key, feature_key)`` of the current state; they end in ``over`` once the episode is over."""
    task, home, room, held = world.task, world.house, world.room, world.held
    target, belief = task.target, world.belief
    if world.over:
        return f"{task.task_id}|over", f"{task.kind}|over"

    hand = "nothing" if held < 0 else "target" if held == target else "other"
    fulfilled = target in world.received if task.goal == HUMAN else world.fulfilled()

    # The mapped room of the target; "old" if it is from the premap.
    where, old = HALL, True
    for s, objects in enumerate(belief):
        if objects and target in objects:
            fresh = world.fresh >> s & 1
            if home.spot_room[s] == room:
                where, old = room, not fresh
                break
            if where == HALL or fresh:  # newer entries have priority over the premap
                where, old = home.spot_room[s], not fresh
    here = where == room != HALL

    # Whether the held target can be put on a goal here, and the number of spots not yet seen in this room.
    put_here = False
    unseen_here = 0
    if room != HALL:
        for s in home.spots[room]:
            if held == target and belief[s] is not None and task.is_goal_spot(s) and home.spot_kind[s] not in NO_PUT:
                put_here = True
            if not world.fresh >> s & 1:
                unseen_here += 1
    lost = hand == "target" and world.human_status in (LOST, GONE)
    searching = (where == HALL and hand != "target") or lost
    searched = min(world.visited.bit_count(), 3) if searching and not fulfilled else 0
    looked = "" if room == HALL or held == target or here else "all" if unseen_here == 0 else "part"
    late = (world.clock > _LATE[0]) + (world.clock > _LATE[1])

    status = world.human_status
    human = _HUMAN_NAMES[status]
    near = status >= 2 and world.human_room == room != HALL
    placed = "placed" if world.placed else ""
    flags = f"{'F' if fulfilled else ''}{'N' if world.needless else ''}{late or ''}{'P' if world.placed else ''}"
    state = (
        f"{task.task_id}|in {room + 1}|holds {hand}|map {where + 1}{'old' if old else ''}|{searched}{looked}"
        f"|{'put' if put_here else ''}|{human} {world.human_room + 1 if status else ''}|{flags}"
    )
    if fulfilled:
        return state, f"{task.kind}|fulfilled|{'N' if world.needless else ''}"
    if hand == "target":
        spot = "hall" if room == HALL else "goal" if _is_goal_room(world, room) else "elsewhere"
        feature = f"carry to {_GOAL_NAMES[task.goal]}|{spot}|{'put' if put_here else ''}|{min(searched, 2)}"
    elif hand == "other":
        feature = f"full|{'hall' if room == HALL else ''}"
    else:
        hinted = task.kind == "s_obj" and room != HALL and home.function[room] == task.hint
        spot = "hall" if room == HALL else "target" if here else f"{'hinted ' if hinted else ''}{looked}"
        seen = "unknown" if where == HALL else "old" if old else "new"
        feature = f"fetch|{spot}|{seen}|{min(searched, 2)}"
    clear = "clear" if task.clear else "vague"
    who = f"{human}{' near' if near else ''}" if status else ""
    late_text = f"{'N' if world.needless else ''}{'late' if late else ''}"
    return state, f"{task.kind} {clear}|{feature}|{who}|{late_text}|{placed}"


def _is_goal_room(world: World, room: int) -> bool:
    """Whether the command can be fulfilled in ``room``, to the robot's knowledge."""
    task, home = world.task, world.house
    if task.goal == ROOM:
        return home.function[room] == task.goal_arg
    if task.goal == RECEPTACLE:
        return any(home.spot_kind[s] == task.goal_arg and world.belief[s] is not None for s in home.spots[room])
    return world.human_status >= 2 and world.human_room == room
