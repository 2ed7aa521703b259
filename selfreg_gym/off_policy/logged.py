"""Logged decisions: what off-policy evaluation reads of collected episodes, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Episode

__all__ = ["Logged", "read_episodes"]


@dataclass(frozen=True, eq=False)
class Logged:
    """The n decisions of E episodes, episode by episode.

    Attributes:
        action: ``(n,)`` int64, 0 nohelp, k help from the k-th intervention.
        outcome: ``(n, 1 + K)`` the success of the step (1 on the last step of a successful episode), and the cost units
            spent on each intervention.
        begin: ``(E + 1,)`` int64, the first decision of each episode; the last entry is n.
        help_probability: ``(E,)`` the probability p of help at each step.
        task: ``(E,)`` int64, the task of each episode, numbered from 0.
        interventions: K.
    """

    action: np.ndarray
    outcome: np.ndarray
    begin: np.ndarray
    help_probability: np.ndarray
    task: np.ndarray
    interventions: int

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Logged:
        """The arrays of episodes that :func:`read_episodes` returned."""
        lengths = np.array([len(one.steps) for one in episodes])
        begin = np.concatenate(([0], np.cumsum(lengths)))
        action = np.array([step.action for one in episodes for step in one.steps], np.int64)
        cost = np.array([step.cost for one in episodes for step in one.steps], np.float64)
        count = max(max(len(one.usage) for one in episodes), int(action.max()))
        outcome = np.zeros((len(action), 1 + count))
        outcome[begin[1:] - 1, 0] = [one.success for one in episodes]
        helped = np.flatnonzero(action)
        outcome[helped, action[helped]] = cost[helped]
        names: dict[Any, int] = {}
        task = [names.setdefault((one.task_id, one.task_index), len(names)) for one in episodes]
        chance = np.array([one.help_probability for one in episodes], np.float64)
        return cls(action, outcome, begin, chance, np.array(task, np.int64), count)

    @property
    def episodes(self) -> int:
        """Number of episodes E."""
        return len(self.task)

    @cached_property
    def episode(self) -> np.ndarray:
        """``(n,)`` the episode of each decision."""
        return np.repeat(np.arange(self.episodes), np.diff(self.begin))

    @cached_property
    def t(self) -> np.ndarray:
        """``(n,)`` the step of each decision in its episode, from 0."""
        return np.arange(len(self.action)) - self.begin[self.episode]

    @cached_property
    def last(self) -> np.ndarray:
        """``(n,)`` bool, the last decision of each episode."""
        last = np.zeros(len(self.action), bool)
        last[self.begin[1:] - 1] = True
        return last

    @cached_property
    def calls(self) -> np.ndarray:
        """``(n,)`` the calls of help of the episode before each decision."""
        helped = np.concatenate(([0], np.cumsum(self.action > 0)))
        return helped[:-1] - helped[self.begin[self.episode]]


def read_episodes(rollouts: Any) -> list[Episode]:
    """The episodes of a ``Rollouts`` store or of an iterable, without those that have an error or no step.

    Raises:
        InvalidArgumentError: no episode is left, or one was played by a helper, so that the probabilities of its
            actions are unknown.
    """
    if hasattr(rollouts, "require_complete"):
        rollouts.require_complete()  # warns: an unfinished collection is a biased sample
    source: Iterable[Episode] = rollouts.episodes() if hasattr(rollouts, "episodes") else rollouts
    episodes = [one for one in source if one.error is None and one.steps]
    if not episodes:
        raise InvalidArgumentError("off-policy evaluation needs finished episodes without errors, received none.")
    for one in episodes:
        if one.help_probability is None:
            raise InvalidArgumentError(
                "off-policy evaluation needs episodes with random help of a known probability: an episode of task "
                f"{one.task_id!r} (seed {one.seed}) has help_probability=None. Use a store of selfreg_gym.collect."
            )
    return episodes
