"""TextWorld's challenges: the settings of each, and how they differ between the splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.utils.arguments import check_name

__all__ = ["CHALLENGES", "SPLITS", "Challenge", "game_seed"]

SPLITS: Mapping[str, int] = {
    "train": 20_000,
    "val-seen": 2_000,
    "val-unseen": 2_000,
    "test-seen": 2_000,
    "test-unseen": 2_000,
    "actor-train": 100_000,
}
"""Name of a split -> its number of games. No two splits have a seed of a game in common."""

_SEED = 2_018


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge.

    Attributes:
        name: its name in TextWorld.
        settings: setting -> default value.
        choices: setting -> allowed values.
        unseen: setting -> the amount that the unseen splits add to it.
        notes: the command whose reply stays in all later observations, or None.
    """

    name: str
    settings: Mapping[str, Any]
    choices: Mapping[str, tuple[Any, ...]]
    unseen: Mapping[str, int] = field(default_factory=dict)
    notes: str | None = None

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The default settings, with the given values in their place.

        Raises:
            UnknownNameError: no such setting.
            InvalidArgumentError: a value that is not allowed.
        """
        for name, value in given.items():
            check_name(f"setting of {self.name}", name, self.settings)
            if type(value) is not type(self.settings[name]) or value not in self.choices[name]:
                raise InvalidArgumentError(
                    f"{name} of {self.name} must be one of {_range(self.choices[name])}, received {name}={value!r}."
                )
        return {**self.settings, **given}

    def of_split(self, settings: Mapping[str, Any], split: str, seed: int) -> dict[str, Any]:
        """TextWorld's settings of one game of a split."""
        made = dict(settings)
        if split.endswith("unseen"):
            for name, more in self.unseen.items():
                made[name] = min(made[name] + more, self.choices[name][-1])
        if self.name == "tw-cooking":
            foods = {"val-unseen": "valid", "test-unseen": "test"}.get(split, "train")
            made |= {"recipe_seed": seed, "split": foods}
        if self.name == "tw-simple":
            made["test"] = split == "test-unseen"
        return made


def _range(values: tuple[Any, ...]) -> str:
    if len(values) > 12:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(repr, values))


_BOTH = (False, True)

CHALLENGES: Mapping[str, Challenge] = {
    "cooking": Challenge(
        "tw-cooking",
        {"recipe": 1, "take": 1, "go": 6, "open": True, "cook": True, "cut": True, "drop": False},
        {"recipe": (1, 2, 3, 4, 5), "take": (0, 1, 2, 3, 4, 5), "go": (1, 6, 9, 12),
         "open": _BOTH, "cook": _BOTH, "cut": _BOTH, "drop": _BOTH},
        notes="examine cookbook",
    ),
    "coin_collector": Challenge(
        "tw-coin_collector", {"level": 105}, {"level": tuple(range(1, 301))}, unseen={"level": 3}
    ),
    "treasure_hunter": Challenge(
        "tw-treasure_hunter", {"level": 13}, {"level": tuple(range(1, 31))}, unseen={"level": 3}
    ),
    "simple": Challenge(
        "tw-simple",
        {"rewards": "dense", "goal": "brief"},
        {"rewards": ("dense", "balanced", "sparse"), "goal": ("detailed", "brief", "none")},
    ),
}  # fmt: skip
"""Name of a challenge -> its description."""


def game_seed(challenge: str, split: str, index: int) -> int:
    """The seed of a game, a hash of (challenge, split, index) with 31 bits; two games can rarely have the same one."""
    parts = (_SEED, list(CHALLENGES).index(challenge), list(SPLITS).index(split), index)
    return int(np.random.SeedSequence(parts).generate_state(1)[0]) >> 1
