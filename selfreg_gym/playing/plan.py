"""``EpisodeSpec``: task index, seed and help probability of an episode."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EpisodeSpec"]


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """One episode to play.

    Attributes:
        task_index: the task, ``reset(options={"episode": task_index})``.
        seed: seed of everything that is random in the episode, ``reset(seed=seed)``.
        help_probability: probability of help at each step when no helper decides, in [0, 1]; None with a helper.
        plan_index: position in the plan of a stored collection, or None for an episode that belongs to no plan.
        run: number of the collection within the store (0 unless several collections share the store).
    """

    task_index: int
    seed: int
    help_probability: float | None = None
    plan_index: int | None = None
    run: int = 0
