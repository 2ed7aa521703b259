"""The observation of a game: a text with all that is needed to play, also without the earlier observations."""

from __future__ import annotations

import re

from selfreg_gym.envs.twx.knowledge import Knowledge
from selfreg_gym.envs.twx.scene import Scene
from selfreg_gym.envs.twx.simulator import Reply

__all__ = ["INVALID", "observation"]

INVALID = "That is not a possible action."


def observation(
    task: str, known: Knowledge, reply: Reply, *, action: str, answer: str, left: int, over: bool, actions: bool
) -> str:
    """The observation after an action.

    Args:
        task: the description of the task.
        known: what the player knows.
        reply: what the game shows.
        action: the last action; "" at the start.
        answer: the answer of the game to the last action.
        left: number of steps left.
        over: whether the episode has ended.
        actions: list the possible actions.
    """
    lines = [f"Task: {task}"]
    for name, text in sorted(known.notes.items()):
        lines.append(f"You have read the {name}.")
        lines += [line for line in text.splitlines() if line.strip()]
    others = [scene for room, scene in known.rooms.items() if room != known.room]
    lines += [_remembered(scene, known) for scene in sorted(others)]
    if action:
        lines.append(f"Last action: {action}")
        if answer and answer != reply.look:
            lines += [line for line in answer.splitlines() if line.strip()]
    lines += re.split(r"(?<=\.)\s+", reply.look) if reply.look else []
    if reply.inventory:
        head, *carried = (line.strip() for line in reply.inventory.splitlines())
        lines.append(f"{head} {', '.join(carried)}")
    if not reply.look and not action:
        lines += reply.answer.splitlines()
    lines.append(f"Score: {round(100 * reply.score)} of 100. Steps left: {left}.")
    if over:
        lines.append("The game is over.")
    elif actions:
        lines.append(f"Possible actions: {', '.join(reply.actions)}.")
    return "\n".join(lines)


def _remembered(scene: Scene, known: Knowledge) -> str:
    """One line about a room that was seen before: its exits, and the items that were there."""
    ways = []
    for way in scene.exits:
        behind = known.ways.get((scene.room, way.direction), "")
        door = ("closed " if way.closed else "open ") + way.door if way.door else ""
        ways.append(" ".join(part for part in (way.direction, door, behind) if part))
    items = [
        f"{item} in {thing.name}"
        for thing in scene.things
        for item in (known.contents.get((scene.room, thing.name), ()) if thing.closed else thing.items or ())
    ]
    text = f"Seen before: {scene.room}, {', '.join(ways)}."
    return f"{text} There: {', '.join(items)}." if items else text
