"""Logged decisions: what off-policy evaluation reads of collected episodes, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.playing.random_help import RandomHelp
from selfreg_gym.store.source import checked_source, finished_episodes
from selfreg_gym.types import Episode

__all__ = ["Logged", "read_episodes"]


@dataclass(frozen=True, eq=False)
class Logged:
    """The n decisions of E episodes, episode by episode. A call of several steps is one decision.

    Attributes:
        action: ``(n,)`` int64, 0 nohelp, k help from the k-th intervention. Where episodes were aborted, abort is
            another intervention, the last one, without cost.
        outcome: ``(n, 1 + K)`` the success of the step (1 on the last step of a successful episode), and the cost units
            spent on each intervention.
        begin: ``(E + 1,)`` int64, the first decision of each episode; the last entry is n.
        propensity: ``(n, 1 + K)`` float64, the probability with which the collection drew each action.
        task: ``(E,)`` int64, the task of each episode, numbered from 0.
        interventions: K, with abort K + 1.
        abort: whether an episode was aborted.
    """

    action: np.ndarray
    outcome: np.ndarray
    begin: np.ndarray
    propensity: np.ndarray
    task: np.ndarray
    interventions: int
    abort: bool = False

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Logged:
        """The arrays of episodes that :func:`read_episodes` returned."""
        steps = [one.decisions for one in episodes]
        begin = np.concatenate(([0], np.cumsum([len(own) for own in steps])))
        action = np.array([step.action for own in steps for step in own], np.int64)
        cost = np.array([step.cost for own in steps for step in own], np.float64)
        count = max(max(len(one.usage) for one in episodes), int(action.max()))
        outcome = np.zeros((len(action), 1 + count))
        outcome[begin[1:] - 1, 0] = [one.success for one in episodes]
        helped = np.flatnonzero(action)
        outcome[helped, action[helped]] = cost[helped]
        names: dict[Any, int] = {}
        task = [names.setdefault((one.task_id, one.task_index), len(names)) for one in episodes]
        chance = np.concatenate([_propensities(one, count) for one in episodes])
        aborted = any(one.aborted for one in episodes)
        return cls(action, outcome, begin, chance, np.array(task, np.int64), count, aborted)

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
    def counts(self) -> np.ndarray:
        """``(n, 1 + K)`` int64, how often each action occurs in the episode before each decision."""
        one_hot = np.eye(1 + self.interventions, dtype=np.int64)[self.action]
        sums = np.concatenate((np.zeros_like(one_hot[:1]), np.cumsum(one_hot, axis=0)))
        return sums[:-1] - sums[self.begin[self.episode]]

    @cached_property
    def calls(self) -> np.ndarray:
        """``(n,)`` the calls of help of the episode before each decision."""
        return self.counts[:, 1:].sum(axis=1)

    @cached_property
    def stationary(self) -> bool:
        """Whether each episode has the same propensities at all of its decisions."""
        return bool((self.propensity == self.propensity[self.begin[self.episode]]).all())

    @cached_property
    def behaviours(self) -> tuple[np.ndarray, np.ndarray]:
        """``(J, 1 + K)`` the different propensities of the episodes, and ``(J,)`` their shares of the episodes."""
        found, counts = np.unique(self.propensity[self.begin[:-1]], axis=0, return_counts=True)
        return found, counts / counts.sum()


def read_episodes(rollouts: Any) -> list[Episode]:
    """The episodes of a ``Rollouts`` store or of an iterable, without those that have an error or no step.

    Raises:
        InvalidArgumentError: no episode is left, or the probabilities of the actions of one are unknown, because a
            helper decided or a wrapper changed its actions.
    """
    episodes = list(finished_episodes(checked_source(rollouts)))
    if not episodes:
        raise InvalidArgumentError("off-policy evaluation needs finished episodes without errors, received none.")
    for one in episodes:
        known = {step.propensities is not None for step in one.steps}
        if known == {True} or (known == {False} and one.help_probability is not None):
            continue
        raise InvalidArgumentError(
            "off-policy evaluation needs episodes with random help of a known probability: an episode of task "
            f"{one.task_id!r} (seed {one.seed}) has help_probability={one.help_probability} and no propensities at "
            "some steps. Use a store of selfreg_gym.collect; a wrapper that changes actions needs action_masks()."
        )
    return episodes


def _propensities(episode: Episode, interventions: int) -> np.ndarray:
    """``(T, 1 + K)`` float64 propensities of an episode.

    Stores before format 4 have none: their help was drawn with the episode's probability, in equal shares.
    """
    if episode.steps[0].propensities is not None:
        stored = np.array([step.propensities for step in episode.decisions], np.float64)[:, : 1 + interventions]
        found = np.zeros((len(stored), 1 + interventions))  # an env with abort has one action more, never drawn
        found[:, : stored.shape[1]] = stored
        return found / found.sum(axis=1, keepdims=True)  # they are stored as float32
    assert episode.help_probability is not None
    p = RandomHelp(interventions).propensities(episode.help_probability)
    row = np.array(p, np.float64)
    return np.repeat(row[None] / row.sum(), len(episode.decisions), axis=0)
