"""The situation of the agent: the next instruction, and the position of its object.

It contains only what the agent sees now and what it has done. Hidden parts of the grid, and what was seen earlier, are
not part of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from selfreg_gym.envs.babyai.mission import Instruction
from selfreg_gym.envs.babyai.view import Seen, View

__all__ = ["Pose", "Situation", "feature_key", "situation", "subgoal"]

_VECTORS = ((1, 0), (0, 1), (-1, 0), (0, -1))


class Pose(NamedTuple):
    """A position in cells (x to the east, y to the south), and a direction from 0 (east) to 3 (north), clockwise."""

    x: int
    y: int
    direction: int

    def offset(self, x: int, y: int) -> tuple[int, int]:
        """Cells ahead and to the right of this pose at which ``(x, y)`` is."""
        (fx, fy), dx, dy = _VECTORS[self.direction], x - self.x, y - self.y
        return dx * fx + dy * fy, dy * fx - dx * fy

    def cell(self, ahead: int, right: int) -> tuple[int, int]:
        """The position of a cell ahead and to the right."""
        fx, fy = _VECTORS[self.direction]
        return self.x + ahead * fx - right * fy, self.y + ahead * fy + right * fx


class Situation(NamedTuple):
    """The next instruction, and what the agent knows about its object.

    Attributes:
        instruction: the next instruction; None when all are done.
        remaining: number of instructions that are not done.
        hold: "nothing", "target" (an object as the instruction describes it) or "other".
        bring: whether the object is held and must be put next to another object. Then ``found`` is that other object.
        found: the nearest object in view that fits the description, or None.
        other: for "put next to" while the object is not held, the nearest object in view next to which it can be put.
        beside: with ``bring``: whether the cell ahead is free and next to a fitting object.
    """

    instruction: Instruction | None
    remaining: int
    hold: str
    bring: bool
    found: Seen | None
    other: Seen | None
    beside: bool


def situation(
    instructions: list[Instruction], view: View, carried: tuple[str, str] | None, pose: Pose, start: Pose
) -> Situation:
    """The situation.

    Args:
        instructions: those that are not done, in order.
        view: what the agent sees.
        carried: colour and type of the carried object.
        pose: where the agent is.
        start: where it started; directions in descriptions are from there.
    """
    if not instructions:
        return Situation(None, 0, "nothing" if carried is None else "other", False, None, None, False)
    first = instructions[0]
    hold = "nothing"
    if carried is not None:
        hold = "target" if _fits_words(first.target, carried[1], carried[0]) else "other"
    bring = first.kind == "put next to" and hold == "target"
    wanted = first.place if bring else first.target
    fitting = [seen for seen in view.objects if _fits(wanted, seen, pose, start)]
    other = None
    if first.place is not None and not bring:
        other = next((seen for seen in view.objects if _fits(first.place, seen, pose, start)), None)
    beside = bring and view.ahead[0] > 0 and any(abs(s.ahead - 1) + abs(s.right) == 1 for s in fitting)
    return Situation(first, len(instructions), hold, bring, fitting[0] if fitting else None, other, beside)


def _fits_words(description: Any, kind: str, colour: str) -> bool:
    return description.type in (None, kind) and description.color in (None, colour)


def _fits(description: Any, seen: Seen, pose: Pose, start: Pose) -> bool:
    if not _fits_words(description, seen.type, seen.colour):
        return False
    if description.loc is None:
        return True
    ahead, right = start.offset(*pose.cell(seen.ahead, seen.right))
    return {"front": ahead > 0, "behind": ahead < 0, "right": right > 0, "left": right < 0}[description.loc]


def subgoal(now: Situation) -> str:
    """The name of the current sub-goal, for instance "find the red ball"."""
    if now.instruction is None:
        return "all done"
    one = now.instruction
    if now.hold == "other" and one.kind in ("pick up", "put next to"):
        return "put down the other object"
    name = _description(one.place if now.bring else one.target)
    if now.found is None:
        return f"find {name}"
    if now.bring:
        return "put the object down" if now.beside else f"bring the object to {name}"
    if (now.found.ahead, now.found.right) == (1, 0) and one.kind != "go to":
        return f"{'pick up' if one.kind == 'put next to' else one.kind} {name}"
    return f"go to {name}"


def _description(description: Any) -> str:
    words = [word for word in (description.color, description.type or "object") if word]
    return f"the {' '.join(words)}"


def feature_key(now: Situation, view: View) -> str:
    """The situation in a few words: the kind of the instruction, what is held, where the object is, what is ahead."""
    if now.instruction is None:
        return "all done"
    ahead = view.ahead[1]
    what = ahead if isinstance(ahead, str) else f"{ahead.state} door" if ahead.type == "door" else "object"
    near = "free" if view.ahead[0] else what or "unseen"
    stage = f"{now.instruction.kind}{' bring' if now.bring else ''}"
    return f"{stage}|{min(now.remaining, 3)}|{now.hold}|{_where(now)}|{near}"


def _where(now: Situation) -> str:
    if now.beside:
        return "beside"
    seen = now.found
    if seen is None:
        return "unseen"
    if (seen.ahead, seen.right) == (1, 0):
        return "facing"
    side = "ahead" if seen.right == 0 else "left" if seen.right < 0 else "right"
    distance = seen.ahead + abs(seen.right)
    return f"{'next to' if distance == 1 else 'near' if distance <= 3 else 'far'} {side}"
