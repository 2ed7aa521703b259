"""A survey of a fresh game: all rooms, connections and contents of containers, from a walk through a second game."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from selfreg_gym.envs.twx.knowledge import Knowledge
from selfreg_gym.envs.twx.scene import OPPOSITE, Scene, Thing, read_scene
from selfreg_gym.envs.twx.simulator import Reply, Simulator, Start

__all__ = ["Survey", "World", "survey"]


_lock = threading.RLock()


@dataclass(slots=True)
class Survey:
    """A fresh game.

    Attributes:
        rooms: room -> its description at the first visit.
        contents: (room, container) -> its items, of all containers.
        ways: room -> direction -> the room behind.
        gold: the solution of TextWorldExpress; empty if it was not requested.
        first: the room where the game begins.
    """

    rooms: dict[str, Scene] = field(default_factory=dict)
    contents: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    ways: dict[str, dict[str, str]] = field(default_factory=dict)
    gold: tuple[str, ...] = ()
    first: str = ""


@lru_cache(maxsize=4096)
def survey(name: str, parameters: str, time_limit: float, start: Start, *, gold: bool) -> Survey:
    """Walk through all rooms of a game and open doors and containers; with ``gold``, also get the solution of the game.

    Raises:
        JvmError: the Java virtual machine failed.
    """
    found = Survey()
    with _lock:
        copy = _copy(name, parameters, time_limit)
        reply = copy.begin(start)
        found.first = read_scene(reply.look).room
        _visit(copy, found, reply)
        if gold:
            found.gold = copy.gold_path(start)
    return found


@lru_cache(maxsize=16)
def _copy(name: str, parameters: str, time_limit: float) -> Simulator:
    """The second game, in which surveys are made."""
    return Simulator(name, parameters, time_limit=time_limit)


def _visit(copy: Simulator, found: Survey, reply: Reply) -> None:
    scene = read_scene(reply.look)
    room = scene.room
    found.rooms[room] = scene
    ways = found.ways.setdefault(room, {})
    for thing in scene.things:
        if thing.items is not None:
            found.contents[room, thing.name] = thing.items
        elif thing.closed:
            opened = read_scene(copy.step(f"open {thing.name}").look)
            inside = next((one.items for one in opened.things if one.name == thing.name), None)
            found.contents[room, thing.name] = inside or ()
    for way in scene.exits:
        if way.direction in ways:
            continue
        if way.closed:
            copy.step(f"open door to {way.direction}")
        reply = copy.step(f"move {way.direction}")
        there = read_scene(reply.look).room
        if there == room:
            continue
        back = OPPOSITE[way.direction]
        ways[way.direction] = there
        found.ways.setdefault(there, {})[back] = room
        if there not in found.rooms:
            _visit(copy, found, reply)
        copy.step(f"move {back}")


class World:
    """The true state of a game in progress: its survey, updated by what the player has seen since."""

    def __init__(self, survey: Survey, known: Knowledge) -> None:
        self._survey, self.known = survey, known
        self.room = known.room

    def things(self, room: str) -> tuple[Thing, ...]:
        """The things of a room, with the items of closed containers."""
        scene = self.known.rooms.get(room) or self._survey.rooms[room]
        return tuple(
            one._replace(items=self.known.contents.get((room, one.name), self._survey.contents.get((room, one.name))))
            if one.closed
            else one
            for one in scene.things
        )

    def places(self) -> Mapping[str, list[tuple[str, Thing]]]:
        """Name of an item or thing -> (room, thing on or in which it is; for a thing, itself), for all rooms."""
        found: dict[str, list[tuple[str, Thing]]] = {}
        for room in self._survey.rooms:
            for thing in self.things(room):
                found.setdefault(thing.name, []).append((room, thing))
                for item in thing.items or ():
                    found.setdefault(item, []).append((room, thing))
        return found

    def distances(self) -> tuple[dict[str, int], dict[str, str]]:
        """Room -> number of moves from here, and room -> direction of the first move."""
        distance, first = {self.room: 0}, {self.room: ""}
        queue: deque[Any] = deque([self.room])
        while queue:
            room = queue.popleft()
            for direction, there in sorted(self._survey.ways.get(room, {}).items()):
                if there not in distance:
                    distance[there] = distance[room] + 1
                    first[there] = first[room] or direction
                    queue.append(there)
        return distance, first

    def towards(self, room: str) -> str | None:
        """The next action on the way to a room; None if it is here or cannot be reached."""
        direction = self.distances()[1].get(room)
        if not direction:
            return None
        way = self.known.scene.exit(direction)
        return f"open door to {direction}" if way is not None and way.closed else f"move {direction}"
