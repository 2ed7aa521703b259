"""Texts of the actions, when each is admissible, and parsing of answers.

An action is a pair of integers ``(op, argument)``. It is admissible under these conditions:

* ``Explore Room 3``: the robot is in Room 3.
* ``Go to Room 2``: always, for every room but the current one.
* ``Pick up the cup``: the hand is empty, and the map has a cup in the current room.
* ``Put the cup on the table``: the robot holds the cup, and the map has a table in the current room (no bench, fridge
  or shelves).
* ``Give the cup to the human``: the robot holds the cup, and sees or remembers the human in the current room.
* ``Follow the human``: the human is walking and not lost.
* ``Done!``: always.
"""

from __future__ import annotations

import re

from selfreg_gym.envs.sif.houses import HALL, NO_PUT, OBJECTS, RECEPTACLES
from selfreg_gym.envs.sif.world import SEEN, STOPPED, World

__all__ = ["DONE", "EXPLORE", "FOLLOW", "GIVE", "GO", "KINDS", "PICK", "PUT", "action_text", "admissible", "parse"]

EXPLORE, GO, PICK, PUT, GIVE, FOLLOW, DONE = range(7)
KINDS = ("Explore", "Go", "Pick", "Put", "Give", "Follow", "Done")
"""The first word of each kind of action, in the order of the numbers above."""
_MAX_ROOMS = 8

EXPLORE_TEXT = tuple(f"Explore Room {room + 1}" for room in range(_MAX_ROOMS))
GO_TEXT = tuple(f"Go to Room {room + 1}" for room in range(_MAX_ROOMS))
PICK_TEXT = tuple(f"Pick up the {name}" for name in OBJECTS)
PUT_TEXT = tuple(tuple(f"Put the {name} on the {on}" for on in RECEPTACLES) for name in OBJECTS)
GIVE_TEXT = tuple(f"Give the {name} to the human" for name in OBJECTS)
FOLLOW_TEXT = "Follow the human"
DONE_TEXT = "Done!"

# The argument of Put is the receptacle; its object is the held one.
_MEANING: dict[str, tuple[int, int]] = {
    **{text: (EXPLORE, room) for room, text in enumerate(EXPLORE_TEXT)},
    **{text: (GO, room) for room, text in enumerate(GO_TEXT)},
    **{text: (PICK, k) for k, text in enumerate(PICK_TEXT)},
    **{text: (PUT, on) for row in PUT_TEXT for on, text in enumerate(row)},
    **{text: (GIVE, k) for k, text in enumerate(GIVE_TEXT)},
    FOLLOW_TEXT: (FOLLOW, 0),
    DONE_TEXT: (DONE, 0),
}
_GO_FROM = {
    rooms: {here: tuple(GO_TEXT[r] for r in range(rooms) if r != here) for here in range(HALL, rooms)}
    for rooms in range(2, _MAX_ROOMS + 1)
}


def _plain(text: str) -> str:
    """The words of a text in lower case, joined by single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


_PLAIN = {_plain(text): text for text in _MEANING}
_ANSWER = re.compile(r"action\s*:\s*", re.IGNORECASE)


def action_text(world: World, op: int, argument: int) -> str:
    """The text of an action in the current state."""
    if op == PUT:
        return PUT_TEXT[world.held][argument]
    table = (EXPLORE_TEXT, GO_TEXT, PICK_TEXT, (), GIVE_TEXT, (FOLLOW_TEXT,), (DONE_TEXT,))[op]
    return table[argument]


def admissible(world: World) -> tuple[str, ...]:
    """The texts of all admissible actions in a fixed order; none when the episode is over."""
    if world.over:
        return ()
    home, room, held = world.house, world.room, world.held
    texts: list[str] = []
    if room != HALL:
        texts.append(EXPLORE_TEXT[room])
    texts += _GO_FROM[home.rooms][room]
    if room != HALL:
        belief = world.belief
        if held < 0:
            for spot in home.spots[room]:
                for k in belief[spot] or ():
                    if PICK_TEXT[k] not in texts:
                        texts.append(PICK_TEXT[k])
        else:
            row, kinds = PUT_TEXT[held], home.spot_kind
            texts += [row[kinds[s]] for s in home.spots[room] if belief[s] is not None and kinds[s] not in NO_PUT]
            if world.human_room == room and world.human_status >= STOPPED:
                texts.append(GIVE_TEXT[held])
    if world.human_status >= SEEN:
        texts.append(FOLLOW_TEXT)
    texts.append(DONE_TEXT)
    return tuple(texts)


def parse(answer: str, texts: tuple[str, ...]) -> tuple[str, tuple[int, int]] | None:
    """Return the text and the ``(op, argument)`` of the action named by an answer, or None if it is not in ``texts``.

    Case, white space and punctuation are ignored; of ``Reasoning: ... Action: ...`` only the first line after the last
    ``Action:`` is read.
    """
    if answer in texts:
        return answer, _MEANING[answer]
    line = _ANSWER.split(answer)[-1].strip().split("\n", 1)[0]
    text = _PLAIN.get(_plain(line))
    return (text, _MEANING[text]) if text is not None and text in texts else None
