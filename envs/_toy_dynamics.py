"""Exact dynamics of Gymnasium's toy text: transition probabilities, optimal actions with and without a clock, models.

All arrays are computed from ``P`` of the Gymnasium env, without episodes. A state is a state of that env; S is the
number of states and A the number of actions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from selfreg_gym.transitions import Rows, TransitionModel
from selfreg_gym.transitions.state_index import timed_key

__all__ = ["Dynamics", "intervention_model"]

_TIE = 1e-9
"""Probabilities of success that differ by less are equal: the action that is expected to succeed sooner is better."""


class Dynamics:
    """The dynamics of one map.

    Args:
        P: ``{state: {action: [(probability, next state, reward, ends)]}}``, as Gymnasium's toy text has it.
        won: whether an end with this reward is a success.
        closed: states in which no episode continues.

    Attributes:
        move: ``(A, S, S)``, probabilities of the next state if the episode continues.
        win, lose: ``(A, S)``, probabilities of an end in success or failure.
    """

    def __init__(
        self, P: Mapping[int, Mapping[int, Any]], won: Callable[[float], bool], closed: Sequence[int] = ()
    ) -> None:
        self.states, self.actions = len(P), len(P[0])
        shape = self.actions, self.states
        self.move, self.win, self.lose = np.zeros((*shape, self.states)), np.zeros(shape), np.zeros(shape)
        self._outcomes: list[list[tuple[list[float], list[tuple[int, bool, bool]]]]] = []
        for state in range(self.states):
            drawn = []
            for action in range(self.actions):
                chances: dict[tuple[bool, bool, int], float] = {}
                for chance, to, reward, ends in P[state][action] if state not in closed else ():
                    key = bool(ends), bool(ends) and not won(reward), int(to)  # success before failure
                    chances[key] = chances.get(key, 0.0) + float(chance)
                for (ends, fails, to), chance in chances.items():
                    if not ends:
                        self.move[action, state, to] += chance
                    elif fails:
                        self.lose[action, state] += chance
                    else:
                        self.win[action, state] += chance
                ordered = sorted(chances)
                edges = np.cumsum([chances[key] for key in ordered]).tolist()
                drawn.append((edges, [(to, ends, ends and not fails) for ends, fails, to in ordered]))
            self._outcomes.append(drawn)
        self.lose[:, list(closed)] = 1.0

    def draw(self, state: int, action: int, number: float) -> tuple[int, bool, bool]:
        """The next state, whether the episode ends there, and whether in success, for a uniform number in [0, 1)."""
        edges, outcomes = self._outcomes[state][action]
        return outcomes[min(bisect_right(edges, number), len(outcomes) - 1)]

    def timed(self, horizon: int) -> np.ndarray:
        """The optimal actions with h steps left, ``(horizon + 1, S)``; row 0 is unused.

        They maximise the probability of success within h steps and, among actions with an equal one, the expected
        number of steps that are left at success. Where success is impossible, the action is that with more steps left.
        """
        best = np.zeros((horizon + 1, self.states), np.int64)
        value, early = np.zeros(self.states), np.zeros(self.states)
        possible = np.zeros((horizon + 1, self.states), bool)
        cells = np.arange(self.states)
        for left in range(1, horizon + 1):
            success = self.win + self.move @ value
            sooner = self.win * (left - 1) + self.move @ early
            optimal = success >= success.max(axis=0) - _TIE
            best[left] = np.argmax(np.where(optimal, np.round(sooner, 9), -1.0), axis=0)
            value, early = success[best[left], cells], sooner[best[left], cells]
            possible[left] = value > 0
        for left in range(horizon - 1, 0, -1):
            best[left] = np.where(possible[left], best[left], best[left + 1])
        return best

    @cached_property
    def distance(self) -> np.ndarray:
        """``(S,)`` int64, the least number of steps to success; -1 where it cannot be reached."""
        steps = np.where((self.win > 0).any(axis=0), 1, -1)
        leads: np.ndarray = np.any(self.move > 0, axis=0)
        while True:
            reached = np.greater(steps, 0)
            fresh = ~reached & leads[:, reached].any(axis=1)
            if not fresh.any():
                return steps
            steps = np.where(fresh, steps.max() + 1, steps)


def intervention_model(
    worlds: Sequence[tuple[Dynamics, Sequence[str], np.ndarray]], best: Sequence[np.ndarray], horizon: int, noise: float
) -> TransitionModel:
    """The exact model of the intervention problem over (state, steps left).

    The actor takes a uniformly random action with probability ``noise`` and the expert's action otherwise; help takes
    the expert's action.

    Args:
        worlds: per map, its dynamics, the S state keys, and the ``(S,)`` probabilities of the first state; these sum
            to 1 over all maps.
        best: per map, the expert's actions: ``(S,)``, or ``(horizon + 1, S)`` for an expert that knows the clock.
        horizon: steps per episode.
        noise: in [0, 1].

    Returns:
        A levelled model for experts without a clock. For others, the model is flat: the state with h steps left has
        the index ``(h - 1) * N + node`` and the key ``timed_key(state key, h)``.
    """
    keys = [key for _, own, _ in worlds for key in own]
    nodes = len(keys)
    start = np.zeros((horizon, nodes))
    start[-1] = np.concatenate([first for *_, first in worlds])

    def policies(left: int | None) -> tuple[list[sparse.csr_array], np.ndarray]:
        """P and success of actor and expert, with ``left`` steps left or without a clock."""
        blocks: list[list[Any]] = [[], []]
        success = []
        for (dynamics, *_), expert in zip(worlds, best, strict=True):
            chosen, cells = expert if left is None else expert[left], np.arange(dynamics.states)
            for a, slip in enumerate((noise, 0.0)):
                mixed = (1 - slip) * dynamics.move[chosen, cells] + slip * dynamics.move.mean(axis=0)
                blocks[a].append(sparse.csr_array(mixed))
            slips = np.array([[noise], [0.0]])
            success.append((1 - slips) * dynamics.win[chosen, cells] + slips * dynamics.win.mean(axis=0))
        return [sparse.csr_array(sparse.block_diag(found)) for found in blocks], np.concatenate(success, axis=1)

    if best[0].ndim == 1:
        moves, success = policies(None)
        rows = [Rows(one.indptr, one.indices, one.data, np.ones(one.nnz, np.int32)) for one in moves]
        return TransitionModel.levelled(rows, horizon, success, start.ravel(), keys=keys)
    each = [policies(left) for left in range(1, horizon + 1)]
    matrices = [_stacked([moves[a] for moves, _ in each], nodes) for a in range(2)]
    timed = [timed_key(key, left) for left in range(1, horizon + 1) for key in keys]
    success = np.concatenate([won for _, won in each], axis=1)
    return TransitionModel(matrices, success, start.ravel(), keys=timed)


def _stacked(levels: Sequence[sparse.csr_array], nodes: int) -> sparse.csr_array:
    """The matrix over (steps left, node): level h leads to level h - 1, and with one step left no episode continues."""
    size = len(levels) * nodes
    if len(levels) == 1:
        return sparse.csr_array((size, size))
    upper = sparse.csr_array(sparse.block_diag(levels[1:]))
    indptr = np.concatenate((np.zeros(nodes, upper.indptr.dtype), upper.indptr))
    return sparse.csr_array((upper.data, upper.indices, indptr), shape=(size, size))
