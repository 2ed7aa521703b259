"""The labels of a helper, gathered by observation: `LMHelper.train` draws from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from selfreg_gym.lm.choice_training import ChoiceExample

__all__ = ["LabelledPage", "gather_pages", "split_by_task"]


class LabelledPage(NamedTuple):
    """A page and what is wanted of it: ``wanted[b, a]`` is the weight of answer ``a`` at ``budgets[b]``."""

    observation: str
    budgets: tuple[float, ...]
    wanted: np.ndarray

    def questions(
        self,
        *,
        tokenizer: Any,
        topics: Mapping[str, int],
        augment: Callable[[str, np.random.Generator], str] | None,
        rng: np.random.Generator,
    ) -> ChoiceExample:
        """The rewritten observation with its questions; all observations count alike, as they were drawn by weight."""
        from selfreg_gym.lm.choice_training import ChoiceExample
        from selfreg_gym.lm.prompts import helper_prompt

        told = self.observation if augment is None else augment(self.observation, rng)
        prompts = tuple(helper_prompt(told, budget, tokenizer=tokenizer) for budget in self.budgets)
        return ChoiceExample(prompts, self.wanted / self.wanted.sum(), topics.get(self.observation))


def split_by_task(rows: Sequence[Any], *, share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """Labels to train on, and those of the held-out tasks."""
    from selfreg_gym.prm.targets import split_tasks

    if not all(hasattr(row, "task_id") for row in rows):
        raise InvalidArgumentError("patience keeps tasks aside to judge by: every label needs a task_id.")
    aside = split_tasks([row.task_id for row in rows], share=share, seed=seed)
    parts: tuple[list[Any], list[Any]] = ([], [])
    for row, out in zip(rows, aside, strict=True):
        parts[int(out)].append(row)
    return parts


def gather_pages(rows: Sequence[Any], *, interventions: int, help_weight: float) -> list[LabelledPage]:
    """Gather labels by page: equal (page, budget) are merged, and where they disagree both answers keep their weight.

    Returns:
        The pages with a positive weight: none if every label's weight is 0.
    """
    if not rows:
        raise InvalidArgumentError("a helper needs labels to train on, received none.")
    actions = [int(row.action) for row in rows]
    if min(actions) < 0 or max(actions) > interventions:
        raise InvalidArgumentError(
            f"labels must be 0 (nohelp) to K = {interventions}, received {min(actions)} to {max(actions)}."
        )
    wanted: dict[str, dict[float, np.ndarray]] = {}
    for row, action in zip(rows, actions, strict=True):
        entry = wanted.setdefault(row.observation, {}).setdefault(float(row.budget), np.zeros(interventions + 1))
        entry[action] += float(row.weight) * (help_weight if action else 1.0)
    pages = [
        LabelledPage(text, tuple(sorted(asked)), np.stack([asked[b] for b in sorted(asked)]))
        for text, asked in wanted.items()
    ]
    return [page for page in pages if page.wanted.sum() > 0]
