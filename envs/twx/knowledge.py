"""What a player knows of a game: rooms, connections between them, contents of containers, and texts that were read.

A game changes only by the actions of the player, and only in the room of the player. A door also changes the room
behind it. The state of a game with a known seed is therefore: each visited room as it was last seen, the contents of
containers that were seen open and are closed now, the inventory and the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from selfreg_gym.envs.twx.scene import OPPOSITE, Exit, Scene, read_inventory, read_scene
from selfreg_gym.envs.twx.simulator import Reply

__all__ = ["Knowledge", "learn", "state_text"]


class Knowledge(NamedTuple):
    """What the player knows. An object never changes.

    Attributes:
        room: the current room; "" in a game without rooms.
        rooms: visited room -> the room as it was last seen, with its doors as they are now.
        contents: (room, container) -> its items when it was last seen open.
        ways: (room, direction) -> the room behind, if it is known.
        notes: name of a thing that was read -> its text.
        scored: the actions that have raised the score.
        carried: the carried things.
    """

    room: str
    rooms: Mapping[str, Scene]
    contents: Mapping[tuple[str, str], tuple[str, ...]]
    ways: Mapping[tuple[str, str], str]
    notes: Mapping[str, str]
    scored: frozenset[str]
    carried: tuple[str, ...]

    @property
    def scene(self) -> Scene:
        """The current room."""
        return self.rooms.get(self.room, _NOWHERE)


_NOWHERE = Scene("", (), ())
_NOTHING = Knowledge("", {}, {}, {}, {}, frozenset(), ())


def learn(before: Knowledge | None, action: str, reply: Reply, last: Reply | None) -> Knowledge:
    """The knowledge after a step.

    Args:
        before: the knowledge before the step; None at the beginning of a game.
        action: the action; "" at the beginning.
        reply: what the game shows now.
        last: what the game showed before the step.
    """
    known = _NOTHING if before is None else before
    scene = read_scene(reply.look)
    contents, rooms, ways = known.contents, dict(known.rooms), known.ways
    seen = {(scene.room, one.name): one.items for one in scene.things if one.items is not None}
    if any(contents.get(where) != items for where, items in seen.items()):
        contents = {**contents, **seen}
    found = {(scene.room, one.direction): one.room for one in scene.exits if one.room}
    if known.room and scene.room != known.room and action.startswith("move "):
        direction = action.removeprefix("move ")
        found |= {(known.room, direction): scene.room}
        if direction in OPPOSITE:
            found |= {(scene.room, OPPOSITE[direction]): known.room}
    if any(where not in ways for where in found):
        ways = {**ways, **found}
    rooms[scene.room] = scene
    for way in scene.exits:
        _see_from_behind(rooms, scene.room, way, ways.get((scene.room, way.direction), ""))
    notes = known.notes
    if action.startswith("read ") and reply.answer:
        notes = {**notes, action.removeprefix("read "): reply.answer}
    rose = last is not None and reply.score > last.score
    scored = known.scored | {action} if rose else known.scored
    return Knowledge(scene.room, rooms, contents, ways, notes, scored, read_inventory(reply.inventory))


def _see_from_behind(rooms: dict[str, Scene], room: str, way: Exit, behind: str) -> None:
    """Set the door of ``way`` also in the room behind it."""
    other = rooms.get(behind)
    back = OPPOSITE.get(way.direction, "")
    if other is None or not way.door:
        return
    old = other.exit(back)
    new = Exit(back, way.door, way.closed, "" if way.closed else room)
    if old is not None and old != new:
        rooms[behind] = other._replace(exits=tuple(new if one is old else one for one in other.exits))


def state_text(known: Knowledge, reply: Reply) -> str:
    """The state of the game as text. It is equal in all episodes of a task that are in the same state."""
    closed = [
        f"{room}/{name}:{'|'.join(sorted(known.contents.get((room, name), ('?',))))}"
        for room, scene in sorted(known.rooms.items())
        for name in sorted(one.name for one in scene.things if one.closed)
    ]
    parts = (
        known.room,
        *(scene.canonical() for _, scene in sorted(known.rooms.items())),
        *closed,
        *sorted(known.carried),
        f"{reply.score:.6f}",
        *sorted(known.scored),
        *(f"{name}={text}" for name, text in sorted(known.notes.items())),
        "" if known.room else reply.answer,  # a game without rooms shows its state in its answers
    )
    return "\n".join(parts)
