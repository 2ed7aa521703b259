"""The feature vector of a situation: positions, distances and clocks, as far as the agent knows them.

Positions are numbers of cells divided by 6. Counts and clocks are shares. Before the entries of an object there is one
that says whether the object is in view; if it is not, the entries are 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.envs.babyai.mission import KINDS
from selfreg_gym.envs.babyai.situation import Pose, Situation
from selfreg_gym.envs.babyai.view import Seen, View

__all__ = ["ENTRIES", "vector"]

ENTRIES: dict[str, str] = {
    "go_to": "1 if the next instruction is of this kind",
    "open": "1 if the next instruction is of this kind",
    "pick_up": "1 if the next instruction is of this kind",
    "put_next_to": "1 if the next instruction is of this kind",
    "remaining": "instructions that are not done, divided by 4",
    "relative": "1 if the next description has a direction from the start",
    "holds_target": "1 if the agent carries an object as the instruction describes it",
    "holds_other": "1 if it carries another object",
    "seen": "1 if the object that the agent has to reach is in view",
    "ahead": "how far ahead it is",
    "right": "how far to the right it is (negative: to the left)",
    "distance": "its distance, the sum of both",
    "next_to": "1 if it is next to the agent",
    "facing": "1 if the agent faces it",
    "beside": "1 if the carried object can be put down next to it",
    "other_seen": "1 if the object next to which another one belongs is in view, and the latter is not carried",
    "other_ahead": "how far ahead it is",
    "other_right": "how far to the right it is",
    "free_ahead": "free cells ahead",
    "free_left": "free cells to the left",
    "free_right": "free cells to the right",
    "wall_ahead": "1 if a wall is directly ahead",
    "object_ahead": "1 if an object (not a door) is directly ahead",
    "door_ahead": "1 if a closed or locked door is directly ahead",
    "door_seen": "1 if a closed or locked door is in view",
    "door_ahead_cells": "how far ahead the nearest of them is",
    "door_right_cells": "how far to the right it is",
    "objects": "objects in view, divided by 8",
    "start_ahead": "how far ahead the start is",
    "start_right": "how far to the right the start is",
    "turned": "quarter turns from the direction at the start, 0 to 3, divided by 3",
    "steps_left": "steps left, as a share of the limit",
    "few_left": "1 - steps left / 10, at least 0",
}
"""The entries in their order, and their meaning."""

_CELLS = 6.0


def vector(
    now: Situation, view: View, *, pose: Pose, start: Pose, steps_left: int, max_steps: int
) -> NDArray[np.float32]:
    """The feature vector of a situation, float32 ``(len(ENTRIES),)``."""
    one, found, other = now.instruction, now.found, now.other
    wanted = None if one is None else one.place if now.bring else one.target
    ahead, right = (found.ahead, found.right) if found else (0, 0)
    near = view.ahead[1] if view.ahead[0] == 0 else ""
    doors = [seen for seen in view.objects if seen.type == "door" and seen.state != "open"]
    back = pose.offset(start.x, start.y)
    values = [
        *(float(one is not None and one.kind == kind) for kind in KINDS),
        now.remaining / 4,
        float(wanted is not None and wanted.loc is not None),
        float(now.hold == "target"),
        float(now.hold == "other"),
        float(found is not None),
        ahead / _CELLS,
        right / _CELLS,
        (ahead + abs(right)) / _CELLS,
        float(ahead + abs(right) == 1),
        float((ahead, right) == (1, 0)),
        float(now.beside),
        *_place(other),
        view.ahead[0] / _CELLS,
        view.left[0] / _CELLS,
        view.right[0] / _CELLS,
        float(near == "wall"),
        float(isinstance(near, Seen) and near.type != "door"),
        float(isinstance(near, Seen) and near.type == "door"),
        *_place(doors[0] if doors else None),
        len(view.objects) / 8,
        back[0] / _CELLS,
        back[1] / _CELLS,
        (pose.direction - start.direction) % 4 / 3,
        steps_left / max(1, max_steps),
        max(0.0, 1 - steps_left / 10),
    ]
    return np.array(values, np.float32)


def _place(seen: Seen | None) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0) if seen is None else (1.0, seen.ahead / _CELLS, seen.right / _CELLS)
