"""The current sub-goal of a task, by the robot's knowledge."""

from __future__ import annotations

from selfreg_gym.envs.sif.episodes import HUMAN, ROOM
from selfreg_gym.envs.sif.world import LOST, World

__all__ = ["SUBGOALS", "subgoal"]

SUBGOALS = (
    "find the object", "fetch the object", "put down the other object", "find the human", "bring the object", "finish",
)  # fmt: skip
"""The names, in the usual order."""


def subgoal(world: World) -> str:
    """One of :data:`SUBGOALS`.

    It depends on the held object, the robot's map, what the robot knows of the human, and what it has seen or done in
    the episode; not on the true positions. The object is to be found while it is not on the map, and to be fetched
    while it is: so a map that is wrong gives "fetch the object" until the robot notices it.
    """
    task, target = world.task, world.task.target
    if _known_fulfilled(world):
        return "finish"
    if world.held == target:
        return "find the human" if task.goal == HUMAN and world.human_status == LOST else "bring the object"
    if world.held >= 0:
        return "put down the other object"
    mapped = any(target in objects for objects in world.belief if objects)
    return "fetch the object" if mapped else "find the object"


def _known_fulfilled(world: World) -> bool:
    """Whether the robot has given the object, or has seen in this episode that it lies where it should."""
    task, target = world.task, world.task.target
    if task.goal == HUMAN:
        return target in world.received
    if task.goal == ROOM and world.held >= 0:
        return False
    return any(
        target in objects and task.is_goal_spot(spot) and bool(world.fresh >> spot & 1)
        for spot, objects in enumerate(world.belief)
        if objects
    )
