"""The human's walk from the start room to its destination, and the human's position along it.

A walk leads out of the first room, along the hall (possibly through a third room) and into the last one. It is a tuple
of legs ``(end, room, x_from, x_to)``: the distance walked at the end of the leg, its room (or ``HALL``), and its first
and last position in metres along the hall.
"""

from __future__ import annotations

from functools import cache, lru_cache

from selfreg_gym.envs.sif.houses import HALL, House, house

__all__ = [
    "DETOUR",
    "HUMAN_SPEED",
    "NO_WALK",
    "PACES",
    "Walk",
    "direction",
    "distance",
    "make_walk",
    "on_the_way",
    "place",
    "rooms_ahead",
]

HUMAN_SPEED = 0.08  # metres per low-level step
PACES = (0.85 * HUMAN_SPEED, 1.15 * HUMAN_SPEED)  # the pace of an episode is uniform between these
DETOUR = 0.25  # probability that the human walks through a third room, if there is one on the way
_OUT = 1.0  # metres from the human's first position to the door
_IN = 1.5  # metres from a door to the human's last position
Leg = tuple[float, int, float, float]
Walk = tuple[Leg, ...]
NO_WALK: Walk = ()


@cache
def on_the_way(home: int, start: int, goal: int) -> tuple[int, ...]:
    """The rooms whose doors are between those of ``start`` and ``goal``."""
    x = house(home).x
    low, high = sorted((x[start], x[goal]))
    return tuple(r for r in range(len(x)) if r not in (start, goal) and low < x[r] < high)


@cache
def make_walk(home: int, start: int, goal: int, through: int = HALL) -> Walk:
    """The walk in house ``home`` from ``start`` to ``goal``, ``through`` a third room or only the ``HALL``."""
    x = house(home).x
    parts = [(_OUT, start, x[start], x[start])]
    stops = (goal,) if through == HALL else (through, goal)
    here = start
    for stop in stops:
        parts.append((abs(x[stop] - x[here]), HALL, x[here], x[stop]))
        parts.append((_IN if stop == goal else 2 * _IN, stop, x[stop], x[stop]))
        here = stop
    walk, end = [], 0.0
    for length, room, x_from, x_to in parts:
        end += length
        walk.append((end, room, x_from, x_to))
    return tuple(walk)


def place(walk: Walk, walked: float) -> tuple[int, float]:
    """The room (or ``HALL``) and the position along the hall after ``walked`` metres."""
    begin = 0.0
    for end, room, x_from, x_to in walk:
        if walked < end:
            return room, x_from + (x_to - x_from) * (walked - begin) / (end - begin)
        begin = end
    return walk[-1][1], walk[-1][3]


def direction(walk: Walk, walked: float) -> int:
    """The human's direction along the hall, +1 or -1 (in the last room, the last direction)."""
    heading = 1
    for end, _, x_from, x_to in walk:
        if x_from != x_to:
            heading = 1 if x_to > x_from else -1
            if walked < end:
                return heading
    return heading


def distance(home: House, room: int, x: float, other: int, other_x: float) -> float:
    """Metres along the path from a robot in ``room`` (or in the ``HALL`` at ``x``) to a human at another place."""
    if other == room != HALL:
        return 0.0
    depth, own_x = (0.0, x) if room == HALL else (home.depth[room], home.x[room])
    return depth + abs(own_x - other_x) + (0.0 if other == HALL else 1.0)


@lru_cache(maxsize=65536)
def rooms_ahead(home: House, start: int, room: int, x: float, heading: int) -> tuple[int, ...]:
    """The possible destinations of a human from ``start`` that was seen in ``room`` at ``x`` with this heading."""
    return tuple(r for r in range(home.rooms) if r != start and (r == room or (home.x[r] - x) * heading > 0.1))
