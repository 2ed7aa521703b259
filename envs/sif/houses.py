"""Ten procedurally generated houses: rooms with hidden functions along a hall.

A house is a hall with rooms on both sides. The door of a room is ``x`` metres along the hall, and the room's middle is
``depth`` metres behind the door; the path between two rooms leads through the hall. A room has three or four different
receptacles ("spots"). The *function* of a room (kitchen, bathroom, ...) is never printed; it can be inferred from the
furniture. A fixed seed makes the houses the same in every process.

Source: object categories, room functions and speeds are those of Situated Instruction Following (arXiv 2407.12061). The
houses are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

__all__ = ["FUNCTIONS", "HALL", "NO_PUT", "OBJECTS", "RECEPTACLES", "ROBOT_SPEED", "SEEN", "UNSEEN", "House", "house"]

RECEPTACLES = (
    "chair", "bed", "shelves", "toilet", "bench", "bathtub", "fridge", "couch", "counter", "table", "cabinet", "car",
)  # fmt: skip
OBJECTS = ("basket", "book", "bowl", "cup", "hat", "plate", "shoe", "stuffed toy")
NO_PUT = frozenset(RECEPTACLES.index(name) for name in ("bench", "fridge", "shelves"))

# function: (receptacles of every such room, the first of which identifies the function; optional receptacles)
FURNITURE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kitchen": (("fridge", "counter"), ("cabinet", "table", "chair")),
    "bathroom": (("toilet", "bathtub"), ("cabinet", "counter")),
    "bedroom": (("bed", "cabinet"), ("shelves", "chair", "table")),
    "living room": (("couch", "table"), ("chair", "shelves", "cabinet")),
    "dining room": (("table", "chair"), ("cabinet", "bench")),
    "garage": (("car", "bench"), ("shelves", "cabinet")),
    "study": (("shelves", "chair"), ("table", "cabinet")),
}
FUNCTIONS = tuple(FURNITURE)

HALL = -1  # room index of a position in the hall
ROBOT_SPEED = 0.17  # metres per low-level step
SEEN = (0, 1, 2, 3, 4, 5)
UNSEEN = (6, 7, 8, 9)

_SEED = 240712061
_SIZES = (6, 5, 6, 5, 7, 6, 6, 5, 7, 5)
_ALWAYS = ("kitchen", "bathroom", "bedroom", "living room")
_SOMETIMES = ("dining room", "garage", "study", "bedroom", "bathroom")


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """A house. Rooms are 0-based here and 1-based in text; a spot is one receptacle in one room.

    Attributes:
        index: number of the house, 0 to 9.
        function: ``(rooms,)`` index into ``FUNCTIONS``.
        x: ``(rooms,)`` position of the door, in metres along the hall.
        depth: ``(rooms,)`` metres from the door to the middle of the room.
        spots: ``(rooms,)`` the spots of each room; the first identifies the room's function.
        spot_room: ``(spots,)`` the room of each spot.
        spot_kind: ``(spots,)`` index into ``RECEPTACLES``; different within a room.
        steps: ``(rooms, rooms)`` low-level steps from middle to middle.
    """

    index: int
    function: tuple[int, ...]
    x: tuple[float, ...]
    depth: tuple[float, ...]
    spots: tuple[tuple[int, ...], ...]
    spot_room: tuple[int, ...]
    spot_kind: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]

    @property
    def rooms(self) -> int:
        """Number of rooms."""
        return len(self.function)

    def steps_from_hall(self, x: float, room: int) -> int:
        """Low-level steps from the hall at ``x`` metres to the middle of ``room``."""
        return max(1, round((abs(x - self.x[room]) + self.depth[room]) / ROBOT_SPEED))

    def steps_to_hall(self, room: int, x: float, to: float) -> int:
        """Low-level steps to the hall at ``to`` metres, from ``room`` or from the hall at ``x`` metres."""
        metres = abs(x - to) if room == HALL else self.depth[room] + abs(self.x[room] - to)
        return round(metres / ROBOT_SPEED)

    def spot(self, room: int, kind: int) -> int:
        """The spot of receptacle ``kind`` in ``room``, or -1."""
        for s in self.spots[room]:
            if self.spot_kind[s] == kind:
                return s
        return -1

    def rooms_with(self, kind: int) -> tuple[int, ...]:
        """The rooms with a receptacle of ``kind``."""
        return tuple(self.spot_room[s] for s, k in enumerate(self.spot_kind) if k == kind)


@cache
def house(index: int) -> House:
    """Build house ``index`` (0 to 9)."""
    rng = np.random.default_rng((_SEED, index))
    rooms = _SIZES[index]
    extra = rng.permutation(len(_SOMETIMES))[: rooms - len(_ALWAYS)]
    names = [*_ALWAYS, *(_SOMETIMES[i] for i in extra)]
    names = [names[i] for i in rng.permutation(rooms)]
    doors = sorted(2.5 * i + float(rng.uniform(-0.8, 0.8)) for i in range(rooms))
    order = rng.permutation(rooms)  # room numbers are not in the order of the doors
    x = tuple(round(doors[i], 2) for i in order)
    depth = tuple(round(float(rng.uniform(3.0, 5.0)), 2) for _ in range(rooms))
    spots: list[tuple[int, ...]] = []
    spot_room: list[int] = []
    spot_kind: list[int] = []
    for room, name in enumerate(names):
        always, optional = FURNITURE[name]
        more = rng.permutation(len(optional))[: 1 if rng.random() < 0.75 else 2]
        kinds = [*always, *(optional[i] for i in more)]
        spots.append(tuple(range(len(spot_kind), len(spot_kind) + len(kinds))))
        spot_room += [room] * len(kinds)
        spot_kind += [RECEPTACLES.index(kind) for kind in kinds]
    steps = tuple(
        tuple(0 if a == b else round((depth[a] + abs(x[a] - x[b]) + depth[b]) / ROBOT_SPEED) for b in range(rooms))
        for a in range(rooms)
    )
    return House(
        index=index,
        function=tuple(FUNCTIONS.index(name) for name in names),
        x=x,
        depth=depth,
        spots=tuple(spots),
        spot_room=tuple(spot_room),
        spot_kind=tuple(spot_kind),
        steps=steps,
    )
