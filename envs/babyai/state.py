"""The exact state of a level as plain values: for snapshots and for the state key.

Steps of a level are deterministic, so the state consists of the objects, the agent, the number of steps, and what the
checks of the mission remember. Objects are numbered in their order in the grid after the reset. No step makes a new
object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selfreg_gym.envs.babyai.mission import Mission

__all__ = ["LevelState", "StateReader"]

_NOTHING, _UNSET = -1, -2


@dataclass(frozen=True, slots=True)
class LevelState:
    """The state of a level.

    Attributes:
        agent: x, y, direction.
        steps: steps so far.
        carried: number of the carried object, or -1.
        cells: ``(cell, object)`` for each object in the grid.
        doors: ``(open, locked)`` for each door.
        places: for each object, the position that ``minigrid`` has noted for it, or None.
        checks: what the check of each instruction remembers: the object carried before, and positions of the objects.
        done: what the check of each sequence remembers of its two parts.
    """

    agent: tuple[int, int, int]
    steps: int
    carried: int
    cells: tuple[tuple[int, int], ...]
    doors: tuple[tuple[bool, bool], ...]
    places: tuple[tuple[int, int] | None, ...]
    checks: tuple[tuple[int, tuple[tuple[tuple[int, int], ...], ...]], ...]
    done: tuple[tuple[bool | str, bool | str], ...]


class StateReader:
    """Reads and writes the state of one level.

    Args:
        level: the level, just after its reset.
        mission: its mission.
    """

    def __init__(self, level: Any, mission: Mission) -> None:
        self._level, self._mission = level, mission
        found = [one for one in level.grid.grid if one is not None and one.type != "wall"]
        if level.carrying is not None:
            found.append(level.carrying)
        for one in found:  # it grows: a box can contain an object
            found += [] if one.contains is None else [one.contains]
        self._objects = found
        self._numbers = {id(one): number for number, one in enumerate(found)}
        self._doors = [one for one in found if one.type == "door"]
        self._first = self._layout()

    def read(self) -> LevelState:
        """The current state."""
        level = self._level
        return LevelState(
            (*_plain(level.agent_pos), int(level.agent_dir)),  # type: ignore[misc]
            int(level.step_count),
            self._number(level.carrying),
            self._cells(),
            tuple((one.is_open, one.is_locked) for one in self._doors),
            tuple(None if one.cur_pos is None else _plain(one.cur_pos) for one in self._objects),
            tuple(self._remembered(one) for one in self._mission.instructions),
            tuple((one.a_done, one.b_done) for one in self._mission.sequences),
        )

    def write(self, state: LevelState) -> None:
        """Bring the level into a state that :meth:`read` returned, of this level or of another one of the same task."""
        level, objects = self._level, self._objects
        x, y, direction = state.agent
        level.agent_pos, level.agent_dir, level.step_count = (x, y), direction, state.steps
        level.carrying = self._object(state.carried)
        grid = level.grid.grid
        for cell, one in enumerate(grid):
            if one is not None and one.type != "wall":
                grid[cell] = None
        for cell, number in state.cells:
            grid[cell] = objects[number]
        for door, flags in zip(self._doors, state.doors, strict=True):
            door.is_open, door.is_locked = flags
        for one, place in zip(objects, state.places, strict=True):
            one.cur_pos = place
        for instruction, (before, places) in zip(self._mission.instructions, state.checks, strict=True):
            if before != _UNSET:
                instruction.verifier.preCarrying = self._object(before)
            for description, positions in zip(_descriptions(instruction), places, strict=True):
                description.obj_poss = list(positions)
        for sequence, done in zip(self._mission.sequences, state.done, strict=True):
            sequence.a_done, sequence.b_done = done

    def reach(self) -> tuple[Any, ...]:
        """What one action can change besides the position: the object ahead, its state, the carried object."""
        level = self._level
        x, y = level.front_pos
        ahead = level.grid.get(int(x), int(y))
        opened = (ahead.is_open, ahead.is_locked) if ahead is not None and ahead.type == "door" else None
        return self._number_or_wall(ahead), opened, self._number(level.carrying)

    def layout_key(self) -> str:
        """The objects that have moved and the doors whose state has changed since the reset; empty at the reset.

        It changes only by the actions pickup, drop and toggle.
        """
        changed = enumerate(zip(self._layout(), self._first, strict=True))
        return ",".join(f"{number}:{now}" for number, (now, first) in changed if now != first)

    def memory_key(self) -> str:
        """What the checks of the mission remember and the rest of the state does not determine."""
        carried = self._level.carrying
        parts = []
        for number, one in enumerate(self._mission.instructions):
            before = getattr(one.verifier, "preCarrying", carried)
            if before is not carried:
                parts.append(f"{number}:{self._number(before)}")
        parts += [f"{_mark(one.a_done)}{_mark(one.b_done)}" for one in self._mission.sequences]
        return ",".join(parts)

    def positions_key(self) -> str:
        """The positions that the checks of the mission have noted, for objects that are no longer there.

        A check notes them at the reset and after the action drop, so only pickup, drop and toggle change this key.
        """
        where = {number: cell for cell, number in self._cells()}
        width = self._level.grid.width
        parts = []
        for number, one in enumerate(self._mission.instructions):
            for which, description in enumerate(_descriptions(one)):
                true = {where[k] for k in map(self._number, description.obj_set) if k in where}
                noted = {y * width + x for x, y in map(_plain, description.obj_poss)}
                if true != noted:
                    parts.append(f"{number}.{which}:{'/'.join(map(str, sorted(noted - true)))}")
        return ",".join(parts)

    def _layout(self) -> list[str]:
        """For each object its cell, "held" or "gone" (an opened box, or what is in a box), and a door's state."""
        where = {self._number(self._level.carrying): "held", **{number: str(cell) for cell, number in self._cells()}}
        return [
            f"{where.get(number, 'gone')}{_door_mark(one) if one.type == 'door' else ''}"
            for number, one in enumerate(self._objects)
        ]

    def _cells(self) -> tuple[tuple[int, int], ...]:
        numbers = self._numbers
        return tuple(
            (cell, numbers[id(one)])
            for cell, one in enumerate(self._level.grid.grid)
            if one is not None and one.type != "wall"
        )

    def _remembered(self, instruction: Any) -> tuple[int, tuple[tuple[tuple[int, int], ...], ...]]:
        verifier = instruction.verifier
        before = self._number(verifier.preCarrying) if hasattr(verifier, "preCarrying") else _UNSET
        return before, tuple(tuple(map(_plain, one.obj_poss)) for one in _descriptions(instruction))

    def _number(self, one: Any) -> int:
        return _NOTHING if one is None else self._numbers[id(one)]

    def _number_or_wall(self, one: Any) -> int:
        return _NOTHING if one is None else self._numbers.get(id(one), _UNSET)

    def _object(self, number: int) -> Any:
        return None if number == _NOTHING else self._objects[number]


def _descriptions(instruction: Any) -> list[Any]:
    return [instruction.target] if instruction.place is None else [instruction.target, instruction.place]


def _plain(position: Any) -> tuple[int, int]:
    return int(position[0]), int(position[1])


def _mark(done: bool | str) -> str:
    return "d" if done == "success" else "f" if done == "failure" else "-"


def _door_mark(door: Any) -> str:
    return "o" if door.is_open else "l" if door.is_locked else "c"
