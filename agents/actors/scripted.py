"""A rule-based actor that reads what a person would read: the text, and nothing behind it.

For household pages ("Put the cup on the table.", "Bring me the cup.") it follows a simple plan: find the object by the
map and by a plainly named room, take it, bring it, say Done!. It knows what furniture tells a room, but does not
understand hints that only imply one. On any other text it picks an admissible action at random.
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
_TELLS = {
    "kitchen": "fridge",
    "bathroom": "toilet",
    "bedroom": "bed",
    "living room": "couch",
    "dining room": "table",
    "garage": "car",
    "study": "shelves",
}


@dataclass(frozen=True, slots=True)
class _Page:
    """What the actor makes of a household page."""

    target: str
    goal: str  # "on", "in" or "human"
    goal_name: str  # a receptacle, a room function, or what the human says about where it goes
    said: str
    room: str
    held: str
    rooms: dict[str, dict[str, str]]  # room number: {receptacle: objects on it}
    past: tuple[str, ...]


class Scripted:
    """A simple rule, spoilt by noise.

    Args:
        noise: probability, in [0, 1], of a random admissible action, drawn from ``decision.rng``.
    """

    def __init__(self, noise: float = 0.2) -> None:
        if not 0 <= noise <= 1:
            raise InvalidArgumentError(f"noise is a probability in [0, 1], received noise={noise!r}.")
        self.noise = float(noise)

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Answer every decision."""
        return [self._act(decision) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Scripted:
        return self

    def __repr__(self) -> str:
        return f"Scripted(noise={self.noise:g})"

    def _act(self, decision: Decision) -> str:
        offers = decision.admissible_actions or ()
        if offers and decision.rng.random() < self.noise:
            return _any(offers, decision.rng)
        page = _read(decision.observation)
        if page is not None:
            wish = _rule(page, offers)
            if wish is not None and (wish in offers or not offers):
                return wish
        return _any(offers, decision.rng) if offers else "Done!"


def _any(offers: Sequence[str], rng: np.random.Generator) -> str:
    return offers[int(rng.integers(len(offers)))]


def _read(text: str) -> _Page | None:
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
    said = earlier[1] if earlier else ""
    return _Page(target, goal, goal_name, said, here[1] or "", here[2] or "", rooms, tuple(past))


def _rule(page: _Page, offers: Sequence[str]) -> str | None:
    """The action that the plain rule wishes for, or None."""
    last = page.past[-1] if page.past else ""
    if last.startswith(f"Give the {page.target}") and "takes it" in last:
        return "Done!"
    if last.startswith(f"Put the {page.target} on the ") and (page.goal == "in" or f"on the {page.goal_name}." in last):
        return "Done!"
    if page.held and page.held != page.target:
        return next((offer for offer in offers if offer.startswith("Put ")), None)
    return _bring(page, offers) if page.held else _find(page, offers)


def _visits(page: _Page, room: str) -> int:
    return sum(f"Room {room}." in line and line.startswith(("Go to", "Explore")) for line in page.past)


def _go(page: _Page, rooms: Sequence[str]) -> str | None:
    """Go to, or explore, the least visited of ``rooms``; after two looks at each, give up."""
    fewest = min(rooms, key=lambda room: _visits(page, room), default=None)
    if fewest is None or _visits(page, fewest) > 1:
        return None
    return f"Explore Room {fewest}" if fewest == page.room else f"Go to Room {fewest}"


def _rooms_for(page: _Page, text: str) -> list[str]:
    """The rooms whose furniture tells the function that ``text`` names."""
    return [
        number
        for number, things in page.rooms.items()
        for function, tell in _TELLS.items()
        if function in text and tell in things
    ]


def _find(page: _Page, offers: Sequence[str]) -> str | None:
    take = f"Pick up the {page.target}"
    if take in offers:
        return take
    mapped = [number for number, things in page.rooms.items() if any(page.target in held for held in things.values())]
    return _go(page, _rooms_for(page, page.said)) or _go(page, mapped) or _go(page, list(page.rooms))


def _bring(page: _Page, offers: Sequence[str]) -> str | None:
    if page.goal == "human":
        give = f"Give the {page.target} to the human"
        if give in offers:
            return give
        if "Follow the human" in offers and not _rooms_for(page, page.goal_name):
            return "Follow the human"
        return _go(page, _rooms_for(page, page.goal_name)) or _go(page, list(page.rooms))
    if page.goal == "on":
        put = f"Put the {page.target} on the {page.goal_name}"
        if put in offers:
            return put
        having = [number for number, things in page.rooms.items() if page.goal_name in things]
        return _go(page, having) or _go(page, list(page.rooms))
    right = _rooms_for(page, page.goal_name)
    if page.room in right:
        return next((offer for offer in offers if offer.startswith("Put ")), f"Explore Room {page.room}")
    return _go(page, right) or _go(page, list(page.rooms))
