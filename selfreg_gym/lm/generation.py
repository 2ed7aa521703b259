"""Free generation, sampled from a random stream per prompt.

``transformers.generate`` draws from torch's global generator, so what one prompt gets would depend on its
neighbours in the batch. Here each row draws from its own ``numpy`` stream, by the inverse of the cumulative
distribution over rounded logits: a prompt's answer is the same alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.drawing import sample_index, softmax
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.scoring import micro_batches
from selfreg_gym.lm.stopping import stop_tokens
from selfreg_gym.lm.thoughts import is_mark
from selfreg_gym.lm.tokenizer import PromptEncoder

__all__ = ["generate", "sample_index", "softmax"]


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    rngs: Sequence[np.random.Generator],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 64,
    micro_batch: int = 8,
    decimals: int = 3,
    one_line: bool = False,
    encoder: PromptEncoder | None = None,
) -> list[tuple[str, int]]:
    """Continue every prompt until a stop token (:func:`selfreg_gym.lm.stopping.stop_tokens`) or ``max_new_tokens``.

    Args:
        prompts: N texts.
        rngs: N random streams, one per prompt; one uniform number is drawn per token (none at temperature 0).
        temperature: 0 is greedy.
        decimals: logits are rounded so before sampling.
        one_line: stop with the first line break behind something written, and leave it and what follows out of the
            text: a model that was not trained to stop there would go on with a next page of its own.

    Returns:
        For each prompt the new text, without special tokens other than marks of thoughts, channels and answers, and the
        number of tokens read and written.

    Raises:
        InvalidArgumentError: N differs, ``temperature`` or ``max_new_tokens`` is out of range, or a prompt and
            ``max_new_tokens`` do not fit into the model's positions.
    """
    if len(prompts) != len(rngs):
        raise InvalidArgumentError(f"one rng per prompt is needed, received {len(prompts)} prompts, {len(rngs)} rngs.")
    if temperature < 0 or max_new_tokens < 1:
        raise InvalidArgumentError(
            "temperature must be 0 or more and max_new_tokens at least 1, "
            f"received {temperature!r} and {max_new_tokens!r}."
        )
    encoder = encoder or PromptEncoder(tokenizer)
    limits = match_tokenizer(model, tokenizer)
    ids = [encoder.prompt(prompt) for prompt in prompts]
    for row in ids:
        limits.check(row, more=max_new_tokens)
    answers: list[list[int]] = [[] for _ in prompts]
    silent = _silent(tokenizer)

    def text_of(tokens: Sequence[int]) -> str:
        return tokenizer.decode([token for token in tokens if token not in silent], skip_special_tokens=False)

    lengths = [len(row) + max_new_tokens for row in ids]
    with torch.inference_mode():
        for chunk in micro_batches(lengths, rows=micro_batch, tokens=8192):
            written = _continue(
                model,
                [ids[i] for i in chunk],
                [rngs[i] for i in chunk],
                pad=int(tokenizer.pad_token_id),
                stop=frozenset(stop_tokens(model, tokenizer)),
                temperature=temperature,
                limit=max_new_tokens,
                decimals=decimals,
                ended=(lambda row: "\n" in text_of(row).lstrip()) if one_line else None,
            )
            for i, tokens in zip(chunk, written, strict=True):
                answers[i] = tokens
    return [
        (_first_line(text_of(tokens)) if one_line else text_of(tokens), len(row) + len(tokens))
        for row, tokens in zip(ids, answers, strict=True)
    ]


def _first_line(text: str) -> str:
    """``text`` up to the first line break behind something written."""
    begin = len(text) - len(text.lstrip())
    return text[:begin] + text[begin:].partition("\n")[0]


def _continue(
    model: Any,
    prompts: Sequence[list[int]],
    rngs: Sequence[np.random.Generator],
    *,
    pad: int,
    stop: frozenset[int],
    temperature: float,
    limit: int,
    decimals: int,
    ended: Callable[[Sequence[int]], bool] | None,
) -> list[list[int]]:
    """Decode one micro-batch with a key-value cache; prompts are padded on the left."""
    batch, longest = len(prompts), max(map(len, prompts))
    tokens = torch.full((batch, longest), pad)
    mask = torch.zeros(batch, longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in prompts]
    active = [True] * batch
    cache = None
    for _ in range(limit):
        out = model(
            input_ids=tokens.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        logits = np.round(out.logits[:, -1].float().cpu().numpy().astype(np.float64), decimals)
        chosen = torch.full((batch, 1), pad)
        for row in range(batch):
            if not active[row]:
                continue
            if temperature == 0:
                token = int(np.argmax(logits[row]))
            else:
                token = sample_index(softmax(logits[row], temperature=temperature), rngs[row])
            if token in stop:
                active[row] = False
                continue
            written[row].append(token)  # a line break too: one token may hold the end of a line and its break
            chosen[row, 0] = token
            active[row] = ended is None or not ended(written[row])
        if not any(active):
            break
        tokens = chosen
        mask = torch.cat([mask, torch.ones(batch, 1, dtype=torch.long)], dim=1)
        positions = positions[:, -1:] + 1
    return written


def _silent(tokenizer: Any) -> frozenset[int]:
    """Special tokens that are not shown: all but the marks of thoughts, channels and answers."""
    special = zip(tokenizer.all_special_ids, tokenizer.convert_ids_to_tokens(tokenizer.all_special_ids), strict=True)
    return frozenset(int(token_id) for token_id, token in special if not is_mark(token))
