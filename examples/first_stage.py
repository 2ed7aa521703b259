"""The first stage of an actor's training: decisions that are lookups in the observation, with shortened observations.

The right action often repeats a word of the observation: the number of a room, an ingredient of a recipe, the place
of an object. A small Llama learns such a lookup only after some 10,000 examples; until then it assigns equal
probability to all candidates. Shortened observations are cheap and consist mostly of lookups:

* SIF: the human's words, the admissible actions and the robot's position, without map and history;
* CookingWorld: the recipe and the inventory, at the decisions that prepare an ingredient;
* BabyAI: the objects in view, at the decisions in which the object of the mission is one of them.

In SIF, training on whole observations alone gave a success rate of 0.17 after the same amount of training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["lookups"]

# Actions of SIF that need no lookup, and the share of them that is kept in the first stage.
_NO_LOOKUP, _NO_LOOKUP_SHARE = ("Done!", "Follow", "Give"), 0.25

# The object of a mission of BabyAI.
_OBJECT = re.compile(r"\b(?:red|green|blue|purple|yellow|grey) (?:ball|box|key|door)\b")

# Actions of CookingWorld that follow from the recipe and the inventory.
_PREPARE = ("chop", "cook", "dice", "slice", "prepare", "eat")


def lookups(family: str, pairs: Sequence[tuple[str, str]], rng: np.random.Generator) -> list[tuple[str, str]]:
    """The decisions of the first stage, with shortened observations.

    Args:
        family: the tasks.
        pairs: ``(observation, action)`` of all decisions.
        rng: draws which decisions without a lookup are kept.
    """
    if family == "babyai":
        return [(objects_of(text), action) for text, action in pairs if len(_in_view(text)) == 1]
    if family == "cookingworld":
        return [(recipe_of(text), action) for text, action in pairs if action.startswith(_PREPARE)]
    return [
        (shortened(text), action)
        for text, action in pairs
        if not action.startswith(_NO_LOOKUP) or rng.random() < _NO_LOOKUP_SHARE
    ]


def shortened(text: str) -> str:
    """Return the part of an observation of SIF that begins with the human's words."""
    lines = text.split("\n")
    return "\n".join(lines[next(i for i, line in enumerate(lines) if "says:" in line or "said:" in line) :])


def objects_of(text: str) -> str:
    """Return the objects in view, what is ahead, what is carried, and the mission, of an observation of BabyAI."""
    kept = ("a ", "an ", "Ahead", "You carry", "Mission")
    return "\n".join(line for line in text.split("\n") if line.startswith(kept))


def _in_view(text: str) -> list[str]:
    """The lines of the object to which the agent goes next: the second one of a mission whose first is carried."""
    lines = text.split("\n")
    named = _OBJECT.findall(next(line for line in lines if line.startswith("Mission")))
    carried = any(line.startswith("You carry a") for line in lines)
    wanted = named[1:2] if carried and len(named) > 1 else named[:1]
    return [line for line in lines if line.startswith(("a ", "an ")) and wanted and wanted[0] in line]


def recipe_of(text: str) -> str:
    """Return the recipe and the inventory of an observation of CookingWorld."""
    lines = text.split("\n")
    recipe = [line for line in lines if line.startswith(("Ingredients", "Directions", "  "))]
    return "\n".join([*recipe, *(line for line in lines if line.startswith("Inventory"))])
