"""The games of TextWorldExpress that are tasks: their parameters, and their tasks by split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from selfreg_gym.envs.twx.simulator import Start
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.utils.arguments import check_name

__all__ = ["GAMES", "SPLITS", "Game", "parameters_of", "start_of"]


class Game(NamedTuple):
    """A game: its title, its parameters with default values, and whether its expert needs the solution of the game."""

    title: str
    parameters: Mapping[str, int]
    gold: bool = False


GAMES: dict[str, Game] = {
    "cookingworld": Game(
        "CookingWorld",
        {"numLocations": 5, "numIngredients": 2, "numDistractorItems": 4, "includeDoors": 1, "limitInventorySize": 1},
    ),
    "coin": Game(
        "CoinCollector",
        {"numLocations": 11, "numDistractorItems": 0, "includeDoors": 1, "limitInventorySize": 1},
    ),
    "twc": Game(
        "Commonsense",
        {"numLocations": 3, "numItemsToPutAway": 4, "includeDoors": 0, "limitInventorySize": 0},
        gold=True,
    ),
    "mapreader": Game(
        "MapReader",
        {
            "numLocations": 11,
            "maxDistanceApart": 4,
            "maxDistractorItemsPerLocation": 3,
            "includeDoors": 0,
            "limitInventorySize": 0,
        },
    ),
}
"""TextWorldExpress's name -> the game. ``gameSet``, a number of its fold of objects, keeps the package's default."""

SPLITS: dict[str, tuple[str, int, int]] = {
    "train": ("train", 0, 1_000),
    "actor-train": ("train", 100_000, 100_000),
    "val-seen": ("train", 30_000, 2_000),
    "test-seen": ("train", 40_000, 2_000),
    "val-unseen": ("dev", 10_000, 2_000),
    "test-unseen": ("test", 20_000, 2_000),
}
"""Split -> the fold of TextWorldExpress, the seed of its first task, and the number of its tasks.

``train`` are the seeds of the fold that the package lists; ``val-unseen`` and ``test-unseen`` begin with the listed
ones of the folds ``dev`` and ``test``, and go on.
"""


def start_of(split: str, index: int) -> Start:
    """The fresh game of a task."""
    fold, first, _ = SPLITS[split]
    return Start(first + index, fold)


def parameters_of(game: str, own: Mapping[str, Any] | None) -> dict[str, int]:
    """The parameters of a game: the default values, with those of ``own`` in their place.

    Raises:
        UnknownNameError: a parameter that the game does not have.
        InvalidArgumentError: a value is not a non-negative integer.
    """
    known = {**GAMES[game].parameters}
    if own is None:
        return known
    if not isinstance(own, Mapping):
        raise InvalidArgumentError(
            f"params must be a dict of parameters of the game such as {dict(known)}, received {shown(own)}."
        )
    for name, value in own.items():
        check_name(f"parameter of the game {game!r}", name, known)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000:
            raise InvalidArgumentError(
                f"a parameter of a game must be an integer from 0 to 1000, received {name}={shown(value)}."
            )
        known[name] = value
    return known
