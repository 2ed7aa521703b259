"""Training examples of the helper ``lm-sft``: labels grouped by observation, and a sample of the observations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from selfreg_gym.agents.helpers._lm_prompts import Augment
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.utils.random_streams import LABEL_EXAMPLES, stream

if TYPE_CHECKING:
    from selfreg_gym.lm.choice_training import ChoiceExample

__all__ = ["LabelledObservation", "answer_tokens", "draw_examples", "gather", "split_by_task"]


class LabelledObservation(NamedTuple):
    """An observation with B budgets; ``weights`` ``(B, K + 1)`` has the weight of each action at each budget."""

    observation: str
    budgets: tuple[float, ...]
    weights: np.ndarray

    def example(
        self, tokenizer: Any, topics: Mapping[str, int], augment: Augment | None, rng: np.random.Generator
    ) -> ChoiceExample:
        """One prompt per budget, after augmentation, with weights that sum to 1.

        The weights are normalised because observations are drawn in proportion to their total weight.

        Args:
            tokenizer: its chat template is applied, if it has one.
            topics: the number of the topic of each observation whose topic is known.
            augment: rewrites the observation; None: it is unchanged.
            rng: random generator of ``augment``.
        """
        from selfreg_gym.lm.choice_training import ChoiceExample
        from selfreg_gym.lm.prompts import helper_prompt

        text = self.observation if augment is None else augment(self.observation, rng)
        prompts = tuple(helper_prompt(text, budget, tokenizer=tokenizer) for budget in self.budgets)
        return ChoiceExample(prompts, self.weights / self.weights.sum(), topics.get(self.observation))


def split_by_task(labels: Sequence[Any], *, share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """The labels to train on, and the labels of held-out tasks.

    Args:
        labels: each with a ``task_id``.
        share: share of the tasks that are held out.
        seed: seed of the choice of these tasks.

    Raises:
        InvalidArgumentError: a label has no ``task_id``.
    """
    from selfreg_gym.prm.targets import split_tasks

    if not all(hasattr(label, "task_id") for label in labels):
        raise InvalidArgumentError("patience holds out tasks for validation: every label needs a task_id.")
    held_out = split_tasks([label.task_id for label in labels], share=share, seed=seed)
    parts: tuple[list[Any], list[Any]] = ([], [])
    for label, out in zip(labels, held_out, strict=True):
        parts[int(out)].append(label)
    return parts


def gather(labels: Sequence[Any], *, interventions: int, help_weight: float) -> list[LabelledObservation]:
    """Group labels by observation and budget; the weights of equal actions are added.

    Args:
        labels: objects with ``observation, budget, action, weight``.
        interventions: K.
        help_weight: factor on the weight of labels whose action is help.

    Returns:
        The observations with a positive weight; an empty list if the weights of all labels are 0.

    Raises:
        InvalidArgumentError: there are no labels, or an action is not from 0 to K.
    """
    if not labels:
        raise InvalidArgumentError("a helper needs labels to train on, received none.")
    actions = [int(label.action) for label in labels]
    if min(actions) < 0 or max(actions) > interventions:
        raise InvalidArgumentError(
            f"labels must be 0 (nohelp) to K = {interventions}, received {min(actions)} to {max(actions)}."
        )
    weights: dict[str, dict[float, np.ndarray]] = {}
    for label, action in zip(labels, actions, strict=True):
        entry = weights.setdefault(label.observation, {}).setdefault(float(label.budget), np.zeros(interventions + 1))
        entry[action] += float(label.weight) * (help_weight if action else 1.0)
    gathered = [
        LabelledObservation(text, tuple(sorted(found)), np.stack([found[budget] for budget in sorted(found)]))
        for text, found in weights.items()
    ]
    return [one for one in gathered if one.weights.sum() > 0]


def draw_examples(
    gathered: Sequence[LabelledObservation],
    held_out: Sequence[Any],
    *,
    limit: int,
    tokenizer: Any,
    features: Mapping[str, str],
    augment: Augment | None,
    interventions: int,
    help_weight: float,
    seed: int,
) -> tuple[list[ChoiceExample], list[ChoiceExample], int]:
    """Draw observations with replacement, in proportion to their total weight, each with all its budgets.

    Args:
        gathered: observations to train on.
        held_out: labels of the held-out tasks.
        limit: approximate number of drawn (observation, budget) pairs to train on.
        tokenizer, features, augment, help_weight: as in :meth:`LMSFTHelper.train`.
        interventions: K.
        seed: seed of the sample and of ``augment``.

    Returns:
        Examples to train on, examples for validation (not augmented), and the number of topics.
    """
    from selfreg_gym.lm.subsampling import resample

    rng = stream(LABEL_EXAMPLES, seed)
    names = {name: i for i, name in enumerate(sorted(set(features.values())))}
    topics = {text: names[name] for text, name in features.items()}
    size = max(1, round(len(gathered) * limit / sum(len(one.budgets) for one in gathered)))
    total = np.asarray([one.weights.sum() for one in gathered])
    chosen = [gathered[i].example(tokenizer, topics, augment, rng) for i in resample(total, size, rng)]
    if not held_out:
        return chosen, [], len(names)
    validation = gather(held_out, interventions=interventions, help_weight=help_weight)
    if not validation:
        warnings.warn(
            "the held-out labels all have weight 0, so the helper is trained to the end: "
            "hold out more tasks (share), or others (seed).",
            RuntimeWarning,
            stacklevel=3,
        )
        return chosen, [], len(names)
    total = np.asarray([one.weights.sum() for one in validation])
    sample = resample(total, min(len(validation), max(256, size // 20)), rng)
    return chosen, [validation[i].example(tokenizer, topics, None, rng) for i in sample], len(names)


def answer_tokens(tokenizer: Any, interventions: int) -> list[int]:
    """First tokens of the answers "nohelp", "help", "help2", ...; digits where the first tokens of words are equal.

    Raises:
        InvalidArgumentError: the tokenizer has no K + 1 different tokens for the answers.
    """
    from selfreg_gym.lm.tokenizer import PromptEncoder

    encoder = PromptEncoder(tokenizer)
    words = ["nohelp", "help", *(f"help{k}" for k in range(2, interventions + 1))]
    for answers in (words, [str(k) for k in range(interventions + 1)]):
        tokens = [encoder.continuation(f" {answer}", after="?") for answer in answers]
        first = [ids[0] for ids in tokens if ids and ids[0] != tokenizer.unk_token_id]
        if len(set(first)) == interventions + 1:
            return first
    raise InvalidArgumentError(f"this tokenizer has no {interventions + 1} different tokens for a helper's answers.")
