"""``selfreg/FrozenLake-v0``: Gymnasium's FrozenLake as text, with the exact model of its intervention problem.

:meth:`FrozenLake.intervention_model` is computed from ``FrozenLakeEnv.P`` of Gymnasium, without episodes. Models that
are fitted to collected episodes converge to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, generate_random_map

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.spaces import FreeText
from selfreg_gym.transitions import Rows, TransitionModel
from selfreg_gym.utils.arguments import check_options

__all__ = ["FrozenLake"]

IDS = ("selfreg/FrozenLake-v0",)
ENTRY = "FrozenLake"

MOVES = ("left", "down", "right", "up")
_STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))
_WORDS = {"S": "ice", "F": "ice", "H": "a hole", "G": "the goal", "#": "the edge"}


class _Lake(NamedTuple):
    """A map: its rows, and for n cells P ``move`` (4, n, n), P of winning and losing (4, n), and the best move (n,)."""

    rows: tuple[str, ...]
    move: np.ndarray
    win: np.ndarray
    lose: np.ndarray
    best: np.ndarray


class FrozenLake(gym.Env[str, str]):
    """Cross a frozen lake to the goal without falling into a hole; the ice is slippery.

    ## Description
    Task 0 is Gymnasium's 4x4 map. The other tasks are random 4x4 and 5x5 maps on which the goal can be reached. On
    slippery ice a move goes in its direction with probability 1/3 and in each of the two perpendicular directions with
    probability 1/3. The expert takes the optimal move of the problem without a limit on moves, which depends on the
    cell alone.

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
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it
    num_episodes = 100
    """Number of distinct tasks."""
    action_kinds = MOVES
    distributions = ("gymnasium",)

    def __init__(self, *, slippery: bool = True, max_steps: int = 100, render_mode: str | None = None) -> None:
        if max_steps < 1:
            raise InvalidArgumentError(f"max_steps must be at least 1, received {max_steps!r}.")
        if render_mode not in {None, "ansi"}:
            raise UnknownNameError("render mode", render_mode, ["ansi"])
        self.observation_space = FreeText()
        self.action_space = FreeText(100)
        self.slippery, self.max_steps, self.render_mode = bool(slippery), int(max_steps), render_mode
        self._task_index = self._cell = self._left = 0
        self._over = True
        self._lake = _lake(0, self.slippery)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode on the map ``options["episode"]``, an int in ``range(num_episodes)``; default: random."""
        super().reset(seed=seed)
        check_options(options, available=self.num_episodes, strict=True)
        index = (options or {}).get("episode")
        self._task_index = int(self.np_random.integers(self.num_episodes) if index is None else index)
        self._lake = _lake(self._task_index, self.slippery)
        self._cell, self._left, self._over = 0, self.max_steps, False
        return self._text(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Make a move; on slippery ice it may go to either side."""
        invalid = action not in MOVES
        success = False
        self._left -= 1
        if not invalid:
            self._cell, ends = self._slide(MOVES.index(action))
            success = ends and self._lake.rows[self._cell // self._width][self._cell % self._width] == "G"
        terminated = invalid or ends
        self._over = terminated or self._left == 0
        if self._over:
            self._left = 0
        info = self._info(invalid)
        if self._over:
            info |= {"success": success, "is_success": success}
        return self._text(), float(success), terminated, self._over and not terminated, info

    def expert_action(self) -> str:
        """The optimal move of the problem without a limit on moves."""
        return MOVES[self._lake.best[self._cell]]

    def snapshot(self) -> object:
        """The state, the random state included."""
        return self._task_index, self._cell, self._left, self._over, self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Return to a state that ``snapshot`` returned."""
        self._task_index, self._cell, self._left, self._over, self.np_random.bit_generator.state = snapshot
        self._lake = _lake(self._task_index, self.slippery)

    def reseed(self, seed: int) -> None:
        """Draw the coming slips from a new stream."""
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def sample_hidden(self, rng: np.random.Generator) -> None:
        """No effect: the lake has no hidden facts."""

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        return self._text() if self.render_mode == "ansi" else None

    def intervention_model(self, episodes: Sequence[int] = (0,), *, noise: float = 0.5) -> TransitionModel:
        """Return the exact model of the intervention problem, over (cell, moves left).

        The actor takes a uniformly random move with probability ``noise`` and the expert's move otherwise; help takes
        the expert's move.

        Args:
            episodes: task indices of the maps, each equally likely.
            noise: in [0, 1].

        Raises:
            InvalidArgumentError: ``noise`` is out of range, or there is no map.
        """
        if not 0 <= noise <= 1 or not len(episodes):
            raise InvalidArgumentError(
                f"noise must be in [0, 1] and episodes must have at least one map, received {noise!r}, {episodes!r}."
            )
        lakes = [_lake(int(episode), self.slippery) for episode in episodes]
        sizes = [len(lake.best) for lake in lakes]
        base = np.concatenate(([0], np.cumsum(sizes)))
        n = int(base[-1])
        success, moves = np.zeros((2, n)), [np.zeros((n, n)) for _ in range(2)]
        for lake, first, size in zip(lakes, base, sizes, strict=False):
            here, cells = slice(first, first + size), np.arange(size)
            for a, slip in enumerate((noise, 0.0)):
                moves[a][here, here] = (1 - slip) * lake.move[lake.best, cells] + slip * lake.move.mean(axis=0)
                success[a, here] = (1 - slip) * lake.win[lake.best, cells] + slip * lake.win.mean(axis=0)
        rows = []
        for matrix in moves:
            tail, head = np.nonzero(matrix)
            indptr = np.concatenate(([0], np.cumsum(np.bincount(tail, minlength=n))))
            rows.append(Rows(indptr, head.astype(np.int32), matrix[tail, head], np.ones(len(head), np.int32)))
        start = np.zeros((self.max_steps, n))
        start[-1, base[:-1]] = 1 / len(lakes)
        keys = [f"lake-{e}/{cell}" for e, size in zip(episodes, sizes, strict=True) for cell in range(size)]
        return TransitionModel.levelled(rows, self.max_steps, success, start.ravel(), keys=keys)

    @property
    def _width(self) -> int:
        return len(self._lake.rows[0])

    def _slide(self, move: int) -> tuple[int, bool]:
        """Draw the next cell, and return it with whether the episode ends there."""
        chances = self._lake.move[move, self._cell]
        draw = self.np_random.random()
        edges = np.cumsum(chances)
        if draw < edges[-1]:
            return int(np.searchsorted(edges, draw, side="right")), False
        kind = "G" if draw < edges[-1] + self._lake.win[move, self._cell] else "H"
        around = (self._neighbour(step) for step in range(4))
        return next(cell for cell in around if cell >= 0 and self._at(cell) == kind), True

    def _neighbour(self, step: int) -> int:
        """Return the neighbouring cell in a direction, -1 beyond the edge."""
        row, column = divmod(self._cell, self._width)
        row, column = row + _STEPS[step][0], column + _STEPS[step][1]
        inside = 0 <= row < len(self._lake.rows) and 0 <= column < self._width
        return row * self._width + column if inside else -1

    def _at(self, cell: int) -> str:
        return "#" if cell < 0 else self._lake.rows[cell // self._width][cell % self._width]

    def _around(self) -> str:
        return ", ".join(f"{_WORDS[self._at(self._neighbour(step))]} {name}" for step, name in enumerate(_SIDES))

    def _text(self) -> str:
        row, column = divmod(self._cell, self._width)
        drawn = [list(line) for line in self._lake.rows]
        drawn[row][column] = "@"
        picture = "\n".join("".join(line) for line in drawn)
        here = self._at(self._cell)
        if self._over:
            end = {"G": "You are at the goal.", "H": "You fell into a hole."}.get(here, "The game is over.")
            return f"{picture}\n{end}"
        return (
            "You (@) cross a frozen lake to the goal (G). The ice (F, S) is slippery; H is a hole.\n"
            f"{picture}\nYou are in row {row + 1}, column {column + 1}, with {self._around()}. "
            f"{self._left} moves are left. Go left, down, right or up?"
        )

    def _info(self, invalid: bool = False) -> dict[str, Any]:
        return {
            "admissible_actions": () if self._over else MOVES,
            "state_key": f"lake-{self._task_index}/{self._cell}",
            "feature_key": self._around(),
            "steps_left": self._left,
            "task_id": f"lake-{self._task_index}",
            "kind": f"{self._width}x{self._width}",
            "invalid_action": invalid,
        }


_SIDES = ("to the left", "below", "to the right", "above")


@cache
def _lake(task_index: int, slippery: bool) -> _Lake:
    """Return a map with its dynamics, from Gymnasium's ``P``, and the best moves by value iteration."""
    rows: tuple[str, ...] = ("SFFF", "FHFH", "FFFH", "HFFG")
    if task_index:
        rows = tuple(generate_random_map(size=4 + task_index % 2, p=0.8, seed=task_index))
    P = FrozenLakeEnv(desc=list(rows), is_slippery=slippery).P
    n = len(P)
    move, win, lose = np.zeros((4, n, n)), np.zeros((4, n)), np.zeros((4, n))
    for cell in range(n):
        if rows[cell // len(rows[0])][cell % len(rows[0])] in "GH":
            lose[:, cell] = 1.0  # terminal: no move starts here
            continue
        for action in range(4):
            for chance, to, reward, ends in P[cell][action]:
                if not ends:
                    move[action, cell, to] += chance
                elif reward > 0:
                    win[action, cell] += chance
                else:
                    lose[action, cell] += chance
    discount = (
        1.0 if slippery else 0.99
    )  # without slips every safe move can still win: those that win sooner are better
    value = np.zeros(n)
    for _ in range(5000):  # the largest probability of winning without a limit on moves, from below
        value = (win + discount * (move @ value)).max(axis=0)
    return _Lake(rows, move, win, lose, np.argmax(np.round(win + 0.9999 * discount * (move @ value), 9), axis=0))
