"""The expert: the solution of ScienceWorld from the start, also used after other actions as far as possible.

ScienceWorld solves a task only from its start. The expert remembers the next action of that solution. It goes on to the
following one when the action was carried out, and skips an action that is not possible in the right place (such as
opening an open door). If the player has left the right place, the expert returns there, by ``teleport to`` if that is
offered. After actions that change the world in another way (an ingredient was used up) its advice can be useless. At
the end of the solution its advice is ``look around``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Played", "advice", "place_of"]

_FILLERS = frozenset("a an the in on to of into inventory called".split())
_PLACE = re.compile(r"This (?:room|outside location) is called the ([^.\n]+)\.")
_GO = re.compile(r"(?:go|teleport) to (?:the )?(.+)")
_NOWHERE = "look around"


class Played(NamedTuple):
    """An action of the episode: its text, the actions that were offered, and the place where it was carried out."""

    action: str
    offered: tuple[str, ...]
    place: str


def place_of(look: str) -> str:
    """The name of the place in a description; empty if there is none."""
    found = _PLACE.search(look)
    return found[1].strip() if found else ""


def advice(solution: Sequence[str], played: Iterable[Played], offered: tuple[str, ...], place: str) -> str:
    """The expert's action.

    Args:
        solution: ScienceWorld's solution from the start.
        played: the actions of the episode.
        offered: the actions that are offered now.
        place: the place of the player.
    """
    played = list(played)
    start = played[0].place if played else place
    at = 0
    for step in played:
        at, action = _next(solution, at, step.offered, step.place, start)
        if action == step.action and at < len(solution) and _form(solution[at], step.offered) == action:
            at += 1
    return _next(solution, at, offered, place, start)[1]


def _next(solution: Sequence[str], at: int, offered: tuple[str, ...], place: str, start: str) -> tuple[int, str]:
    """The index in the solution at which it continues, and the action."""
    while at < len(solution):
        goal = _GO.fullmatch(solution[at])
        if goal and goal[1] == place:
            at += 1
            continue
        wanted = _place_before(solution, at, start)
        form = _form(solution[at], offered)
        if form is not None and (goal or wanted == place):
            return at, form
        back = next((f"{verb} to {goal[1] if goal else wanted}" for verb in ("go", "teleport")
                     if f"{verb} to {goal[1] if goal else wanted}" in offered), None)  # fmt: skip
        if (goal or wanted != place) and back is not None:
            return at, back
        at += 1
    return at, _NOWHERE if _NOWHERE in offered else offered[0]


def _place_before(solution: Sequence[str], at: int, start: str) -> str:
    """The place where the player is before action ``at`` of the solution."""
    for action in reversed(solution[:at]):
        if found := _GO.fullmatch(action):
            return found[1]
    return start


def _form(action: str, offered: tuple[str, ...]) -> str | None:
    """The offered action that means ``action``; None if there is none.

    Solutions name objects in other words than the offered actions: ``use thermometer in inventory on metal pot`` is
    offered as ``use thermometer on metal pot``, and ``focus on egg turtle in outside`` as ``focus on egg turtle``.
    """
    if action in offered:
        return action
    action = action.replace("examine ", "look at ", 1)
    verb, head, target = _parts(action)
    words = _words(action)
    found = [
        one
        for one, its in _with_words(offered)
        if its <= words and one.startswith(f"{verb} ") and its & head and (not target or its & target)
    ]
    return max(found, key=lambda one: (len(_words(one)), one), default=None)


@lru_cache(maxsize=64)
def _with_words(offered: tuple[str, ...]) -> tuple[tuple[str, frozenset[str]], ...]:
    return tuple((one, _words(one)) for one in offered)


@lru_cache(maxsize=65_536)
def _words(action: str) -> frozenset[str]:
    """The words that distinguish an action."""
    return frozenset(action.split()) - _FILLERS


def _parts(action: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """Verb, words of the object without its place, and words of the second object without its place."""
    verb, _, rest = action.partition(" ")
    rest = rest.removeprefix("on ").removeprefix("up ").removeprefix("down ").removeprefix("at ")
    first, *others = re.split(r" (?:to|on|into) ", rest)
    head, target = (part.partition(" in ")[0] for part in (first, others[-1] if others else ""))
    return verb, _words(head), _words(target)
