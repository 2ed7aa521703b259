"""Precision and recall of "hard task", computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.prm.hard_tasks import hard_tasks, per_task

#                 score success
TASKS = per_task(
    ["d", "a", "b", "b", "c", "c"],
    np.array([0.9, 0.2, 0.3, 0.5, 0.1, 0.3]),
    np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
    np.array([1.0, 1.0, 3.0, 1.0, 1.0, 1.0]),
)


def test_first_decisions_are_averaged_by_task_and_weight() -> None:
    assert TASKS["task"] == ["a", "b", "c", "d"]
    assert TASKS["score"] == pytest.approx([0.2, 0.35, 0.2, 0.9])
    assert TASKS["success"] == pytest.approx([0.0, 0.25, 1.0, 1.0])
    assert TASKS["rollouts"] == [1, 2, 2, 1]


@pytest.mark.parametrize(
    ("threshold", "hard", "flagged", "both", "precision", "recall"),
    [
        (0.5, 2, 3, 2, 2 / 3, 1.0),
        (0.3, 2, 2, 1, 0.5, 0.5),
        (0.15, 1, 0, 0, None, 0.0),
        (0.0, 0, 0, 0, None, None),
        (1.1, 4, 4, 4, 1.0, 1.0),
    ],
)
def test_precision_and_recall(threshold, hard, flagged, both, precision, recall) -> None:
    found = hard_tasks(TASKS, threshold)
    assert (found["hard"], found["flagged"], found["both"]) == (hard, flagged, both)
    assert (found["precision"], found["recall"]) == (precision, recall)
    assert (found["tasks"], found["rollouts_per_task"]) == (4, 1.5)


def test_no_tasks_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one task"):
        hard_tasks({"score": [], "success": [], "rollouts": []}, 0.5)
