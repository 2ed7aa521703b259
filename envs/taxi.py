"""``selfreg/Taxi-v0``: Gymnasium's Taxi as text, with the exact model of its intervention problem."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.toy_text.taxi import MAP, TaxiEnv

from selfreg_gym.envs._toy_dynamics import Dynamics
from selfreg_gym.envs._toy_text import ToyText

__all__ = ["Taxi"]

IDS = ("selfreg/Taxi-v0",)
ENTRY = "Taxi"

MOVES = ("south", "north", "east", "west", "pick up", "drop off")
_PADS = "RGYB"
_ABOARD = 4
_SIZES = {"train": 200, "val": 50, "test": 50}


class _Town(NamedTuple):
    """The dynamics, the first states of all tasks in order, and per state its facts, its picture and its sentences."""

    dynamics: Dynamics
    first: tuple[int, ...]
    features: tuple[str, ...]
    pictures: tuple[str, ...]
    sentences: tuple[str, ...]


class Taxi(ToyText):
    """Fetch a passenger with a taxi and bring it to its destination before the moves run out.

    ## Description
    The town has 5 x 5 squares, walls that block some moves to the east and west, and four pads: R, G, Y and B. The
    passenger waits at one pad and wants to go to another one. Dynamics are those of Gymnasium's ``TaxiEnv.P``. A move
    against a wall or the edge, and picking up or dropping off at a wrong place, has no effect and costs a move. A
    passenger who is dropped off at another pad waits there. The expert knows the moves left: it maximises the
    probability of success and, where that is equal, arrives as early as possible.

    ## Action Space
    Text: ``south``, ``north``, ``east``, ``west``, ``pick up`` or ``drop off``. Any other text is an invalid action and
    ends the episode as a failure.

    ## Observation Space
    Text: the map with the taxi, the places of taxi, passenger and destination in words, and the number of moves left.

    ## Rewards
    1 for bringing the passenger to the destination, otherwise 0.

    ## Starting State
    Task ``i`` (``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``) is one of Gymnasium's 300 first
    states: the places of taxi and passenger, and the destination. Without the option, the task is drawn at random.
    ``seed`` determines the slips in the rain.

    ## Episode End
    Terminated when the passenger is dropped off at the destination (success), or by an invalid action (failure).
    Truncated after ``max_steps`` moves (failure). ``info["steps_left"]`` is the number of moves left.

    ## Arguments
    * ``rainy`` (bool, default False): a move goes in its direction with probability 0.8, and to each side with 0.1.
    * ``max_steps`` (int, default 24): moves per episode. In dry weather at most 18 are necessary.
    * ``split``: ``"train"`` (default, 200 tasks), ``"val"`` (50) or ``"test"`` (50); no task is in two splits.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    MOVES = MOVES
    action_kinds = MOVES
    split_sizes = _SIZES

    def __init__(
        self, *, rainy: bool = False, max_steps: int = 24, split: str = "train", render_mode: str | None = None
    ) -> None:
        self.rainy = bool(rainy)
        self._town = _town(self.rainy)
        super().__init__(split=split, max_steps=max_steps, clock=True, render_mode=render_mode)

    def _best(self, task: int) -> np.ndarray:
        return _best(self.rainy, self.max_steps)

    def _dynamics_of(self, task: int) -> Dynamics:
        return self._town.dynamics

    def _first(self, task: int) -> int:
        before = {"train": 0, "val": _SIZES["train"], "test": _SIZES["train"] + _SIZES["val"]}[self.split]
        return self._town.first[before + task]

    def _world(self, task: int) -> Any:
        return "town"

    def _key(self, task: int, state: int) -> str:
        return f"taxi/{state}"

    def _feature(self) -> str:
        return self._town.features[self._state]

    def _name(self) -> tuple[str, str]:
        return f"taxi-{self._first(self._task_index)}", "taxi"

    def _text(self) -> str:
        picture, sentence = self._town.pictures[self._state], self._town.sentences[self._state]
        if self._over:
            return f"{picture}\n{sentence} The game is over."
        return (
            "You drive a taxi (@). Fetch the passenger and drop it off at the destination. | and + are walls.\n"
            f"{picture}\n{sentence} {self._left} moves are left. Go south, north, east or west, pick up or drop off?"
        )


@cache
def _best(rainy: bool, max_steps: int) -> np.ndarray:
    return _town(rainy).dynamics.timed(max_steps)


@cache
def _town(rainy: bool) -> _Town:
    env = TaxiEnv(is_rainy=rainy)
    dynamics = Dynamics(env.P, lambda reward: reward > 0)
    first = np.random.default_rng(0).permutation(np.flatnonzero(env.initial_state_distrib))
    distance = (dynamics if not rainy else _town(False).dynamics).distance
    features, pictures, sentences = [], [], []
    for state in range(dynamics.states):
        row, column, passenger, destination = map(int, env.decode(state))
        lines = [list(line) for line in MAP]
        lines[row + 1][2 * column + 1] = "@"
        pictures.append("\n".join("".join(line) for line in lines))
        place = f"row {row + 1}, column {column + 1}"
        if passenger == _ABOARD:
            who = "The passenger is in the taxi."
        else:
            who = f"The passenger waits at {_PADS[passenger]} ({_place(env.locs[passenger])})."
        where = f"The destination is {_PADS[destination]} ({_place(env.locs[destination])})."
        rain = "It rains: a move may drift to a side. " if rainy else ""
        sentences.append(f"{rain}You are in {place}. {who} {where}")
        blocked = [
            side for side, wall in (("east", _wall(row, 2 * column + 2)), ("west", _wall(row, 2 * column))) if wall
        ]
        features.append(
            f"{'aboard' if passenger == _ABOARD else 'waiting'}, {distance[state]} moves from success, "
            f"wall {' and '.join(blocked) or 'nowhere'}"
        )
    return _Town(dynamics, tuple(map(int, first)), tuple(features), tuple(pictures), tuple(sentences))


def _place(square: tuple[int, int]) -> str:
    return f"row {square[0] + 1}, column {square[1] + 1}"


def _wall(row: int, character: int) -> bool:
    return MAP[row + 1][character] != ":"
