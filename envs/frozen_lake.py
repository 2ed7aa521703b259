"""``selfreg/FrozenLake-v0``: Gymnasium's FrozenLake as text, with the exact model of its intervention problem.

:meth:`FrozenLake.intervention_model` is computed from ``FrozenLakeEnv.P`` of Gymnasium, without episodes. With
``clock=False`` the models that are fitted to collected episodes converge to it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, generate_random_map

from selfreg_gym.envs._toy_dynamics import Dynamics
from selfreg_gym.envs._toy_text import ToyText

__all__ = ["FrozenLake"]

IDS = ("selfreg/FrozenLake-v0",)
ENTRY = "FrozenLake"

MOVES = ("left", "down", "right", "up")
_STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))
_SIDES = ("to the left", "below", "to the right", "above")
_WORDS = {"S": "ice", "F": "ice", "H": "a hole", "G": "the goal", "#": "the edge"}
_ENDS = {"G": "You are at the goal.", "H": "You fell into a hole."}
_LONG = 2000
_SIZES = {"train": 100, "val": 50, "test": 100}


class _Lake(NamedTuple):
    """A map: its rows, its dynamics, and the texts of its n cells."""

    rows: tuple[str, ...]
    dynamics: Dynamics
    around: tuple[str, ...]
    texts: tuple[str, ...]
    ends: tuple[str, ...]


class FrozenLake(ToyText):
    """Cross a frozen lake to the goal without falling into a hole; the ice is slippery.

    ## Description
    Task 0 is Gymnasium's 4x4 map. The other tasks are random 4x4 and 5x5 maps on which the goal can be reached. On
    slippery ice a move goes in its direction with probability 1/3 and in each of the two perpendicular directions with
    probability 1/3. The expert knows the moves left: it maximises the probability of success and, where that is equal,
    arrives as early as possible. With ``clock=False`` it moves as if 2000 moves were left, by the cell alone.

    ## Action Space
    Text: ``left``, ``down``, ``right`` or ``up``. Any other text is an invalid action and ends the episode as a
    failure.

    ## Observation Space
    Text: the map with the current cell, the four neighbouring cells, and the number of moves left.

    ## Rewards
    1 at the goal, otherwise 0.

    ## Starting State
    The top left corner of map ``i`` (``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``); without it,
    the map is drawn at random. ``seed`` determines the slips.

    ## Episode End
    Terminated at the goal (success), in a hole or by an invalid action (failure). Truncated after ``max_steps`` moves
    (failure). ``info["steps_left"]`` is the number of moves left.

    ## Arguments
    * ``slippery`` (bool, default True): whether the ice is slippery.
    * ``max_steps`` (int, default 100): moves per episode.
    * ``split``: ``"train"`` (default, 100 maps), ``"val"`` (50) or ``"test"`` (100); no map of ``"val"`` or ``"test"``
      is in another split.
    * ``clock`` (bool, default True): whether the expert knows the moves left.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    MOVES = MOVES
    action_kinds = MOVES
    split_sizes = _SIZES

    def __init__(
        self,
        *,
        slippery: bool = True,
        max_steps: int = 100,
        split: str = "train",
        clock: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.slippery = bool(slippery)
        super().__init__(split=split, max_steps=max_steps, clock=clock, render_mode=render_mode)

    def _load(self, task: int) -> None:
        self._lake = _lake(self.split, task, self.slippery)
        self._prefix = "lake-" if self.split == "train" else f"lake-{self.split}-"
        size = len(self._lake.rows[0])
        self._named = f"{self._prefix}{task}", f"{size}x{size}"
        super()._load(task)

    def _best(self, task: int) -> np.ndarray:
        return _best(self.split, task, self.slippery, self.max_steps if self.clock else None)

    def _dynamics_of(self, task: int) -> Dynamics:
        return _lake(self.split, task, self.slippery).dynamics

    def _first(self, task: int) -> int:
        return 0

    def _world(self, task: int) -> Any:
        return task

    def _key(self, task: int, state: int) -> str:
        return f"{self._prefix}{task}/{state}"

    def _feature(self) -> str:
        return self._lake.around[self._state]

    def _name(self) -> tuple[str, str]:
        return self._named

    def _text(self) -> str:
        if self._over:
            return self._lake.ends[self._state]
        return f"{self._lake.texts[self._state]}{self._left} moves are left. Go left, down, right or up?"


@cache
def _best(split: str, task: int, slippery: bool, moves: int | None) -> np.ndarray:
    """The best moves: with up to ``moves`` moves left, ``(moves + 1, n)``, or by the cell alone, ``(n,)``."""
    dynamics = _lake(split, task, slippery).dynamics
    return dynamics.timed(_LONG)[_LONG] if moves is None else dynamics.timed(moves)


@cache
def _maps(split: str) -> tuple[tuple[str, ...], ...]:
    """The maps of a split. Those of ``val`` and ``test`` are different, and different from all of ``train``."""
    if split == "train":
        return (
            ("SFFF", "FHFH", "FFFH", "HFFG"),
            *(tuple(generate_random_map(size=4 + i % 2, p=0.8, seed=i)) for i in range(1, _SIZES["train"])),
        )
    used = set(_maps("train"))
    found: list[tuple[str, ...]] = []
    seed = 1000
    while len(found) < _SIZES["val"] + _SIZES["test"]:
        one = tuple(generate_random_map(size=4 + len(found) % 2, p=0.8, seed=seed))
        seed += 1
        if one not in used:
            used.add(one)
            found.append(one)
    return tuple(found[: _SIZES["val"]] if split == "val" else found[_SIZES["val"] :])


@cache
def _lake(split: str, task: int, slippery: bool) -> _Lake:
    """A map with its dynamics, from Gymnasium's ``P``, and its texts."""
    rows = _maps(split)[task]
    width, flat = len(rows[0]), "".join(rows)
    P = FrozenLakeEnv(desc=list(rows), is_slippery=slippery).P
    dynamics = Dynamics(P, lambda reward: reward > 0, closed=[cell for cell, kind in enumerate(flat) if kind in "GH"])

    def kind_at(row: int, column: int) -> str:
        return rows[row][column] if 0 <= row < len(rows) and 0 <= column < width else "#"

    around, texts, ends = [], [], []
    for cell in range(len(flat)):
        row, column = divmod(cell, width)
        beside = [_WORDS[kind_at(row + down, column + right)] for down, right in _STEPS]
        drawn = f"{flat[:cell]}@{flat[cell + 1 :]}"
        picture = "\n".join(drawn[i : i + width] for i in range(0, len(drawn), width))
        around.append(", ".join(f"{word} {side}" for word, side in zip(beside, _SIDES, strict=True)))
        texts.append(
            "You (@) cross a frozen lake to the goal (G). The ice (F, S) is slippery; H is a hole.\n"
            f"{picture}\nYou are in row {row + 1}, column {column + 1}, with {around[-1]}. "
        )
        ends.append(f"{picture}\n{_ENDS.get(flat[cell], 'The game is over.')}")
    return _Lake(rows, dynamics, tuple(around), tuple(texts), tuple(ends))
