"""Reading the text of a room: its things and exits."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["OPPOSITE", "Exit", "Scene", "Thing", "bare", "read_inventory", "read_scene"]

OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}

_ROOM = re.compile(r"You are in the (.+)")
_CLOSED_DOOR = re.compile(r"To the (\w+) you see an? closed (.+)")
_OPEN_DOOR = re.compile(r"Through an? open (.+), to the (\w+) you see the (.+)")
_WAY = re.compile(r"To the (\w+) you see the (.+)")
_THING = re.compile(r"(?:In (?:one|another) part of the room you see|There is also|You also see) (.+)")
_CLOSED = re.compile(r"(.+) that is closed")
_EMPTY = re.compile(r"(.+), that (?:is empty|has nothing on it)")
_FULL = re.compile(r"(.+?),? that (?:contains|has) (.+?)(?: on it)?")
_DETERMINER = re.compile(r"^(?:an?|some|the) ", re.IGNORECASE)


class Thing(NamedTuple):
    """A thing in a room: its name, the items on or in it (None: it is closed or has none), whether it is closed."""

    name: str
    items: tuple[str, ...] | None = None
    closed: bool = False


class Exit(NamedTuple):
    """A way out of a room: the direction, the door ("" if there is none), whether it is closed, and the room behind.

    The room behind is "" where the text does not name it.
    """

    direction: str
    door: str
    closed: bool
    room: str


class Scene(NamedTuple):
    """A room as its text describes it."""

    room: str
    things: tuple[Thing, ...]
    exits: tuple[Exit, ...]

    def exit(self, direction: str) -> Exit | None:
        """The exit in a direction, or None."""
        return next((one for one in self.exits if one.direction == direction), None)

    def canonical(self) -> str:
        """The scene as one line, which does not depend on the order of the items."""
        return _canonical(self)


def bare(name: str) -> str:
    """A noun phrase without its determiner."""
    return _DETERMINER.sub("", name.strip())


def read_inventory(text: str) -> tuple[str, ...]:
    """The carried things, without determiners."""
    lines = text.splitlines()[1:]
    return tuple(bare(line) for line in lines if line.strip() and "currently empty" not in line)


@lru_cache(maxsize=20_000)
def read_scene(text: str) -> Scene:
    """Read the description of a room. A sentence of an unknown form counts as a thing with that name."""
    room, things, exits = "", [], []
    for sentence in re.split(r"\.\s+|\.$", text):
        line = sentence.strip()
        if not line:
            continue
        if found := _ROOM.fullmatch(line):
            room = found[1]
        elif found := _CLOSED_DOOR.fullmatch(line):
            exits.append(Exit(found[1].lower(), found[2], True, ""))
        elif found := _OPEN_DOOR.fullmatch(line):
            exits.append(Exit(found[2].lower(), found[1], False, found[3]))
        elif found := _WAY.fullmatch(line):
            exits.append(Exit(found[1].lower(), "", False, found[2]))
        else:
            found = _THING.fullmatch(line)
            things.append(_thing(found[1] if found else line))
    return Scene(room, tuple(things), tuple(exits))


def _thing(text: str) -> Thing:
    if found := _CLOSED.fullmatch(text):
        return Thing(bare(found[1]), None, True)
    if found := _EMPTY.fullmatch(text):
        return Thing(_unopened(found[1]), ())
    if found := _FULL.fullmatch(text):
        parts = re.split(r", and |, ", found[2])
        return Thing(_unopened(found[1]), tuple(bare(part) for part in parts))
    return Thing(bare(text))


def _unopened(name: str) -> str:
    return bare(name).removeprefix("open ")


@lru_cache(maxsize=20_000)
def _canonical(scene: Scene) -> str:
    things = sorted(
        f"{one.name}{'!' if one.closed else ''}:{'|'.join(sorted(one.items or ()))}" for one in scene.things
    )
    exits = sorted(f"{one.direction}{'!' if one.closed else ''}{one.door}" for one in scene.exits)
    return f"{scene.room}[{';'.join(things)}][{';'.join(exits)}]"
