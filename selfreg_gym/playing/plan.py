"""Which episodes are played: the task, the seed and the help probability of each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EpisodeSpec"]


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """One episode to be played.

    Attributes:
        task_index: which task (``reset(options={"episode": task_index})``).
        seed: seed of all its randomness.
        help_probability: with what probability help is triggered at each step when no helper decides, in [0, 1].
    """

    task_index: int
    seed: int
    help_probability: float | None = None
