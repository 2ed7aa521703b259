"""The feature key and the sub-goal of a state: what matters of it, without the names of one task."""

from __future__ import annotations

from collections.abc import Callable

from selfreg_gym.envs.twx.knowledge import Knowledge
from selfreg_gym.envs.twx.recipe import noun, read_recipe, states
from selfreg_gym.envs.twx.simulator import Reply

__all__ = ["feature_key", "subgoal"]


def feature_key(game: str, known: Knowledge, reply: Reply) -> str:
    """A description of the state with a few hundred values over all tasks of a game."""
    closed = sum(one.closed for one in known.scene.things)
    doors = sum(one.closed for one in known.scene.exits)
    new = sum(
        known.ways.get((known.room, one.direction), "") not in known.rooms
        for one in known.scene.exits
        if not one.closed
    )
    here = f"closed {min(closed, 2)} doors {min(doors, 2)} new {min(new, 2)} rooms {min(len(known.rooms), 6)}"
    return f"{game} {_OWN[game](known, reply)} {here} score {int(4 * reply.score)}"


def subgoal(game: str, known: Knowledge, reply: Reply) -> str:
    """The current sub-goal, by what the player knows."""
    return _SUBGOALS[game](known, reply)


def _visible(known: Knowledge) -> set[str]:
    names = {one.name for one in known.scene.things}
    return names | {item for one in known.scene.things for item in one.items or ()}


def _cooking_counts(known: Knowledge) -> tuple[int, int, int] | None:
    """Number of missing ingredients, of those visible here, and of undone preparations; None before the recipe."""
    recipe = next((read for text in known.notes.values() if (read := read_recipe(text))), ())
    if not recipe:
        return None
    carried = {noun(item): states(item) for item in known.carried}
    visible = {noun(item) for item in _visible(known)}
    missing = [need for need in recipe if need.name not in carried]
    undone = sum(len(need.states - carried.get(need.name, frozenset())) for need in recipe if need.name in carried)
    return len(missing), sum(need.name in visible for need in missing), undone


def _cooking(known: Knowledge, reply: Reply) -> str:
    counts = _cooking_counts(known)
    if counts is None:
        return f"unread book {any(action.startswith('read ') for action in reply.actions)}"
    missing, here, undone = counts
    knife = "held" if "knife" in known.carried else "here" if "knife" in _visible(known) else "away"
    device = sum(one.name in ("stove", "oven", "barbeque") for one in known.scene.things)
    meal = "eat" if "eat meal" in reply.actions else "prepare" if "prepare meal" in reply.actions else "no"
    return f"missing {missing} here {min(here, 1)} undone {min(undone, 3)} knife {knife} device {device} meal {meal}"


def _cooking_subgoal(known: Knowledge, reply: Reply) -> str:
    counts = _cooking_counts(known)
    if "eat meal" in reply.actions or "prepare meal" in reply.actions:
        return "eat"
    if counts is None:
        return "read"
    return "gather" if counts[0] else "prepare"


def _coin(known: Knowledge, reply: Reply) -> str:
    return f"here {'take coin' in reply.actions}"


def _tidying(known: Knowledge, reply: Reply) -> str:
    loose = sum(action.startswith("take ") for action in reply.actions)
    return f"held {min(len(known.carried), 4)} loose {min(loose, 3)}"


def _mapped(known: Knowledge, reply: Reply) -> str:
    coin = "held" if "coin" in known.carried else "here" if "take coin" in reply.actions else "away"
    return f"read {bool(known.notes)} coin {coin} box {'put coin in box' in reply.actions}"


_OWN: dict[str, Callable[[Knowledge, Reply], str]] = {
    "cookingworld": _cooking,
    "coin": _coin,
    "twc": _tidying,
    "mapreader": _mapped,
}
_SUBGOALS: dict[str, Callable[[Knowledge, Reply], str]] = {
    "cookingworld": _cooking_subgoal,
    "coin": lambda known, reply: "take" if "take coin" in reply.actions else f"room {len(known.rooms)}",
    "twc": lambda known, reply: "put" if known.carried else "find",
    "mapreader": lambda known, reply: "bring" if "coin" in known.carried else "fetch",
}
