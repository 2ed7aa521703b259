"""Supervised fine-tuning of a causal LM to choose one of A answer tokens after each of several prompts.

The loss of an example with Q prompts x_q and weights w_qa >= 0 is ``-sum_q sum_a w_qa log P(a | x_q)``, where P is the
softmax over the logits of the A answer tokens alone. Prompts of an example share a prefix, which is read once
(:mod:`selfreg_gym.lm.readers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.readers import PromptGroup, answer_positions, logits_packed, logits_separate, split_prefix
from selfreg_gym.lm.scoring_paths import LONGEST_TREE, best_path
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import TrainingLog, finetune, held_out_loss, seeded

__all__ = ["ChoiceExample", "train_choice"]


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """Q whole prompts that share a prefix, with a weight for each of A answers to each prompt.

    Attributes:
        prompts: Q texts.
        targets: ``(Q, A)`` non-negative weights; a row with two positive entries is a soft label.
        topic: index of the class of the observation among T classes, or None if it is unknown.
    """

    prompts: tuple[str, ...]
    targets: np.ndarray
    topic: int | None = None


def train_choice(
    model: Any,
    tokenizer: Any,
    examples: Sequence[ChoiceExample],
    answers: Sequence[int],
    *,
    batch_size: int = 8,
    held_out: Sequence[ChoiceExample] = (),
    topics: int = 0,
    topic_weight: float = 0.3,
    **arguments: Any,
) -> TrainingLog:
    """Minimise the weighted cross-entropy of the answers, with an optional auxiliary classification of the topic.

    Args:
        model: a causal LM (or its PEFT wrapper), trained in place.
        tokenizer: its tokenizer.
        examples: at least one.
        answers: A token ids.
        batch_size: examples per forward pass.
        held_out: examples for validation, early stopping (``patience``) and the choice of the best weights.
        topics: T. If positive, an auxiliary linear head learns to predict the topic from the hidden state at which the
            answer is predicted. The topic takes fewer examples to learn than the answer, which depends on it. The head
            is removed after training.
        topic_weight: weight of the topic's cross-entropy (mean over the prompts) relative to the loss of the answers.
        **arguments: of :func:`selfreg_gym.lm.training.finetune`.

    Raises:
        InvalidArgumentError: a prompt exceeds the model's maximum length, or has tokens beyond its embedding.
        CheckpointError: the tokenizer's pad token or vocabulary is beyond the embedding.
    """
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    tokens = torch.as_tensor(list(answers))
    limits = match_tokenizer(model, tokenizer)

    def encoded(part: Sequence[ChoiceExample]) -> list[tuple[PromptGroup, ChoiceExample]]:
        pairs = [(split_prefix(example.prompts, encoder), example) for example in part]
        for group, _ in pairs:
            for ids in group.prompts:
                limits.check(ids)
        return pairs

    rows = encoded(examples)
    longest = max(group.length for group, _ in rows)
    packed = best_path(model, longest=longest, packed=longest <= LONGEST_TREE) == "tree"
    read = logits_packed if packed else logits_separate

    def choice_loss(net: Any, batch: Sequence[tuple[PromptGroup, ChoiceExample]]) -> torch.Tensor:
        logits = read(net, [group for group, _ in batch], tokens, pad)
        targets = torch.as_tensor(np.concatenate([example.targets for _, example in batch]), dtype=torch.float32)
        return -(targets.to(logits.device) * logits.log_softmax(-1)).sum() / len(batch)

    if held_out:
        validation = encoded(held_out)
        lengths = [group.length for group, _ in validation]
        arguments["validate"] = held_out_loss(choice_loss, validation, lengths=lengths, batch_size=batch_size)
    arguments |= {"lengths": [group.length for group, _ in rows], "batch_size": batch_size}
    if not topics:
        return finetune(model, rows, choice_loss, **arguments)
    with _topic_head(model, topics, seed=arguments["seed"]) as hidden_states:

        def loss(net: Any, batch: Sequence[tuple[PromptGroup, ChoiceExample]]) -> torch.Tensor:
            choice = choice_loss(net, batch)
            positions = answer_positions([group for group, _ in batch], packed=packed)
            labels = [example.topic for group, example in batch for _ in group.prompts]
            known = [i for i, topic in enumerate(labels) if topic is not None]
            if not known:
                return choice
            scores = net.topic_head(hidden_states()[positions][known].float())
            topic = torch.as_tensor([labels[i] for i in known], device=scores.device)
            return choice + topic_weight * torch.nn.functional.cross_entropy(scores, topic)

        return finetune(model, rows, loss, **arguments)


@contextmanager
def _topic_head(model: Any, topics: int, *, seed: int) -> Iterator[Callable[[], torch.Tensor]]:
    """Give the model a layer ``topic_head``; yield a getter of the output layer's last input (B, columns, hidden)."""
    last: list[torch.Tensor] = []

    def keep(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        last[:] = inputs[:1]

    output = model.get_output_embeddings()
    hook = output.register_forward_pre_hook(keep)
    with seeded(seed):
        model.topic_head = torch.nn.Linear(output.weight.shape[1], topics, device=model.device)
    try:
        yield lambda: last[0]
    finally:
        hook.remove()
        del model.topic_head
