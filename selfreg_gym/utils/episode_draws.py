"""Random numbers of helpers: functions of the helper's seed, the episode and the step.

A helper decides on N episodes at once. With one stream for all of them, its decisions would depend on N. So each
episode has its own stream of SplitMix64 (Steele, Lea and Flood 2014), whose i-th number is a hash of
``start + (i + 1) * gamma``. Only the starts are stored; the numbers of a step are computed for all episodes at once.

Examples:
    >>> draws = EpisodeDraws.begin(None, np.array([True, True]), np.array([7, 8]), seed=0)
    >>> alone = EpisodeDraws.begin(None, np.array([True]), np.array([8]), seed=0)
    >>> bool(draws.of_episode()[1] == alone.of_episode()[0])
    True
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.utils.random_streams import COUNTED_DRAWS, EPISODE_KEY, KEYED_DRAWS, Purpose, seed_sequence

__all__ = ["EpisodeDraws", "episode_key"]

_GAMMA, _MIX_1, _MIX_2 = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def episode_key(seed: int, task_index: int) -> int:
    """A number in [0, 2**63) from the seed and the task of an episode; episodes of several tasks may share a seed."""
    words = seed_sequence(EPISODE_KEY, int(seed), abs(int(task_index))).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


@dataclass(frozen=True, eq=False)
class EpisodeDraws:
    """The streams of N episodes; part of the ``state`` of a helper that draws.

    Attributes:
        streams: uint64 ``(N,)``, the start of each stream.
        steps: int64 ``(N,)``, decisions of the episode so far.
        keyed: bool ``(N,)``, True from ``begin_episodes`` to the first decision.
        counted: number of episodes without a key so far.
    """

    streams: NDArray[np.uint64]
    steps: NDArray[np.int64]
    keyed: NDArray[np.bool_]
    counted: int = 0

    @classmethod
    def begin(
        cls, state: EpisodeDraws | None, starts: NDArray[np.bool_], keys: NDArray[np.int64], *, seed: int
    ) -> EpisodeDraws:
        """Set the streams where ``starts`` (N,) is True, from the helper's seed and the episodes' ``keys`` (N,)."""
        draws = _empty(len(starts)) if state is None else state
        begun = draws._begun(np.flatnonzero(starts), KEYED_DRAWS, seed, keys[starts])
        return replace(begun, keyed=draws.keyed | starts)

    @classmethod
    def at(
        cls, state: EpisodeDraws | None, n: int, episode_start: NDArray[np.bool_] | None, *, seed: int
    ) -> EpisodeDraws:
        """The streams at a call of ``predict`` with N observations.

        An episode that begins without a key gets its number in the order of the episodes, so its stream depends on
        that order.
        """
        draws = _empty(n) if state is None else state
        starts = np.full(n, state is None)
        if episode_start is not None:
            starts |= np.atleast_1d(np.asarray(episode_start, dtype=bool))
        fresh = np.flatnonzero(starts & ~draws.keyed)
        if not len(fresh) and not draws.keyed.any():
            return draws
        numbers = draws.counted + np.arange(len(fresh))
        begun = draws._begun(fresh, COUNTED_DRAWS, seed, numbers)
        return replace(begun, keyed=np.zeros(n, dtype=bool), counted=draws.counted + len(fresh))

    def _begun(
        self, indices: NDArray[np.intp], purpose: Purpose, seed: int, numbers: NDArray[np.int64]
    ) -> EpisodeDraws:
        """The same with new streams at ``indices``."""
        streams, steps = self.streams.copy(), self.steps.copy()
        for i, number in zip(indices, numbers, strict=True):
            streams[i] = seed_sequence(purpose, int(seed), int(number)).generate_state(1, np.uint64)[0]
            steps[i] = 0
        return replace(self, streams=streams, steps=steps)

    def of_episode(self) -> NDArray[np.float64]:
        """``(N,)`` in [0, 1): one number per episode, equal at all of its steps."""
        return _uniform(self.streams, np.zeros(len(self.streams), dtype=np.uint64))

    def of_step(self, count: int = 1) -> tuple[NDArray[np.float64], EpisodeDraws]:
        """``(N, count)`` numbers in [0, 1) of this step, and the draws of the next; ``count`` is constant."""
        first = 1 + self.steps * count
        numbers = np.add.outer(first, np.arange(count)).astype(np.uint64)
        return _uniform(self.streams[:, None], numbers), replace(self, steps=self.steps + 1)


def _empty(n: int) -> EpisodeDraws:
    return EpisodeDraws(np.zeros(n, np.uint64), np.zeros(n, np.int64), np.zeros(n, bool))


def _uniform(streams: NDArray[np.uint64], number: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The ``number``-th output of SplitMix64 from each start, in [0, 1) with 53 bits."""
    z = streams + (number + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
