"""Text of the observations. The wording differs from that of the original benchmark.

An observation consists of: the role of the reader, one line for each past action, the map, the command, the known
position of the human, the mapped places of the object and the receptacle, the admissible actions, and the robot's
position. Constant parts are cached per task, and a line of the map is formatted again only after a change.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from selfreg_gym.envs.sif.houses import FUNCTIONS, HALL, OBJECTS, RECEPTACLES
from selfreg_gym.envs.sif.human import rooms_ahead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selfreg_gym.envs.sif.episodes import Task
    from selfreg_gym.envs.sif.houses import House
    from selfreg_gym.envs.sif.world import World

__all__ = ["observation", "premap_lines", "reveal"]

_ROLE = "You are a household robot. Your map may be wrong.\n"
_ROLE_HUMAN = _ROLE + "Follow the human only if you do not know where the human goes.\n"

_CLEAR_HINT = (
    "I took the {object} to the {room}.",
    "I left the {object} in the {room}.",
    "You will find the {object} in the {room}.",
)
_VAGUE_HINT = (
    "I had the {object} with me when I {activity}.",
    "I took the {object} along when I {activity}.",
    "I put the {object} down somewhere when I {activity}.",
)
_ACTIVITIES = {
    "kitchen": ("cooked lunch", "made some tea", "looked for a snack"),
    "bathroom": ("took a bath", "brushed my teeth", "washed my hands"),
    "bedroom": ("took a nap", "went to sleep", "got up in the morning"),
    "living room": ("watched television", "sat with our guests", "watched a film"),
    "dining room": ("had dinner", "ate breakfast", "had a meal"),
    "garage": ("washed the car", "drove home", "repaired my bike"),
    "study": ("did my homework", "wrote a letter", "read a paper"),
}
_CLEAR_GOING = ("I am going to the {room}.", "I will be in the {room}.", "I will wait in the {room}.")
_VAGUE_GOING = ("I am going for a walk.", "I have something to do.", "I will not stay here.")


def _name(kind: int) -> str:
    return f"a {OBJECTS[kind]}"


def _with_article(kind: int) -> str:
    return RECEPTACLES[kind] if RECEPTACLES[kind] == "shelves" else f"a {RECEPTACLES[kind]}"


def _list(items: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return items[0] if items else ""
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


@cache
def _place(room: int) -> str:
    return "the hall" if room == HALL else f"Room {room + 1}"


@lru_cache(maxsize=65536)
def _things(kinds: tuple[int, ...], contents: tuple[tuple[int, ...], ...]) -> str:
    """``a table with a cup, a chair and a bed``."""
    return _list(
        [
            _with_article(k) + (f" with {_list([_name(o) for o in objects])}" if objects else "")
            for k, objects in zip(kinds, contents, strict=True)
        ]
    )


@lru_cache(maxsize=65536)
def _legend(room: int, kinds: tuple[int, ...], contents: tuple[tuple[int, ...], ...]) -> str:
    """A line of the map: ``Room 2: table with cup, chair, bed.``"""
    return f"Room {room + 1}: " + ", ".join(
        [
            RECEPTACLES[k] + (f" with {_list([OBJECTS[o] for o in objects])}" if objects else "")
            for k, objects in zip(kinds, contents, strict=True)
        ]
    ) + "."  # fmt: skip


def _line(home: House, belief: Sequence[tuple[int, ...] | None], room: int) -> str:
    known = [s for s in home.spots[room] if belief[s] is not None]
    return _legend(room, tuple([home.spot_kind[s] for s in known]), tuple([belief[s] or () for s in known]))


@lru_cache(maxsize=8192)
def premap_lines(task: Task) -> tuple[str, ...]:
    """``(rooms,)`` lines of the map at the beginning of the episode."""
    return tuple(_line(task.house, task.premap, room) for room in range(task.house.rooms))


# -------------------------------------------------------------------- reports of actions

SLIPPED = "It slips out of your hand."
NOT_THERE = "It is not here any more."
PUT_DOWN = "It is there now."
GIVEN = "The human takes it."
HUMAN_GONE = "The human is not here any more."
HUMAN_LOST = "Follow the human. You lose the human."
INVALID = "You cannot do that."


def reveal(world: World, spots: Sequence[int]) -> str:
    """The report of spots seen in the current room."""
    kinds = world.house.spot_kind
    return f"You see {_things(tuple([kinds[s] for s in spots]), tuple([world.truth[s] for s in spots]))}."


def picked(receptacle: int) -> str:
    """The report of a successful pick."""
    return f"You take it from the {RECEPTACLES[receptacle]}."


def human_followed(room: int, *, stopped: bool, entered: bool) -> str:
    """The report of following, which contains the action."""
    if stopped:
        return f"Follow the human to {_place(room)}, where the human stops."
    how = "along" if room == HALL else "into" if entered else "through"
    return f"Follow the human {how} {_place(room)}."


def human_here(*, stopped: bool) -> str:
    """The report of noticing the human in the current room."""
    return " The human is standing here." if stopped else " The human is walking here."


# -------------------------------------------------------------------- the observation


@lru_cache(maxsize=8192)
def _frame(task: Task) -> tuple[str, str]:
    """The role of the reader, and the command."""
    thing, phrase = OBJECTS[task.target], task.phrase
    room = FUNCTIONS[task.hint] if task.hint >= 0 else ""
    if task.kind == "s_hum":
        table = _CLEAR_GOING if task.clear else _VAGUE_GOING
        going = table[phrase % len(table)].format(room=room)
        return _ROLE_HUMAN, f'In {_place(task.start)} the human says: "Bring me the {thing}. {going}"\n'
    before = ""
    if task.kind == "s_obj":
        table = _CLEAR_HINT if task.clear else _VAGUE_HINT
        activities = _ACTIVITIES[room]
        hint = table[phrase % len(table)].format(
            object=thing, room=room, activity=activities[phrase // len(table) % len(activities)]
        )
        before = f'Earlier the human said: "{hint}"\n'
    where = f"on the {RECEPTACLES[task.goal_arg]}" if task.goal == 0 else f"in the {FUNCTIONS[task.goal_arg]}"
    return _ROLE, f'{before}The human says: "Put the {thing} {where}."\n'


@lru_cache(maxsize=65536)
def _human_line(home: House, start: int, status: int, room: int, x: float, heading: int) -> str:
    """The known position of the human (the five values of ``status`` are in ``world``)."""
    place = _place(room)
    if status == 2:
        return f"The human is standing in {place}.\n"
    ahead = [str(r + 1) for r in rooms_ahead(home, start, room, x, heading) if r != room]
    going = f", maybe to Room {_list(ahead, 'or')}" if ahead else ""
    if status == 3:
        return f"The human is walking in {place}{going}.\n"
    if status == 4:
        return f"You do not see the human, who was walking in {place}{going}.\n"
    return f"You have lost the human, who was walking in {place}{going}.\n"


@lru_cache(maxsize=4096)
def _where(room: int, held: int) -> str:
    return f"You are in {_place(room)} and hold {_name(held) if held >= 0 else 'nothing'}."


@lru_cache(maxsize=4096)
def _rooms(kind: str, rooms: tuple[int, ...]) -> str:
    return f"the {kind} {'are' if kind == 'shelves' else 'is'} in Room {_list([str(r + 1) for r in rooms], 'or')}"


def _mapped(world: World) -> str:
    """The mapped places of the object (until it is held) and of the receptacle of the command.

    The prompt of the original benchmark repeats the command near its end; this line replaces the repetition.
    """
    task, home, belief = world.task, world.house, world.belief
    seek = task.target if world.held != task.target else -1
    goal = task.goal_arg if task.goal == 0 else -1
    objects, receptacles = [], []
    for room, spots in enumerate(home.spots):
        for s in spots:
            lying = belief[s]
            if lying is not None:
                if seek in lying and room not in objects:
                    objects.append(room)
                if home.spot_kind[s] == goal and room not in receptacles:
                    receptacles.append(room)
    parts = []
    if seek >= 0 and objects:
        parts.append(_rooms(OBJECTS[seek], tuple(objects)))
    if receptacles:
        parts.append(_rooms(RECEPTACLES[goal], tuple(receptacles)))
    shown = f"On your map {_list(parts)}.\n" if parts else ""
    return f"The {OBJECTS[seek]} is not on your map.\n{shown}" if seek >= 0 and not objects else shown


def observation(world: World, history: str, admissible: tuple[str, ...]) -> str:
    """The observation. ``history`` has one line for each past action."""
    task, lines = world.task, world.lines
    if world.stale:
        for room in world.stale:
            lines[room] = _line(world.house, world.belief, room)
        world.stale.clear()
    role, command = _frame(task)
    human = ""
    if world.human_status:
        human = _human_line(
            world.house, task.start, world.human_status, world.human_room, round(world.human_x, 1), world.heading
        )
    can = f"You can: {', '.join(admissible)}" if admissible else "The episode is over."
    past = f"So far:\n{history}" if history else ""
    map_text = "\n".join(lines)
    return f"{role}{past}Your map:\n{map_text}\n{command}{human}{_mapped(world)}{can}\n{_where(world.room, world.held)}"
