"""Teaching a causal LM to answer by one token, where several questions share the page they are about.

The page is read once for all of them (:mod:`selfreg_gym.lm.questions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.questions import Questions, hang, logits_apart, logits_packed, places
from selfreg_gym.lm.scoring import LONGEST_TREE, best_path
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import TrainingLog, finetune, held_out_loss, seeded

__all__ = ["Page", "train_choice"]


@dataclass(frozen=True, slots=True)
class Page:
    """Q whole prompts that begin alike, and how much each of A answers is wanted after each.

    Attributes:
        prompts: Q texts.
        wanted: ``(Q, A)`` non-negative weights; a row of two positive entries is a soft label.
        topic: which of T kinds of page this is, or None where that is not known.
    """

    prompts: tuple[str, ...]
    wanted: np.ndarray
    topic: int | None = None


def train_choice(
    model: Any,
    tokenizer: Any,
    pages: Sequence[Page],
    answers: Sequence[int],
    *,
    batch_size: int = 8,
    held_out: Sequence[Page] = (),
    topics: int = 0,
    topic_weight: float = 0.3,
    **arguments: Any,
) -> TrainingLog:
    """Minimise ``sum wanted * -log P(answer | prompt)``, where P is the softmax over the ``answers``' logits alone.

    Args:
        model: a causal LM (or its PEFT wrapper), trained in place.
        pages: at least one.
        answers: A token ids.
        batch_size: pages per forward.
        topics: T. If positive, a linear head of its own learns to tell the pages' topics from what the model has
            gathered where it answers. What a page is about takes the model fewer examples to learn than what to do,
            which depends on it; the head is thrown away.
        topic_weight: weight of its cross-entropy (mean over the questions) beside that of the answers.
        held_out: pages whose loss decides when to stop, and which weights are kept (``patience``).
        **arguments: of :func:`selfreg_gym.lm.training.finetune`.

    Raises:
        InvalidArgumentError: a prompt does not fit into the model's positions, or has tokens beyond its embedding.
        CheckpointError: the tokenizer's pad token or vocabulary is beyond the embedding.
    """
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    rows = [(hang(page.prompts, encoder), page) for page in pages]
    tokens = torch.as_tensor(list(answers))
    limits = match_tokenizer(model, tokenizer)
    for questions, _ in rows:
        for ids in questions.whole:
            limits.check(ids)
    longest = max(questions.length for questions, _ in rows)
    packed = best_path(model, longest=longest, packed=longest <= LONGEST_TREE) == "tree"
    read = logits_packed if packed else logits_apart

    def choice_loss(net: Any, batch: Sequence[tuple[Questions, Page]]) -> torch.Tensor:
        logits = read(net, [questions for questions, _ in batch], tokens, pad)
        wanted = torch.as_tensor(np.concatenate([page.wanted for _, page in batch]), dtype=torch.float32)
        return -(wanted.to(logits.device) * logits.log_softmax(-1)).sum() / len(batch)

    if held_out:
        aside = [(hang(page.prompts, encoder), page) for page in held_out]
        for questions, _ in aside:
            for ids in questions.whole:
                limits.check(ids)
        lengths = [questions.length for questions, _ in aside]
        arguments["validate"] = held_out_loss(choice_loss, aside, lengths=lengths, batch_size=batch_size)
    arguments |= {"lengths": [questions.length for questions, _ in rows], "batch_size": batch_size}
    if not topics:
        return finetune(model, rows, choice_loss, **arguments)
    with _topic_head(model, topics, seed=arguments["seed"]) as gathered:

        def loss(net: Any, batch: Sequence[tuple[Questions, Page]]) -> torch.Tensor:
            choice = choice_loss(net, batch)
            where = places([questions for questions, _ in batch], packed=packed)
            told = [page.topic for questions, page in batch for _ in questions.whole]
            known = [i for i, topic in enumerate(told) if topic is not None]
            if not known:
                return choice
            scores = net.topic_head(gathered()[where][known].float())
            topic = torch.as_tensor([told[i] for i in known], device=scores.device)
            return choice + topic_weight * torch.nn.functional.cross_entropy(scores, topic)

        return finetune(model, rows, loss, **arguments)


@contextmanager
def _topic_head(model: Any, topics: int, *, seed: int) -> Iterator[Callable[[], torch.Tensor]]:
    """Give the model a ``topic_head`` for the time of the block.

    Yields:
        What returns the states that the last forward handed to the output layer: ``(B, kept columns, hidden)``.
    """
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
