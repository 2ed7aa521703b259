"""What functions accept as rollouts: a store, or episodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Episode

__all__ = ["RolloutSource", "checked_source", "finished_episodes"]

RolloutSource: TypeAlias = Rollouts | Iterable[Episode]
"""A ``Rollouts`` store, or episodes."""


def checked_source(rollouts: Any) -> Rollouts | list[Episode]:
    """The store, or a list of the episodes without an error that have steps; it can be read several times.

    Args:
        rollouts: a store, or an iterable of episodes.

    Raises:
        InvalidArgumentError: another object.

    Warns:
        UnfinishedStoreWarning: the collection of the store is not complete (:meth:`Rollouts.require_complete`).
    """
    if isinstance(rollouts, Rollouts):
        rollouts.require_complete()
        return rollouts
    return list(finished_episodes(rollouts))


def finished_episodes(rollouts: Any) -> Iterator[Episode]:
    """The episodes of a store or an iterable, one after the other, without those that have an error or no step.

    Raises:
        InvalidArgumentError: another object.
    """
    if isinstance(rollouts, str | os.PathLike):
        raise _rejected(rollouts, "open the file with Rollouts.open(path)")
    if isinstance(rollouts, Rollouts):
        rollouts = rollouts.episodes()
    elif not isinstance(rollouts, Iterable):
        raise _rejected(rollouts, "pass the result of collect or of Rollouts.open")
    for episode in rollouts:
        if not isinstance(episode, Episode):
            raise _rejected(episode, "pass the result of collect or of Rollouts.open", what="each episode")
        if episode.error is None and episode.steps:
            yield episode


def _rejected(received: Any, remedy: str, what: str = "rollouts") -> InvalidArgumentError:
    kind = "an Episode" if what == "each episode" else "a Rollouts store or episodes"
    return InvalidArgumentError(f"{what} must be {kind}, received {shown(received)}: {remedy}.")
