"""The experts: a planner for each game, which knows the true state and works from any state of an episode."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from selfreg_gym.envs.twx.recipe import CUTS, DEVICES, Need, noun, read_recipe, states
from selfreg_gym.envs.twx.simulator import Reply
from selfreg_gym.envs.twx.survey import Survey, World

__all__ = ["PLANNERS", "Situation", "plan"]

_FIRST_CHOICE = "look around"  # changes nothing


@dataclass(frozen=True, slots=True)
class Situation:
    """The state that a planner acts on: the true world, the survey, what the game shows, and the task's description."""

    world: World
    survey: Survey
    reply: Reply
    task: str


def plan(game: str, situation: Situation) -> str:
    """The next action in a game. Where the game can no longer be won, it is an action without effect."""
    actions = situation.reply.actions
    for action in PLANNERS[game](situation):
        if action in actions:
            return action
    return _FIRST_CHOICE if _FIRST_CHOICE in actions else actions[0]


def _unread(now: Situation) -> Iterable[str]:
    """The action of reading a text that is here and has not been read."""
    for action in now.reply.actions:
        if action.startswith("read ") and action.removeprefix("read ") not in now.world.known.notes:
            yield action


def _fetch(now: Situation, wanted: Sequence[str]) -> Iterable[str]:
    """The next action to get the nearest of the wanted items: take it, open its container, or go to its room."""
    places, (distance, _) = now.world.places(), now.world.distances()
    found = [
        (distance[room], item, room, thing)
        for item in wanted
        for room, thing in places.get(item, ())
        if room in distance
    ]
    for _, item, room, thing in sorted(found):
        if room != now.world.room:
            yield now.world.towards(room) or ""
        elif thing.closed and thing.name != item:
            yield f"open {thing.name}"
        else:
            yield from _make_room(now)
            yield f"take {noun(item)}"


def _make_room(now: Situation) -> Iterable[str]:
    """The action of putting down something that is not needed, if no more can be carried."""
    limit = re.search(r"maximum capacity is (\d+)", now.reply.inventory)
    carried = now.world.known.carried
    if limit is None or len(carried) < int(limit[1]):
        return
    needed = _needed(now)
    for item in carried:
        if noun(item) not in needed:
            yield from (action for action in now.reply.actions if action.startswith(f"put {noun(item)} in "))


def _needed(now: Situation) -> set[str]:
    return {need.name for need in _recipe(now)} | {"knife", "coin"}


def _recipe(now: Situation) -> tuple[Need, ...]:
    """The recipe, from the text that was read."""
    return next((read for text in now.world.known.notes.values() if (read := read_recipe(text))), ())


def _cook(now: Situation) -> Iterable[str]:
    """Read the cookbook, gather and prepare the ingredients, prepare the meal and eat it."""
    yield "eat meal"
    yield from _unread(now)
    recipe = _recipe(now)
    if not recipe:
        for room, _ in now.world.places().get("cookbook", ()):
            yield now.world.towards(room) or ""
        yield from _fetch(now, ("cookbook",))
        return
    carried = {noun(item): states(item) for item in now.world.known.carried}
    errands: list[str] = []  # rooms to go to
    for need in recipe:
        if need.name not in carried:
            continue
        for state in sorted(need.states - carried[need.name]):
            if state in CUTS:
                yield f"{CUTS[state]} {need.name}"
            else:
                yield f"cook {need.name} in {DEVICES[state]}"
                errands.append(DEVICES[state])
    missing = {need.name for need in recipe if need.name not in carried}
    cuts = any(state in CUTS for need in recipe for state in need.states - carried.get(need.name, frozenset()))
    if cuts and "knife" not in carried:
        missing.add("knife")
    places = now.world.places()
    wanted = [item for item in places if noun(item) in missing]
    here = [item for item in wanted if any(room == now.world.room for room, _ in places[item])]
    yield from _fetch(now, here)
    if not wanted and not errands:
        yield "prepare meal"
        for room, _ in places.get("stove", ()):  # the meal is prepared in the kitchen
            yield now.world.towards(room) or ""
        return
    yield from _nearest(now, [*wanted, *errands])


def _nearest(now: Situation, names: Iterable[str]) -> Iterable[str]:
    """The next move to the nearest room with one of the things."""
    places, (distance, _) = now.world.places(), now.world.distances()
    rooms = {(distance[room], room) for name in names for room, _ in places.get(name, ()) if room in distance}
    for _, room in sorted(rooms):
        yield now.world.towards(room) or ""


def _find_coin(now: Situation) -> Iterable[str]:
    """Go to the coin by the shortest way and take it."""
    yield from _fetch(now, ("coin",))


def _tidy_up(now: Situation) -> Iterable[str]:
    """Bring each object to the place where the solution of TextWorldExpress puts it, the nearest first."""
    world, targets = now.world, _targets(now.survey)
    distance = world.distances()[0]
    for item in world.known.carried:
        room, container = targets.get(item, ("", ""))
        if room == world.room:
            closed = any(one.name == container and one.closed for one in world.things(room))
            yield f"open {container}" if closed else f"put {item} in {container}"
    places = world.places()
    loose = [
        item
        for item, target in targets.items()
        if item not in world.known.carried
        and any((room, thing.name) != target and thing.name != target[1] for room, thing in places.get(item, ()))
    ]
    yield from _fetch(now, [item for item in loose if any(room == world.room for room, _ in places[item])])
    errands = {(distance[room], room) for item in loose for room, _ in places[item] if room in distance}
    errands |= {(distance[targets[item][0]], targets[item][0]) for item in world.known.carried if item in targets}
    for _, room in sorted(errands):
        yield world.towards(room) or ""


def _targets(survey: Survey) -> dict[str, tuple[str, str]]:
    """Object -> (room, container) where the solution of TextWorldExpress puts it."""
    room, targets = survey.first, {}
    for action in survey.gold:
        if action.startswith("move "):
            room = survey.ways.get(room, {}).get(action.removeprefix("move "), room)
        elif found := re.fullmatch(r"put (.+) in (.+?)", action):
            targets[found[1]] = (room, found[2])
    return targets


_ERRAND = re.compile(r"take the (.+?) that is located in the (.+?), and put it into the (.+?) found in the (.+?)\.")


def _deliver(now: Situation) -> Iterable[str]:
    """Read the map, fetch the thing and put it into the box."""
    yield from _unread(now)
    errand = _ERRAND.search(now.task)
    if errand is None:
        return
    item, _, box, room = errand.groups()
    if item in now.world.known.carried:
        yield f"put {item} in {box}" if room == now.world.room else now.world.towards(room) or ""
    else:
        yield from _fetch(now, (item,))


PLANNERS: dict[str, Callable[[Situation], Iterable[str]]] = {
    "cookingworld": _cook,
    "coin": _find_coin,
    "twc": _tidy_up,
    "mapreader": _deliver,
}
"""Game -> the actions of its expert in order of preference."""
