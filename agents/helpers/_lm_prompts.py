"""Prompts of the helper ``lm``, for stored decisions and for those in progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from selfreg_gym.inputs import DecisionTable
from selfreg_gym.lm.prompts import gain_prompt
from selfreg_gym.utils.random_streams import LABEL_EXAMPLES, stream

__all__ = ["Augment", "distinct_decisions", "draw_decisions", "prompts_of"]

Augment = Callable[[str, np.random.Generator], str]
"""A function that rewrites an observation without changing its meaning."""
"""A function that rewrites an observation without changing its meaning."""


def prompts_of(
    table: DecisionTable,
    *,
    facts: bool,
    tokenizer: Any = None,
    augment: Augment | None = None,
    rng: np.random.Generator | None = None,
) -> list[str]:
    """The prompts of n decisions (:func:`selfreg_gym.lm.prompts.gain_prompt`).

    Args:
        table: n decisions.
        facts: whether the prompt has the feature key, where the task has one.
        tokenizer: its chat template is applied, if it has one.
        augment: rewrites each observation; None: observations are unchanged.
        rng: random generator of ``augment``.
    """
    texts, keys = table.observation, table.feature_key
    columns = texts.codes.tolist(), keys.codes.tolist(), table.steps_left.tolist(), table.calls_so_far.tolist()
    prompts = []
    for text, key, left, calls in zip(*columns, strict=True):
        observation = texts.values[text]
        if augment is not None and rng is not None:
            observation = augment(observation, rng)
        prompts.append(
            gain_prompt(
                observation,
                facts=keys.values[key] if facts and key >= 0 else None,
                steps_left=left if left >= 0 else None,
                calls=calls,
                tokenizer=tokenizer,
            )
        )
    return prompts


def distinct_decisions(table: DecisionTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first decision with each distinct prompt, and the number of decisions with this prompt.

    Args:
        table: n decisions.
        rows: ``(m,)`` indices of the decisions to consider.

    Returns:
        Indices into the table ``(d,)``, in rising order, and counts ``(d,)``.
    """
    columns = [table.observation.codes, table.feature_key.codes, table.steps_left]
    key = np.column_stack([*columns, table.calls_so_far])[rows]
    _, first, count = np.unique(key, axis=0, return_index=True, return_counts=True)
    order = np.argsort(rows[first])
    return rows[first][order], count[order]


def draw_decisions(
    table: DecisionTable, rows: Sequence[int] | np.ndarray, *, size: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw decisions with different prompts, and compute their weights in the loss.

    A frequent prompt is drawn with a higher probability, but at most once. The weights make the loss of the sample an
    unbiased estimate of the loss over all decisions (:func:`selfreg_gym.lm.subsampling.subsample`).

    Args:
        table: n decisions.
        rows: ``(m,)`` indices of the decisions to draw from.
        size: number of draws; None: all distinct prompts.
        seed: seed of the draws.

    Returns:
        Indices into the table ``(d,)`` and weights ``(d,)`` with a mean of 1.
    """
    from selfreg_gym.lm.subsampling import subsample

    distinct, count = distinct_decisions(table, np.asarray(rows))
    chosen, weight = subsample(count, size, stream(LABEL_EXAMPLES, seed))
    return distinct[chosen], weight
