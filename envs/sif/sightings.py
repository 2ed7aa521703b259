"""What the robot knows about the human's walk: where it saw the human, and where it did not.

:func:`walks` weighs all walks of the human by these sightings.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from selfreg_gym.envs.sif.houses import HALL, House
from selfreg_gym.envs.sif.human import DETOUR, PACES, Walk, direction, distance, make_walk, on_the_way, place

__all__ = ["FAR", "PossibleWalk", "Sighting", "walks"]

FAR = -1.0
"""``Sighting.missed`` of a human that was too far away to be found again."""

_PACES = 16  # paces that are tried for each walk
_METRES = 0.05  # the robot sees a position along the hall to this accuracy


class Sighting(NamedTuple):
    """The human was seen at a place, or was not seen there.

    Attributes:
        time: low-level steps that the human had walked, or could have.
        room, x: the place: that of the human if it was seen, otherwise that of the robot.
        missed: 0 if the human was seen or certainly was not there; otherwise the probability of not noticing a human
            who was there, or ``FAR``.
        heading: direction of the human, 1 or -1; 0 if it was not seen.
        stopped: whether the human stood still.
    """

    time: int
    room: int
    x: float
    missed: float
    heading: int = 0
    stopped: bool = False


class PossibleWalk(NamedTuple):
    """A walk of the human, its destination and its pace (metres per low-level step)."""

    goal: int
    walk: Walk
    pace: float


@lru_cache(maxsize=4096)
def walks(
    home: House, start: int, goals: tuple[int, ...], sightings: tuple[Sighting, ...], catch_up: float
) -> tuple[tuple[PossibleWalk, ...], tuple[float, ...]]:
    """The walks from ``start`` to one of ``goals`` that agree with the sightings, and their probabilities.

    Every goal, the detour and the pace have the probabilities of the simulator. The pace takes values on a grid that is
    as fine as the sightings require. If no walk of the grid agrees with all sightings, the first ones are left out.

    Args:
        home, start, goals: the house, the human's first room, and the rooms to which it may go.
        sightings: in order of time.
        catch_up: metres within which a human out of sight is found again.
    """
    found: list[tuple[PossibleWalk, float]] = []
    for goal in goals:
        between = on_the_way(home.index, start, goal)
        routes = [(HALL, 1.0 - DETOUR if between else 1.0), *((room, DETOUR / len(between)) for room in between)]
        for through, chance in routes:
            walk = make_walk(home.index, start, goal, through)
            intervals = [PACES]
            for seen in sightings:
                if seen.heading:
                    intervals = _intersection(intervals, _paces(walk, seen))
            length = sum(high - low for low, high in intervals)
            for pace in _grid(intervals, length):
                weight = chance * length / _PACES
                for missed in sightings:
                    if not missed.heading:
                        weight *= _likelihood(home, walk, pace, missed, catch_up)
                found.append((PossibleWalk(goal, walk, pace), weight))
    total = sum(weight for _, weight in found)
    if total == 0 and sightings:
        return walks(home, start, goals, sightings[1:], catch_up)
    kept = [(one, weight / total) for one, weight in found if weight > 0]
    return tuple(one for one, _ in kept), tuple(weight for _, weight in kept)


def _paces(walk: Walk, seen: Sighting) -> list[tuple[float, float]]:
    """The intervals of the pace at which the human was where it was seen."""
    end = walk[-1][0]
    if seen.stopped:
        near = seen.room == walk[-1][1]
        return [(end / seen.time, np.inf)] if near and seen.time else []
    distances, begin = [], 0.0
    for stop, room, x_from, x_to in walk:
        low, high = begin, stop
        if x_from != x_to:
            at = begin + (seen.x - x_from) * (1 if x_to > x_from else -1)
            low, high = max(begin, at - _METRES), min(stop, at + _METRES)
        elif abs(seen.x - x_from) > _METRES:
            high = low
        if room == seen.room and low < high and direction(walk, (low + high) / 2) == seen.heading:
            distances.append((low, high))
        begin = stop
    if not seen.time:
        return [(0.0, np.inf)] if any(low == 0 for low, _ in distances) else []
    return [(low / seen.time, high / seen.time) for low, high in distances]


def _intersection(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> list[tuple[float, float]]:
    pairs = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return [(low, high) for low, high in pairs if low < high]


def _grid(intervals: list[tuple[float, float]], length: float) -> list[float]:
    """The midpoints of equal parts of the intervals."""
    found = []
    for part in range(_PACES if length > 0 else 0):
        rest = (part + 0.5) / _PACES * length
        for low, high in intervals:
            if rest <= high - low:
                found.append(low + rest)
                break
            rest -= high - low
    return found


def _likelihood(home: House, walk: Walk, pace: float, missed: Sighting, catch_up: float) -> float:
    """The probability of not seeing the human."""
    room, x = place(walk, min(walk[-1][0], pace * missed.time))
    if missed.missed == FAR:
        return float(distance(home, missed.room, missed.x, room, x) > catch_up)
    return missed.missed if room == missed.room else 1.0
