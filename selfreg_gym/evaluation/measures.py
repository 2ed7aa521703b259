"""The measures of one episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode

__all__ = ["EpisodeId", "EpisodeMeasures", "episode_id", "measure"]

AFTER_HELP = 3
"""An invalid action counts as *after help* if help was given at most this many steps before."""

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
    """Measure an episode. All measures of a truncated episode (one that ended in an error) are NaN.

    A call of several steps is one decision: it counts as one call, and toggles are between decisions.
    """
    count, decisions = len(episode.usage), episode.decisions
    helped = np.array([0 < decision.action <= count for decision in decisions], dtype=bool)
    starts = int(helped[:1].sum() + (helped[1:] & ~helped[:-1]).sum())
    latest, after = -AFTER_HELP - 1, False
    for step in episode.steps:
        # An invalid action of the intervention itself is not "after help", only one of the actor alone.
        after |= step.invalid and step.action == 0 and step.t - latest <= AFTER_HELP
        if step.action > 0:
            latest = step.t
    values = {
        "success": float(episode.success),
        "usage": episode.cost,  # cost units
        "length": float(len(episode.steps)),
        "decisions": float(len(decisions)),
        "helped": float(sum(0 < step.action <= count for step in episode.steps)),  # steps with help
        "aborted": float(episode.aborted),
        "toggles": float(max(0, starts - 1)),  # returns to help after a pause: help, nohelp, help
        "switches": float((helped[1:] != helped[:-1]).sum()),  # changes between help and nohelp, in either direction
        "invalid": float(any(step.invalid for step in episode.steps)),  # 1 if an action was not admissible
        "invalid_after_help": float(after),  # 1 if such an action came at most AFTER_HELP steps after help
        "unseen": float(episode.metrics.get("unseen", np.nan)),  # decisions in states that the helper does not know
        # Steps with help at which the actor was asked too: the helper's own cost. Absent if there are none.
        "extra_actor_calls": float(episode.metrics.get("extra_actor_calls", 0.0)),
        "spl": float(episode.metrics.get("spl", np.nan)),  # success weighted by path length, if the task says it
    }
    actions = [decision.action for decision in decisions]
    values |= {f"usage_{k}": float(usage) for k, usage in enumerate(episode.usage, 1)}  # cost units of the k-th one
    values |= {f"calls_{k}": float(actions.count(k)) for k in range(1, count + 1)}
    if episode.error is not None:
        values = dict.fromkeys(values, np.nan)
    values["error"] = float(episode.error is not None)
    return EpisodeMeasures(episode.task_index, episode.seed, episode.kind, episode.error, values)
