"""The two steps of the training of the helper ``lm``: regression of a teacher's gains, at all prices.

1. The network of the numbers (the actor's distribution, steps left, ...) is trained on all decisions, in seconds.
2. Backbone and head are trained end to end on a sample of the decisions. At first the text adds nothing to the answers
   of step 1.

Both steps are validated on held-out tasks, and keep the weights with the smallest loss there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.gain_model import GainHead, GainModel, gain_loss, text_features
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import TrainingLog, finetune, held_out_loss, seeded

__all__ = ["GainExamples", "r_squared", "train_gains", "train_numbers"]

TOPIC_WEIGHT = 0.3
_BATCH, _RATE, _EPOCHS = 512, 2e-3, 6  # of the network of the numbers


class GainExamples(NamedTuple):
    """m decisions to train on, or to validate on.

    Attributes:
        prompts: m texts.
        numbers: float32 ``(m, D)``.
        targets: float32 ``(m, P, K, 2)``, dS and dM of the teacher.
        weight: ``(m,)`` weights in the loss.
        topic: int64 ``(m,)``, the class of the decision in the auxiliary task; -1: none.
    """

    prompts: Sequence[str]
    numbers: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    topic: np.ndarray


def train_numbers(
    head: GainHead,
    numbers: np.ndarray,
    targets: np.ndarray,
    held_out: np.ndarray,
    *,
    seed: int,
    resume: str | Path | None = None,
) -> TrainingLog:
    """Train the network of the numbers alone, in place.

    Args:
        head: with a network of the numbers.
        numbers: float32 ``(n, D)``, all decisions.
        targets: float32 ``(n, P, K, 2)``.
        held_out: bool ``(n,)``, decisions to validate on; none: the last weights are kept.
        seed: seed of the order of the decisions.
        resume: directory for the state of an unfinished training.
    """
    x, y = torch.from_numpy(numbers), torch.from_numpy(targets)

    def loss(model: GainHead, rows: Sequence[int]) -> torch.Tensor:
        batch = torch.as_tensor(rows)
        return gain_loss(model, model.without_text(x[batch]), y[batch]).mean()

    inside, outside = np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()
    validate = held_out_loss(loss, outside, lengths=[1] * len(outside), batch_size=4096) if outside else None
    for parameter in head.of_text.parameters():
        parameter.requires_grad_(False)
    try:
        return finetune(
            head,
            inside,
            loss,
            lengths=[1] * len(inside),
            seed=seed,
            lr=_RATE,
            batch_size=min(_BATCH, max(8, len(inside) // 8)),
            epochs=_EPOCHS,
            validate=validate,
            resume=resume,
            description="numbers",
        )
    finally:
        for parameter in head.of_text.parameters():
            parameter.requires_grad_(True)


def train_gains(
    model: GainModel,
    tokenizer: Any,
    examples: GainExamples,
    held_out: GainExamples | None,
    *,
    topics: int = 0,
    batch_size: int = 16,
    seed: int,
    **arguments: Any,
) -> TrainingLog:
    """Train backbone and head, in place, with an optional auxiliary classification of the topic.

    Args:
        model: backbone and head.
        tokenizer: of the backbone.
        examples: at least one.
        held_out: examples for validation and the choice of the best weights, or None.
        topics: number of classes of the auxiliary task, for a linear layer on the text features. The class of a state
            takes fewer examples to learn than its gains. 0: no auxiliary task.
        batch_size: examples per forward pass.
        seed: seed of the order of the examples, of dropout and of the auxiliary layer.
        **arguments: of :func:`selfreg_gym.lm.training.finetune`.

    Raises:
        InvalidArgumentError: a prompt exceeds the backbone's maximum length, or has tokens beyond its embedding.
    """
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    limits = match_tokenizer(model.backbone, tokenizer)
    device = next(model.parameters()).device

    def encoded(part: GainExamples) -> list[list[int]]:
        rows = [encoder.prompt(text) for text in part.prompts]
        for ids in rows:
            limits.check(ids)
        return rows

    def loss_on(part: GainExamples, rows: Sequence[Sequence[int]], *, with_topic: bool) -> Any:
        tensors = [torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in part[1:]]
        numbers, targets, weight, topic = tensors

        def loss(net: GainModel, batch: Sequence[int]) -> torch.Tensor:
            ids = [rows[i] for i in batch]
            chosen = torch.as_tensor(list(batch), device=device)
            text = text_features(net.backbone, pad_right(ids, pad=pad).to(device), [len(one) for one in ids])
            found = net.head(text, numbers[chosen])
            value = (weight[chosen].float() * gain_loss(net.head, found, targets[chosen])).mean()
            known = topic[chosen] >= 0
            if not with_topic or not bool(known.any()):
                return value
            layer: Any = net.topic_head
            return value + TOPIC_WEIGHT * cross_entropy(layer(text[known]), topic[chosen][known])

        return loss

    rows = encoded(examples)
    if held_out is not None:
        outside = encoded(held_out)
        arguments["validate"] = held_out_loss(
            loss_on(held_out, outside, with_topic=False),
            range(len(outside)),
            lengths=[len(ids) for ids in outside],
            batch_size=batch_size,
        )
    if topics:
        with seeded(seed):
            model.topic_head = torch.nn.Linear(model.head.sizes[0], topics, device=device)
    try:
        return finetune(
            model,
            range(len(rows)),
            loss_on(examples, rows, with_topic=topics > 0),
            lengths=[len(ids) for ids in rows],
            batch_size=batch_size,
            seed=seed,
            **arguments,
        )
    finally:
        if topics:
            del model.topic_head


def r_squared(found: np.ndarray, wanted: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """``(P,)`` share of the variance of the gains that is explained at each price, the mean over interventions.

    Args:
        found, wanted: gains dS - r dM, ``(n, P, K)``.
        weight: ``(n,)``; None: all equal.
    """
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    error = np.average((found - wanted) ** 2, axis=0, weights=weight)
    spread = np.average((wanted - np.average(wanted, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    return np.asarray((1.0 - error / np.maximum(spread, 1e-12)).mean(-1))
