"""Held-out evaluation of a process reward model: examples, cross-fitted scale, scores of whole tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from selfreg_gym.lm.subsampling import subsample
from selfreg_gym.prm.hard_tasks import TaskScores, per_task
from selfreg_gym.prm.reliability import CalibrationTable, calibration_table, platt, sigmoid
from selfreg_gym.prm.targets import Examples, gather, split_tasks

__all__ = ["Scale", "calibration_examples", "cross_fit", "held_out_rows", "measure", "task_scores"]

Scale = Callable[[Examples, np.ndarray], np.ndarray]
"""From N examples and their logits ``(N,)`` to probabilities ``(N,)``."""


def measure(
    score: Callable[[Sequence[str]], np.ndarray], rollouts: Any, *, targets: str, bins: int
) -> CalibrationTable:
    """The calibration table of ``score`` on a store, on episodes, or on a pair ``(observations, outcomes)``."""
    if isinstance(rollouts, tuple):
        observations, outcome = rollouts
        return calibration_table(score(observations), outcome, bins=bins)
    examples = gather(rollouts, targets=targets)
    return calibration_table(score(examples.observations), examples.outcome, weight=examples.weight, bins=bins)


def held_out_rows(examples: Examples, held_out: np.ndarray, *, targets: str) -> np.ndarray:
    """Indices of the examples of held-out tasks; for "nohelp" of episodes without help, if two tasks have some."""
    rows = np.flatnonzero(held_out & examples.unhelped) if targets == "nohelp" else np.flatnonzero(held_out)
    return rows if len(set(examples.task[rows])) >= 2 else np.flatnonzero(held_out)


def calibration_examples(
    examples: Examples, held_out: np.ndarray, *, targets: str, limit: int | None, rng: np.random.Generator
) -> Examples:
    """At most ``limit`` of the :func:`held_out_rows`, as examples."""
    rows = held_out_rows(examples, held_out, targets=targets)
    chosen, weight = subsample(examples.weight[rows], limit, rng)
    return examples.take(rows[chosen], weight=weight)


def cross_fit(logit: np.ndarray, examples: Examples, *, seed: int) -> Scale:
    """Fit Platt's scale on each half of the tasks; the result scales each half by the fit of the other half.

    With a single task the logits stay unscaled.
    """
    names = np.unique(examples.task.astype(str))
    if len(names) < 2:
        return lambda _, values: sigmoid(values)
    first = set(names[split_tasks(names, share=0.5, seed=seed + 1)])
    half = np.asarray([task in first for task in examples.task])
    scales = [platt(logit[side], examples.outcome[side], weight=examples.weight[side]) for side in (half, ~half)]

    def scaled(some: Examples, values: np.ndarray) -> np.ndarray:
        a, b = np.asarray([scales[task in first] for task in some.task]).T  # True is index 1: the second half's fit
        return sigmoid(a * values + b)

    return scaled


def task_scores(examples: Examples, logits: Callable[[Sequence[str]], np.ndarray], scale: Scale) -> TaskScores | None:
    """Score at reset and success rate without help of each task; None if no episode is without help."""
    rows = np.flatnonzero(examples.first & examples.unhelped)
    if not len(rows):
        return None
    firsts = examples.take(rows)
    scores = scale(firsts, logits(firsts.observations))
    return per_task(firsts.task.tolist(), scores, firsts.outcome, firsts.weight)
