"""Teaching a causal LM to answer by one token, where several questions share the page they are about.

The page is read once for all of them (:mod:`selfreg_gym.lm.questions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.questions import Questions, hang, logits_apart, logits_packed
from selfreg_gym.lm.scoring import best_path
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import TrainingLog, finetune, held_out_loss

__all__ = ["Page", "train_choice"]


@dataclass(frozen=True, slots=True)
class Page:
    """Q whole prompts that begin alike, and how much each of A answers is wanted after each.

    Attributes:
        prompts: Q texts.
        wanted: ``(Q, A)`` non-negative weights; a row of two positive entries is a soft label.
    """

    prompts: tuple[str, ...]
    wanted: np.ndarray


def train_choice(
    model: Any,
    tokenizer: Any,
    pages: Sequence[Page],
    answers: Sequence[int],
    *,
    batch_size: int = 8,
    held_out: Sequence[Page] = (),
    **arguments: Any,
) -> TrainingLog:
    """Minimise ``sum wanted * -log P(answer | prompt)``, where P is the softmax over the ``answers``' logits alone.

    Args:
        model: a causal LM (or its PEFT wrapper), trained in place.
        pages: at least one.
        answers: A token ids.
        batch_size: pages per forward.
        held_out: pages whose loss decides when to stop, and which weights are kept (``patience``).
        **arguments: of :func:`selfreg_gym.lm.training.finetune`.
    """
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    rows = [(hang(page.prompts, encoder), page.wanted) for page in pages]
    tokens = torch.as_tensor(list(answers))
    longest = max(questions.length for questions, _ in rows)
    read = logits_packed if best_path(model, longest=longest) == "tree" else logits_apart

    def loss(net: Any, batch: Sequence[tuple[Questions, np.ndarray]]) -> torch.Tensor:
        logits = read(net, [questions for questions, _ in batch], tokens, pad)
        wanted = torch.as_tensor(np.concatenate([wanted for _, wanted in batch]), dtype=torch.float32)
        return -(wanted.to(logits.device) * logits.log_softmax(-1)).sum() / len(batch)

    if held_out:
        aside = [(hang(page.prompts, encoder), page.wanted) for page in held_out]
        lengths = [questions.length for questions, _ in aside]
        arguments["validate"] = held_out_loss(loss, aside, lengths=lengths, batch_size=batch_size)
    return finetune(
        model, rows, loss, lengths=[questions.length for questions, _ in rows], batch_size=batch_size, **arguments
    )
