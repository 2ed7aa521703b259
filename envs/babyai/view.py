"""What the agent sees: the objects in its field of view, and the free cells ahead, to the left and to the right.

The field of view has 7 x 7 cells; the agent stands in the middle of its nearest row. Walls and closed doors hide what
is behind them. The rules are those of ``minigrid``, whose image takes ten times longer to compute. A test compares the
two.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["SIZE", "Seen", "View", "look"]

SIZE = 7
_MIDDLE = SIZE // 2
_FORWARD = ((1, 0), (0, 1), (-1, 0), (0, -1))


class Seen(NamedTuple):
    """An object in view: its type and colour, the state of a door, and its position in cells from the agent.

    ``state`` is "open", "closed" or "locked" for a door, and empty otherwise. ``ahead`` is at least 0; ``right`` is
    negative to the left.
    """

    type: str
    colour: str
    state: str
    ahead: int
    right: int


class View(NamedTuple):
    """What the agent sees.

    Attributes:
        objects: all objects in view, nearest first.
        ahead, left, right: for each direction the number of free cells in view, and what is behind the last of them: an
            object, "wall", or "" for the end of the view.
    """

    objects: tuple[Seen, ...]
    ahead: tuple[int, Seen | str]
    left: tuple[int, Seen | str]
    right: tuple[int, Seen | str]


def look(level: Any) -> View:
    """What the agent of a level sees."""
    grid, width, height = level.grid.grid, level.grid.width, level.grid.height
    x, y = map(int, level.agent_pos)
    fx, fy = _FORWARD[level.agent_dir]
    rx, ry = -fy, fx
    found: dict[tuple[int, int], Seen | str | None] = {}  # visible cells: an object, "wall", or None if free
    visible = 1 << _MIDDLE  # one bit for each cell of a row
    for ahead in range(SIZE):
        cx, cy = x + ahead * fx - _MIDDLE * rx, y + ahead * fy - _MIDDLE * ry
        row, through = [], 0
        for i in range(SIZE):
            one = grid[cy * width + cx] if 0 <= cx < width and 0 <= cy < height else _OUTSIDE
            row.append(one)
            if one is None or one.see_behind():
                through |= 1 << i
            cx, cy = cx + rx, cy + ry
        visible, following = _spread(visible, through)
        for i, one in enumerate(row):
            if visible >> i & 1:
                right = i - _MIDDLE
                found[ahead, right] = None if one is None else _seen(one, ahead, right)
        visible = following
        if not visible:
            break
    found[0, 0] = None
    nearest = sorted((one for one in found.values() if isinstance(one, Seen)), key=_distance)
    return View(tuple(nearest), _free(found, 1, 0), _free(found, 0, -1), _free(found, 0, 1))


class _Outside:
    """What is outside the grid, which looks like a wall."""

    type = "wall"

    @staticmethod
    def see_behind() -> bool:
        return False


_OUTSIDE = _Outside()


def _seen(one: Any, ahead: int, right: int) -> Seen | str | None:
    if one.type == "wall":
        return "wall"
    if one.type == "floor":
        return None
    state = ""
    if one.type == "door":
        state = "open" if one.is_open else "locked" if one.is_locked else "closed"
    return Seen(one.type, one.color, state, ahead, right)


@lru_cache(maxsize=1 << 14)
def _spread(visible: int, through: int) -> tuple[int, int]:
    """The visible cells of a row and of the next row, given the cells of the row that are visible from the row before.

    Sight spreads from a cell that can be seen through to its neighbours in the row, first to the right, then to the
    left, and to the three cells ahead of these.
    """
    following = 0
    for i in range(SIZE - 1):
        if visible >> i & through >> i & 1:
            visible |= 1 << i + 1
            following |= 3 << i
    for i in range(SIZE - 1, 0, -1):
        if visible >> i & through >> i & 1:
            visible |= 1 << i - 1
            following |= 3 << i - 1
    return visible, following


def _free(found: dict[tuple[int, int], Seen | str | None], ahead: int, right: int) -> tuple[int, Seen | str]:
    """The number of free cells in a direction, and what is behind them."""
    n = 0
    while True:
        cell = (n + 1) * ahead, (n + 1) * right
        if cell not in found:
            return n, ""
        behind = found[cell]
        if behind is not None and not (isinstance(behind, Seen) and (behind.state == "open" or behind.type == "goal")):
            return n, behind
        n += 1


def _distance(seen: Seen) -> tuple[int, int, int]:
    return seen.ahead + abs(seen.right), seen.ahead, seen.right
