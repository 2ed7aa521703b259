"""Fine-tuning of a sequence classifier on the examples of a process reward model: weighted binary cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.prompts import success_prompt
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import TrainingLog, finetune, held_out_loss
from selfreg_gym.prm.targets import Examples

__all__ = ["fit_classifier"]


def fit_classifier(
    model: Any, tokenizer: Any, examples: Examples, *, validation: Examples | None, batch_size: int, **options: Any
) -> TrainingLog:
    """Train a classifier with one logit in place; ``options`` are those of :func:`selfreg_gym.lm.training.finetune`.

    Raises:
        InvalidArgumentError: a prompt is longer than the model's context.
    """
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    limits = match_tokenizer(model, tokenizer)

    def encoded(part: Examples) -> list[tuple[list[int], float, float]]:
        prompts = [encoder.prompt(success_prompt(text, tokenizer=tokenizer)) for text in part.observations]
        for ids in prompts:
            limits.check(ids)
        return list(zip(prompts, part.outcome.tolist(), part.weight.tolist(), strict=True))

    def loss(net: Any, batch: Sequence[tuple[list[int], float, float]]) -> torch.Tensor:
        logits = net(input_ids=pad_right([ids for ids, _, _ in batch], pad=pad).to(net.device)).logits.float()
        outcomes = torch.tensor([[y] for _, y, _ in batch], device=logits.device)  # (B, 1) float
        weight = torch.tensor([[w] for _, _, w in batch], device=logits.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, outcomes, weight=weight)

    data, held = encoded(examples), encoded(validation) if validation is not None else []
    validate = held_out_loss(loss, held, lengths=[len(ids) for ids, _, _ in held], batch_size=batch_size)
    return finetune(
        model,
        data,
        loss,
        lengths=[len(ids) for ids, _, _ in data],
        batch_size=batch_size,
        validate=validate if held else None,
        description="process reward model",
        **options,
    )
