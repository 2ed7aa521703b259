"""A small stochastic task with sub-goals, whose intervention problem is known exactly for calls of any duration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym import FreeText, Intervention, InterventionVectorEnv
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing import ExpertActor
from selfreg_gym.transitions import Rows, TransitionModel
from selfreg_gym.types import Decision, Episode

CELLS, STEPS = 5, 7
"""Cells 0 to 4 before the goal, and steps per episode."""
AHEAD = {"walk": 0.75, "run": 0.45}
"""Probability that an action moves one cell (``walk``) or two cells (``run``) ahead."""
FALL = {"walk": 0.0, "run": 0.35}
"""Probability that an action ends the episode as a failure; otherwise the walker stays."""
SUBGOALS = ("leave the house", "leave the house", "cross the yard", "cross the yard", "reach the gate")


class Corridor(gym.Env[str, str]):
    """Reach the goal behind the last cell within ``STEPS`` steps."""

    num_episodes = 3

    def __init__(self) -> None:
        self.observation_space, self.action_space = FreeText(), FreeText(10)
        self.cell = self.left = self.episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = int((options or {}).get("episode", 0))
        self.cell, self.left = 0, STEPS
        return self._text(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        draw, over, success = self.np_random.random(), False, False
        if draw < AHEAD[action]:
            self.cell += 1 if action == "walk" else 2
            over = success = self.cell >= CELLS
        elif draw < AHEAD[action] + FALL[action]:
            over = True
        self.left -= 1
        cut = not over and self.left == 0
        info = self._info()
        if over or cut:
            info |= {"success": success, "is_success": success, "metrics": {"cell": float(self.cell)}}
        return self._text(), float(success), over, cut, info

    def subgoal(self) -> str:
        return SUBGOALS[min(self.cell, CELLS - 1)]

    def expert_action(self) -> str:
        return "walk"

    def snapshot(self) -> object:
        return self.cell, self.left, self.episode, self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        self.cell, self.left, self.episode, self.np_random.bit_generator.state = snapshot

    def _text(self) -> str:
        return f"You are in cell {self.cell} with {self.left} steps left. Walk or run?"

    def _info(self) -> dict[str, Any]:
        return {
            "task_id": f"corridor-{self.episode}", "kind": "corridor", "admissible_actions": ("walk", "run"),
            "state_key": f"cell {self.cell}", "steps_left": self.left, "invalid_action": False,
        }  # fmt: skip


class Hasty:
    """Runs with probability 0.7, else walks."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return ["run" if decision.rng.random() < 0.7 else "walk" for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Hasty:
        return self


def played(
    duration: Any, cost_per: Any, episodes: int, *, chances: Sequence[float] = (0.15, 0.4, 0.7), **kwargs: Any
) -> list[Episode]:
    """Episodes with random calls of the expert, in the order of their seeds; ``kwargs`` of ``run_episodes``."""
    people = [Intervention(ExpertActor(), name="expert", duration=duration, cost_per=cost_per)]
    env = InterventionVectorEnv(64, Corridor, Hasty(), people, autoreset_mode="Disabled", abort=bool(kwargs))
    specs = [EpisodeSpec(seed % 3, seed, chances[seed % len(chances)]) for seed in range(episodes)]
    return sorted(run_episodes(env, specs, **kwargs), key=lambda one: one.seed)


def moves() -> tuple[np.ndarray, np.ndarray]:
    """Of the actor and of the expert: P ``(2, CELLS, CELLS)``, and the probability to reach the goal ``(2, CELLS)``."""
    P, win = np.zeros((2, CELLS, CELLS)), np.zeros((2, CELLS))
    for who, shares in enumerate(({"run": 0.7, "walk": 0.3}, {"walk": 1.0})):
        for action, share in shares.items():
            for cell in range(CELLS):
                to = cell + (1 if action == "walk" else 2)
                if to >= CELLS:
                    win[who, cell] += share * AHEAD[action]
                else:
                    P[who, cell, to] += share * AHEAD[action]
                P[who, cell, cell] += share * (1 - AHEAD[action] - FALL[action])
    return P, win


def exact() -> TransitionModel:
    """The model of calls of one step, over (cell, steps left)."""
    P, win = moves()
    rows = []
    for matrix in P:
        tail, head = np.nonzero(matrix)
        indptr = np.concatenate(([0], np.cumsum(np.bincount(tail, minlength=CELLS))))
        rows.append(Rows(indptr, head.astype(np.int32), matrix[tail, head], np.ones(len(head), np.int32)))
    start = np.zeros((STEPS, CELLS))
    start[-1, 0] = 1.0
    return TransitionModel.levelled(rows, STEPS, win, start.ravel(), keys=[f"cell {cell}" for cell in range(CELLS)])


def optimum(price: float, duration: Any, *, cost_per: str = "call", cost: float = 1.0) -> tuple[float, float]:
    """Success and usage of the best policy at a price, by backward induction over (cell, steps left, call in progress).

    Ties go to nohelp. ``duration`` is that of the expert's calls.
    """
    P, win = moves()
    longest = duration if isinstance(duration, int) else STEPS

    def goes_on(start: int, cell: int, steps: int) -> bool:
        if duration == "end":
            return True
        return SUBGOALS[cell] == SUBGOALS[start] if duration == "subgoal" else steps < duration

    decide = np.zeros((STEPS + 1, CELLS, 2))  # success and usage with a decision due
    ongoing = np.zeros((STEPS + 1, CELLS, CELLS, longest + 1, 2))  # while a call goes on: by its start and its steps
    for left in range(1, STEPS + 1):

        def after_help(cell: int, start: int, steps: int, left: int = left) -> np.ndarray:
            """The value of a step of the expert, without its cost; ``steps`` of the call are done with it."""
            value = np.array([win[1, cell], 0.0])
            for to in range(CELLS):
                following = ongoing[left - 1, to, start, steps] if goes_on(start, to, steps) else decide[left - 1, to]
                value += P[1, cell, to] * following
            return value

        for cell in range(CELLS):
            for start in range(CELLS):
                for steps in range(1, longest):
                    spent = np.array([0.0, cost if cost_per == "step" else 0.0])
                    ongoing[left, cell, start, steps] = spent + after_help(cell, start, min(steps + 1, longest))
            alone = np.array([win[0, cell], 0.0]) + P[0, cell] @ decide[left - 1]
            helped = np.array([0.0, cost]) + after_help(cell, cell, 1)
            best = helped if helped @ [1, -price] > alone @ [1, -price] + 1e-12 else alone
            decide[left, cell] = best
    return float(decide[STEPS, 0, 0]), float(decide[STEPS, 0, 1])
