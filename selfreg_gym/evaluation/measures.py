"""The measures of one episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode

__all__ = ["COLUMNS", "EpisodeId", "EpisodeMeasures", "episode_id", "measure"]

AFTER_HELP = 3
"""An invalid action counts as *after help* if help was given at most this many steps before."""

COLUMNS = (
    "success",  # 1 or 0
    "usage",  # cost units
    "length",  # decisions
    "helped",  # decisions with help
    "toggles",  # returns to help after a pause: help, nohelp, help
    "switches",  # changes between help and nohelp, in either direction
    "invalid",  # 1 if an action was not admissible
    "invalid_after_help",  # 1 if such an action came at most AFTER_HELP steps after help
    "unseen",  # decisions in states that the helper does not know; NaN if it does not say
    "spl",  # success weighted by path length; NaN if the task does not say
)
"""The measures of an episode. A truncated episode (one that ended in an error) has NaN in all of them. The column
``error`` is 1 for it, 0 for other episodes, and NaN for an episode that is not in the helper's plan."""

EpisodeId = tuple[int, int]
"""Task index and seed: the same episode for every helper."""


@dataclass(frozen=True, slots=True)
class EpisodeMeasures:
    """The measures of an episode by name; they travel between processes in place of the episode."""

    task_index: int
    seed: int
    kind: str
    error: str | None
    values: dict[str, float]


def episode_id(episode: Episode | EpisodeSpec | EpisodeMeasures) -> EpisodeId:
    """The task index and the seed of an episode, played or planned."""
    return episode.task_index, episode.seed


def measure(episode: Episode) -> EpisodeMeasures:
    """The measures of :data:`COLUMNS`, ``error``, and those of each intervention k from 1 to K.

    The latter are ``usage_1 .. usage_K`` (cost units) and ``calls_1 .. calls_K`` (decisions with its help).
    """
    return EpisodeMeasures(episode.task_index, episode.seed, episode.kind, episode.error, _values(episode))


def _values(episode: Episode) -> dict[str, float]:
    names = [f"{what}_{k}" for what in ("usage", "calls") for k in range(1, len(episode.usage) + 1)]
    if episode.error is not None:
        return dict.fromkeys([*COLUMNS, *names], np.nan) | {"error": 1.0}
    helped = np.array([step.action > 0 for step in episode.steps], dtype=bool)
    starts = int(helped[:1].sum() + (helped[1:] & ~helped[:-1]).sum())
    latest, after = -AFTER_HELP - 1, False
    for step in episode.steps:
        # An invalid action of the intervention itself is not "after help", only one of the actor alone.
        after |= step.invalid and step.action == 0 and step.t - latest <= AFTER_HELP
        if step.action > 0:
            latest = step.t
    values = (
        float(episode.success),
        episode.cost,
        float(len(helped)),
        float(helped.sum()),
        float(max(0, starts - 1)),
        float((helped[1:] != helped[:-1]).sum()),
        float(any(step.invalid for step in episode.steps)),
        float(after),
        float(episode.metrics.get("unseen", np.nan)),
        float(episode.metrics.get("spl", np.nan)),
    )
    calls = [sum(step.action == k for step in episode.steps) for k in range(1, len(episode.usage) + 1)]
    by_intervention = dict(zip(names, map(float, [*episode.usage, *calls]), strict=True))
    return dict(zip(COLUMNS, values, strict=True)) | by_intervention | {"error": 0.0}
