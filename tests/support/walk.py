"""A task with a continuous state and a known optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.transitions import Rows, TransitionModel

STEPS = 5
"""Decisions per episode of the walk."""


@dataclass(frozen=True)
class Walk:
    """A point in [0, 1] that drifts down by itself and up with help; success is the chance that it ends near 1.

    Nohelp moves it by a uniform number in [-0.3, 0.2], help in [0, 0.25]; it stays in [0, 1]. An episode has ``STEPS``
    decisions; at its end success has probability z^4. The start is uniform.
    """

    low: tuple[float, float] = (-0.3, 0.0)
    high: tuple[float, float] = (0.2, 0.25)

    def move(self, z: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The next positions."""
        low, high = np.array(self.low)[action], np.array(self.high)[action]
        return np.clip(z + low + (high - low) * rng.random(len(z)), 0.0, 1.0)

    def collect(self, episodes: int, seed: int, *, tasks: int = 40) -> LoggedDecisions:
        """Episodes with random help, each with a help probability of 0, 0.25, ..., 1."""
        rng = np.random.default_rng(seed)
        chance = (np.arange(episodes) % 5) / 4
        z = rng.random(episodes)
        x, actions = [], []
        for _ in range(STEPS):
            action = (rng.random(episodes) < chance).astype(int)
            x.append(z)
            actions.append(action)
            z = self.move(z, action, rng)
        success = rng.random(episodes) < z**4
        position, action = np.stack(x, axis=1).ravel(), np.stack(actions, axis=1).ravel()
        left = np.tile(np.arange(STEPS, 0, -1), episodes)
        last = left == 1
        return LoggedDecisions(
            np.stack([position, left / STEPS], axis=1).astype(np.float32), action, action.astype(float), last,
            last & np.repeat(success, STEPS), np.arange(episodes) % tasks,
        )  # fmt: skip

    def play(self, decide: Callable[[np.ndarray], np.ndarray], episodes: int, seed: int) -> np.ndarray:
        """Success and usage of a policy, a function of ``x`` (n, 2)."""
        rng = np.random.default_rng(seed)
        z, used = rng.random(episodes), 0.0
        for left in range(STEPS, 0, -1):
            x = np.stack([z, np.full(episodes, left / STEPS)], axis=1).astype(np.float32)
            action = decide(x)
            used += float(action.sum())
            z = self.move(z, action, rng)
        return np.array([np.mean(z**4), used / episodes])

    def exact(self, bins: int = 400) -> TransitionModel:
        """The same problem on a fine grid: exact up to the width of a bin."""
        edges = np.linspace(0, 1, bins + 1)
        centre = (edges[1:] + edges[:-1]) / 2
        rows, last = [], np.empty((2, bins))
        for a in range(2):
            low, high = centre[:, None] + self.low[a], centre[:, None] + self.high[a]
            upper = np.where(edges[1:] >= 1, np.inf, edges[1:])
            lower = np.where(edges[:-1] <= 0, -np.inf, edges[:-1])
            overlap = np.minimum(high, upper) - np.maximum(low, lower)
            P = np.maximum(overlap, 0) / (high - low)
            last[a] = P @ centre**4
            some = P > 0
            pointer = np.r_[0, np.cumsum(some.sum(axis=1))]
            head = np.nonzero(some)[1].astype(np.int32)
            rows.append(Rows(pointer, head, P[some], np.ones(len(head), np.int32)))
        start = np.zeros(STEPS * bins)
        start[-bins:] = 1 / bins
        none = np.zeros((2, bins))
        return TransitionModel.levelled(rows, STEPS, none, start, last_success=last)
