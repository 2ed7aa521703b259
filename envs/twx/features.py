"""The feature key, the feature vector and the sub-goal of a state, without names that belong to one task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.envs.twx.knowledge import Knowledge
from selfreg_gym.envs.twx.progress import Progress, progress
from selfreg_gym.envs.twx.simulator import Reply

__all__ = ["VECTOR", "feature_key", "subgoal", "vector"]


def feature_key(game: str, known: Knowledge, reply: Reply) -> str:
    """A description of the state with a few hundred values over all tasks of a game."""
    here = f"unopened {min(_unopened(known), 2)} new {min(_unseen_ways(known), 2)}"
    return f"{game} {_OWN[game](known, reply)} {here}"


def _unopened(known: Knowledge) -> int:
    """Number of containers here that were never seen open."""
    return sum(one.closed and (known.room, one.name) not in known.contents for one in known.scene.things)


def _unseen_ways(known: Knowledge) -> int:
    """Number of exits here whose room was not visited."""
    return sum(known.ways.get((known.room, one.direction), "") not in known.rooms for one in known.scene.exits)


VECTOR = (
    *("read", "book", "missing", "here", "elsewhere", "cuts", "cooks", "device", "known_device", "knife"),
    *("prepare", "eat", "score", "left", "rooms", "unopened", "unseen_ways", "all_unseen_ways", "carried", "takes"),
)
"""The entries of the feature vector: those of :class:`Progress`, 0 in other games than CookingWorld, then the score,
the share of the steps that are left, the numbers of visited rooms, of containers here that were never seen open, of
exits here and anywhere whose room was not visited, of carried things, and of things that can be taken here."""


def vector(game: str, known: Knowledge, reply: Reply, left: float) -> NDArray[np.float32]:
    """What the player knows as numbers, float32 ``(20,)``, without names. Counts are divided by 4.

    Args:
        game: TextWorldExpress's name of the game.
        known: what the player knows.
        reply: what the game shows.
        left: the share of the steps that are left.
    """
    now = progress(known, reply) if game == "cookingworld" else (0,) * len(Progress._fields)
    flags = [float(value) if isinstance(value, bool) else value / 4 for value in now]
    everywhere = sum(
        known.ways.get((room, one.direction), "") not in known.rooms
        for room, scene in known.rooms.items()
        for one in scene.exits
    )
    takes = sum(action.startswith("take ") for action in reply.actions)
    counts = (len(known.rooms), _unopened(known), _unseen_ways(known), everywhere, len(known.carried), takes)
    return np.array([*flags, reply.score, left, *(count / 4 for count in counts)], np.float32)


def subgoal(game: str, known: Knowledge, reply: Reply) -> str:
    """The current sub-goal, from what the player knows."""
    return _SUBGOALS[game](known, reply)


def _cooking(known: Knowledge, reply: Reply) -> str:
    now = progress(known, reply)
    if now.eat or now.prepare or not now.read:
        return "eat" if now.eat else "prepare" if now.prepare else f"unread book {now.book}"
    device = "here" if now.device else "known" if now.known_device else "unknown"
    seen = "here" if now.here else "known" if now.elsewhere else "unknown"
    return f"missing {now.missing} {seen} cuts {now.cuts} knife {now.knife} cooks {now.cooks} device {device}"


def _cooking_subgoal(known: Knowledge, reply: Reply) -> str:
    now = progress(known, reply)
    if now.eat or now.prepare:
        return "eat"
    return "read" if not now.read else "gather" if now.missing else "prepare"


def _coin(known: Knowledge, reply: Reply) -> str:
    return f"here {'take coin' in reply.actions} rooms {min(len(known.rooms), 12)}"


def _tidying(known: Knowledge, reply: Reply) -> str:
    loose = sum(action.startswith("take ") for action in reply.actions)
    return f"held {min(len(known.carried), 4)} loose {min(loose, 3)} score {int(4 * reply.score)}"


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
