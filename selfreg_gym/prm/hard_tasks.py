"""Precision and recall of "hard task": does p at the first moment single out the tasks that the actor fails alone?

A task is *hard* at a threshold x if its success without help, over its rollouts, is below x; the model *flags* it if
its mean score at reset is below x. That is the question that self-regulation once per task asks (the helper
``prm-per-task``), and the threshold is the one that the helper was calibrated to. With few rollouts per task "hard" is
known with noise, so neither figure can reach 1; the number of rollouts is told beside them. Definition: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["hard_tasks", "per_task"]


def per_task(task: Sequence[str], score: np.ndarray, outcome: np.ndarray, weight: np.ndarray) -> dict[str, list[Any]]:
    """Gather N first moments by task.

    Args:
        task: N task ids.
        score: ``(N,)`` p(s) at reset.
        outcome: ``(N,)`` 1 where the episode succeeded without help.
        weight: ``(N,)`` positive.

    Returns:
        ``{"task", "score", "success", "rollouts"}``, lists of equal length, tasks in alphabetical order.
    """
    names, index = np.unique(np.asarray(task, dtype=str), return_inverse=True)
    mass = np.bincount(index, weight, len(names))
    return {
        "task": names.tolist(),
        "score": [round(x, 6) for x in (np.bincount(index, weight * score, len(names)) / mass).tolist()],
        "success": [round(x, 6) for x in (np.bincount(index, weight * outcome, len(names)) / mass).tolist()],
        "rollouts": np.bincount(index, minlength=len(names)).tolist(),
    }


def hard_tasks(tasks: Mapping[str, Sequence[Any]], threshold: float) -> dict[str, Any]:
    """Compare which tasks are flagged with which are hard.

    Args:
        tasks: what :func:`per_task` returned.
        threshold: x, a probability of success.

    Returns:
        ``{"threshold", "tasks", "rollouts_per_task", "hard", "flagged", "both", "precision", "recall"}``: counts of
        tasks, precision = both / flagged, recall = both / hard; None where that is a division by 0.

    Raises:
        InvalidArgumentError: there are no tasks.
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
