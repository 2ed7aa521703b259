"""``selfreg/CliffWalking-v0``: Gymnasium's CliffWalking as text, with the exact model of its intervention problem."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv

from selfreg_gym.envs._toy_dynamics import Dynamics
from selfreg_gym.envs._toy_text import ToyText

__all__ = ["CliffWalking"]

IDS = ("selfreg/CliffWalking-v0",)
ENTRY = "CliffWalking"

MOVES = ("up", "right", "down", "left")
_STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
_SIDES = ("above", "to the right", "below", "to the left")
_WORDS = {".": "grass", "S": "the start", "C": "the cliff", "G": "the goal", "#": "the edge"}
_MAP = "." * 36 + "S" + "C" * 10 + "G"
_WIDTH = 12
_SIZES = {"train": 21, "val": 8, "test": 8}


class _Cliff(NamedTuple):
    """The dynamics, the first states of all tasks in order, and per state its neighbours and its text."""

    dynamics: Dynamics
    first: tuple[int, ...]
    around: tuple[str, ...]
    texts: tuple[str, ...]


class CliffWalking(ToyText):
    """Walk along a cliff to the goal before the moves run out; a fall leads back to the start.

    ## Description
    The grid has 4 rows and 12 columns. The start is the lower left corner, the goal the lower right one, and the
    squares between them are a cliff: a step on the cliff leads back to the start. Dynamics are those of Gymnasium's
    ``CliffWalkingEnv.P``. The expert knows the moves left: it maximises the probability of success and, where that is
    equal, arrives as early as possible. With slips it keeps away from the cliff.

    ## Action Space
    Text: ``up``, ``right``, ``down`` or ``left``. Any other text is an invalid action and ends the episode as a
    failure.

    ## Observation Space
    Text: the map with the current square, the four neighbouring squares, and the number of moves left.

    ## Rewards
    1 at the goal, otherwise 0.

    ## Starting State
    Task ``i`` (``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``) begins on one of the 37 squares
    beside the cliff and the goal; task 0 of ``"train"`` is Gymnasium's, in the lower left corner. Without the option,
    the task is drawn at random. ``seed`` determines the slips.

    ## Episode End
    Terminated at the goal (success) or by an invalid action (failure). Truncated after ``max_steps`` moves (failure).
    ``info["steps_left"]`` is the number of moves left.

    ## Arguments
    * ``slippery`` (bool, default False): a move goes in its direction with probability 1/3 and in each of the two
      perpendicular directions with probability 1/3.
    * ``max_steps`` (int, default 24): moves per episode. Without slips at most 14 are necessary.
    * ``split``: ``"train"`` (default, 21 tasks), ``"val"`` (8) or ``"test"`` (8); no task is in two splits.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    MOVES = MOVES
    action_kinds = MOVES
    split_sizes = _SIZES

    def __init__(
        self, *, slippery: bool = False, max_steps: int = 24, split: str = "train", render_mode: str | None = None
    ) -> None:
        self.slippery = bool(slippery)
        self._cliff = _cliff(self.slippery)
        super().__init__(split=split, max_steps=max_steps, clock=True, render_mode=render_mode)

    def _best(self, task: int) -> np.ndarray:
        return _best(self.slippery, self.max_steps)

    def _dynamics_of(self, task: int) -> Dynamics:
        return self._cliff.dynamics

    def _first(self, task: int) -> int:
        before = {"train": 0, "val": _SIZES["train"], "test": _SIZES["train"] + _SIZES["val"]}[self.split]
        return self._cliff.first[before + task]

    def _world(self, task: int) -> Any:
        return "cliff"

    def _key(self, task: int, state: int) -> str:
        return f"cliff/{state}"

    def _feature(self) -> str:
        return self._cliff.around[self._state]

    def _name(self) -> tuple[str, str]:
        return f"cliff-{self._first(self._task_index)}", "cliff"

    def _text(self) -> str:
        text = self._cliff.texts[self._state]
        if self._over:
            return f"{text} The game is over."
        return f"{text} {self._left} moves are left. Go up, right, down or left?"


@cache
def _best(slippery: bool, max_steps: int) -> np.ndarray:
    return _cliff(slippery).dynamics.timed(max_steps)


@cache
def _cliff(slippery: bool) -> _Cliff:
    env = CliffWalkingEnv(is_slippery=slippery)
    closed = [state for state, kind in enumerate(_MAP) if kind in "CG"]  # no episode is in these states
    dynamics = Dynamics(env.P, lambda reward: True, closed=closed)
    own = [int(env.start_state_index)]
    others = [state for state in range(dynamics.states) if state not in (*closed, *own)]
    around, texts = [], []
    for state in range(dynamics.states):
        row, column = divmod(state, _WIDTH)
        beside = [_WORDS[_at(row + down, column + right)] for down, right in _STEPS]
        around.append(", ".join(f"{word} {side}" for word, side in zip(beside, _SIDES, strict=True)))
        drawn = f"{_MAP[:state]}@{_MAP[state + 1 :]}"
        picture = "\n".join(drawn[i : i + _WIDTH] for i in range(0, len(drawn), _WIDTH))
        slips = " The ground is slippery." if slippery else ""
        texts.append(
            f"You (@) walk to the goal (G). A step on the cliff (C) leads back to the start (S).{slips}\n{picture}\n"
            f"You are in row {row + 1}, column {column + 1}, with {around[-1]}."
        )
    first = (*own, *map(int, np.random.default_rng(0).permutation(others)))
    return _Cliff(dynamics, first, tuple(around), tuple(texts))


def _at(row: int, column: int) -> str:
    return _MAP[row * _WIDTH + column] if 0 <= row < len(_MAP) // _WIDTH and 0 <= column < _WIDTH else "#"
