"""Recipes of CookingWorld: the ingredients, and how each must be cut and cooked."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["CUTS", "DEVICES", "Need", "noun", "read_recipe", "states"]

CUTS = {"sliced": "slice", "diced": "dice", "chopped": "chop"}
"""State -> the verb that brings an ingredient into it; the knife must be carried."""
DEVICES = {"fried": "stove", "roasted": "oven", "grilled": "barbeque"}
"""State -> the device that brings an ingredient into it."""

_STATES = ("raw", "uncut", "fried", "roasted", "grilled", "sliced", "diced", "chopped")
_VERBS = {
    "slice": "sliced", "dice": "diced", "chop": "chopped", "fry": "fried", "roast": "roasted", "grill": "grilled",
}  # fmt: skip
_DIRECTION = re.compile(r"(\w+) the (.+)")


class Need(NamedTuple):
    """An ingredient, and the states that it must be brought into."""

    name: str
    states: frozenset[str]


def noun(name: str) -> str:
    """The name of a thing in actions: without the words for its state."""
    return _split(name)[0]


def states(name: str) -> frozenset[str]:
    """The states in the name of a thing: how it is cut and cooked; "raw" does not count."""
    return _split(name)[1]


@lru_cache(maxsize=10_000)
def _split(name: str) -> tuple[str, frozenset[str]]:
    words = name.split()
    found = set()
    while len(words) > 1 and words[0] in _STATES:
        found.add(words.pop(0))
    return " ".join(words), frozenset(found - {"raw", "uncut"})


@lru_cache(maxsize=10_000)
def read_recipe(text: str) -> tuple[Need, ...]:
    """The ingredients of a cookbook's text; empty if it is another text."""
    head, _, directions = text.partition("Directions:")
    _, _, ingredients = head.partition("Ingredients:")
    wanted: dict[str, set[str]] = {line.strip(): set() for line in ingredients.splitlines() if line.strip()}
    for line in directions.splitlines():
        found = _DIRECTION.fullmatch(line.strip())
        if found and found[1] in _VERBS and found[2] in wanted:
            wanted[found[2]].add(_VERBS[found[1]])
    return tuple(Need(name, frozenset(needed)) for name, needed in wanted.items())
