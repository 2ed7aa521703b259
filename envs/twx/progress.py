"""The progress of a game of CookingWorld, from what the player knows."""

from __future__ import annotations

from typing import NamedTuple

from selfreg_gym.envs.twx.knowledge import Knowledge
from selfreg_gym.envs.twx.recipe import CUTS, DEVICES, Need, noun, read_recipe, states
from selfreg_gym.envs.twx.simulator import Reply

__all__ = ["Progress", "progress", "visible"]


class Progress(NamedTuple):
    """The progress of a game of CookingWorld. Before the recipe was read, all counts are 0.

    Attributes:
        read: whether the recipe was read.
        book: whether something can be read here.
        missing: number of ingredients of the recipe that are not carried.
        here: number of those that are visible here.
        elsewhere: number of those that were seen in another room.
        cuts: number of ingredients, carried or not, that must still be cut.
        cooks: number of ingredients that must still be cooked.
        device: whether a device for one of the carried ingredients is here.
        known_device: whether such a device was seen in another room.
        knife: 2 if it is carried, 1 if it was seen, 0 if not.
        prepare, eat: whether the meal can be prepared or eaten now.
    """

    read: bool
    book: bool
    missing: int
    here: int
    elsewhere: int
    cuts: int
    cooks: int
    device: bool
    known_device: bool
    knife: int
    prepare: bool
    eat: bool


def visible(known: Knowledge, room: str) -> set[str]:
    """The things in a room and the items on or in them, as last seen."""
    scene = known.rooms.get(room)
    found: set[str] = set()
    for one in scene.things if scene is not None else ():
        found.add(one.name)
        found.update(known.contents.get((room, one.name), ()) if one.closed else one.items or ())
    return found


def progress(known: Knowledge, reply: Reply) -> Progress:
    """The progress of a game of CookingWorld."""
    recipe: tuple[Need, ...] = next((read for text in known.notes.values() if (read := read_recipe(text))), ())
    carried = {noun(item): states(item) for item in known.carried}
    rooms = {room: visible(known, room) for room in known.rooms}
    here = rooms.get(known.room, set())
    others = set().union(*(names for room, names in rooms.items() if room != known.room))
    now = {noun(item): states(item) for names in (*rooms.values(), known.carried) for item in names}
    missing = [need.name for need in recipe if need.name not in carried]
    undone = {need.name: need.states - now.get(need.name, frozenset()) for need in recipe}
    devices = {DEVICES[one] for name in carried for one in undone.get(name, ()) if one in DEVICES}
    return Progress(
        read=bool(recipe),
        book=any(action.startswith("read ") for action in reply.actions),
        missing=len(missing),
        here=len({noun(item) for item in here}.intersection(missing)),
        elsewhere=len({noun(item) for item in others}.intersection(missing)),
        cuts=sum(one in CUTS for left in undone.values() for one in left),
        cooks=sum(one in DEVICES for left in undone.values() for one in left),
        device=bool(devices & here),
        known_device=bool(devices & others),
        knife=2 if "knife" in carried else int("knife" in here | others),
        prepare="prepare meal" in reply.actions,
        eat="eat meal" in reply.actions,
    )
