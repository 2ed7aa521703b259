"""A rule-based actor for the household tasks (SIF); on any other text it chooses an admissible action at random.

It reads the observation only. It understands the sentences of ``selfreg/SIF-v0`` ("Put the cup on the table.", "Bring
me the cup.") and follows a simple plan: find the object by the map and by rooms that are named, pick it up, carry it to
the goal, say "Done!". It knows the furniture that identifies a room, but not hints that only imply a room.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Decision

__all__ = ["Scripted"]

_PUT = re.compile(r'says: "Put the ([a-z ]+?) (on|in) the ([a-z ]+)\.')
_BRING = re.compile(r'says: "Bring me the ([a-z ]+)\.(.*)"')
_EARLIER = re.compile(r'Earlier the human said: "(.*)"')
_ROOM = re.compile(r"^Room (\d+): (.*)\.$", re.MULTILINE)
_HERE = re.compile(r"You are in (?:Room (\d+)|the hall) and hold (?:nothing|a ([a-z ]+))\.")
_FURNITURE = {
    "kitchen": "fridge",
    "bathroom": "toilet",
    "bedroom": "bed",
    "living room": "couch",
    "dining room": "table",
    "garage": "car",
    "study": "shelves",
}


@dataclass(frozen=True, slots=True)
class _Scene:
    """A parsed observation of a household."""

    target: str
    goal: str  # "on", "in" or "human"
    goal_name: str  # a receptacle, a room function, or the human's words about the destination
    hint: str  # an earlier remark of the human
    room: str
    held: str
    rooms: dict[str, dict[str, str]]  # room number: {receptacle: objects on it}
    past: tuple[str, ...]  # earlier actions and their results


class Scripted:
    """A simple plan for the household tasks, with noise.

    Args:
        noise: probability of a random admissible action, drawn from ``decision.rng``.

    Raises:
        InvalidArgumentError: ``noise`` is not in [0, 1].
    """

    def __init__(self, noise: float = 0.2) -> None:
        if not 0 <= noise <= 1:
            raise InvalidArgumentError(f"noise must be a probability in [0, 1], received noise={noise!r}.")
        self.noise = float(noise)

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Return one action per decision, in order."""
        return [self._act(decision) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Scripted:
        return self

    def __repr__(self) -> str:
        return f"Scripted(noise={self.noise:g})"

    def _act(self, decision: Decision) -> str:
        actions = decision.admissible_actions or ()
        if actions and decision.rng.random() < self.noise:
            return _random_action(actions, decision.rng)
        scene = _parse(decision.info.get("current_observation", decision.observation))
        if scene is not None:
            action = _next_action(scene, actions)
            if action is not None and (action in actions or not actions):
                return action
        return _random_action(actions, decision.rng) if actions else "Done!"


def _random_action(actions: Sequence[str], rng: np.random.Generator) -> str:
    return actions[int(rng.integers(len(actions)))]


def _parse(text: str) -> _Scene | None:
    put, bring, here = _PUT.search(text), _BRING.search(text), _HERE.search(text)
    if here is None or not (put or bring):
        return None
    target, goal, goal_name = put.groups() if put else (bring[1], "human", bring[2])  # type: ignore[index]
    earlier = _EARLIER.search(text)
    rooms = {
        number: {on: objects for on, _, objects in (item.partition(" with ") for item in items.split(", "))}
        for number, items in _ROOM.findall(text)
    }
    past = text.split("So far:\n")[1].split("\nYour map:")[0].split("\n") if "So far:\n" in text else []
    hint = earlier[1] if earlier else ""
    return _Scene(target, goal, goal_name, hint, here[1] or "", here[2] or "", rooms, tuple(past))


def _next_action(scene: _Scene, actions: Sequence[str]) -> str | None:
    """Return the next action of the plan, or None."""
    last = scene.past[-1] if scene.past else ""
    given = last.startswith(f"Give the {scene.target}") and "takes it" in last
    placed = last.startswith(f"Put the {scene.target} on the ")
    if given or (placed and (scene.goal == "in" or f"on the {scene.goal_name}." in last)):
        return "Done!"
    if scene.held and scene.held != scene.target:
        return next((action for action in actions if action.startswith("Put ")), None)
    return _bring(scene, actions) if scene.held else _find(scene, actions)


def _visits(scene: _Scene, room: str) -> int:
    return sum(f"Room {room}." in line and line.startswith(("Go to", "Explore")) for line in scene.past)


def _go(scene: _Scene, rooms: Sequence[str]) -> str | None:
    """Return the action that visits the least visited of ``rooms``, or None after two visits to each."""
    fewest = min(rooms, key=lambda room: _visits(scene, room), default=None)
    if fewest is None or _visits(scene, fewest) > 1:
        return None
    return f"Explore Room {fewest}" if fewest == scene.room else f"Go to Room {fewest}"


def _rooms_for(scene: _Scene, text: str) -> list[str]:
    """Return the rooms whose furniture identifies a function that ``text`` names."""
    return [
        number
        for number, things in scene.rooms.items()
        for function, item in _FURNITURE.items()
        if function in text and item in things
    ]


def _find(scene: _Scene, actions: Sequence[str]) -> str | None:
    take = f"Pick up the {scene.target}"
    if take in actions:
        return take
    mapped = [number for number, things in scene.rooms.items() if any(scene.target in held for held in things.values())]
    return _go(scene, _rooms_for(scene, scene.hint)) or _go(scene, mapped) or _go(scene, list(scene.rooms))


def _bring(scene: _Scene, actions: Sequence[str]) -> str | None:
    if scene.goal == "human":
        give = f"Give the {scene.target} to the human"
        if give in actions:
            return give
        if "Follow the human" in actions and not _rooms_for(scene, scene.goal_name):
            return "Follow the human"
        return _go(scene, _rooms_for(scene, scene.goal_name)) or _go(scene, list(scene.rooms))
    if scene.goal == "on":
        put = f"Put the {scene.target} on the {scene.goal_name}"
        if put in actions:
            return put
        having = [number for number, things in scene.rooms.items() if scene.goal_name in things]
        return _go(scene, having) or _go(scene, list(scene.rooms))
    right = _rooms_for(scene, scene.goal_name)
    if scene.room in right:
        return next((action for action in actions if action.startswith("Put ")), f"Explore Room {scene.room}")
    return _go(scene, right) or _go(scene, list(scene.rooms))
