"""Precision and recall of hard tasks: whether p(s) at reset identifies tasks on which the actor alone fails.

A task is *hard* at a threshold x if its success rate without help is below x, and *flagged* if its mean p(s) at reset
is below x. A helper that decides once per task asks this question, at the threshold to which it was calibrated. With
few rollouts per task the success rate is noisy, so neither figure can reach 1; the number of rollouts is reported with
them. Our extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["HardTasks", "TaskScores", "hard_tasks", "per_task"]


class TaskScores(TypedDict):
    """Columns of equal length, sorted by task: mean score at reset, success rate without help, number of rollouts."""

    task: list[str]
    score: list[float]
    success: list[float]
    rollouts: list[int]


class HardTasks(TypedDict):
    """Numbers of tasks; precision = both / flagged and recall = both / hard, None if the denominator is 0."""

    threshold: float
    tasks: int
    rollouts_per_task: float
    hard: int
    flagged: int
    both: int
    precision: float | None
    recall: float | None


def per_task(task: Sequence[str], score: np.ndarray, outcome: np.ndarray, weight: np.ndarray) -> TaskScores:
    """Mean score and success rate per task, from N first decisions.

    Args:
        task: task ids, N.
        score: ``(N,)`` p(s) at reset.
        outcome: ``(N,)`` 1 if the episode succeeded, without help.
        weight: ``(N,)`` positive.
    """
    names, index = np.unique(np.asarray(task, dtype=str), return_inverse=True)
    mass = np.bincount(index, weight, len(names))
    return {
        "task": names.tolist(),
        "score": [round(x, 6) for x in (np.bincount(index, weight * score, len(names)) / mass).tolist()],
        "success": [round(x, 6) for x in (np.bincount(index, weight * outcome, len(names)) / mass).tolist()],
        "rollouts": np.bincount(index, minlength=len(names)).tolist(),
    }


def hard_tasks(tasks: TaskScores, threshold: float) -> HardTasks:
    """Compare the flagged tasks with the hard ones.

    Args:
        tasks: result of :func:`per_task`.
        threshold: x, in [0, 1].

    Raises:
        InvalidArgumentError: no tasks.
    """
    score, success = np.asarray(tasks["score"], dtype=float), np.asarray(tasks["success"], dtype=float)
    if not len(score):
        raise InvalidArgumentError("precision and recall of hard tasks need at least one task, received none.")
    flagged, hard = score < threshold, success < threshold
    both = int((flagged & hard).sum())
    return {
        "threshold": float(threshold),
        "tasks": len(score),
        "rollouts_per_task": float(np.mean(tasks["rollouts"])),
        "hard": int(hard.sum()),
        "flagged": int(flagged.sum()),
        "both": both,
        "precision": both / int(flagged.sum()) if flagged.any() else None,
        "recall": both / int(hard.sum()) if hard.any() else None,
    }
