"""A small Llama with random weights and a vocabulary built from the collected texts.

It is the backbone of a process reward model or a helper if no trained checkpoint can read the task. Its tokenizer
(:func:`selfreg_gym.lm.vocabulary.build_open_tokenizer`) reads every text. The weights depend only on the texts and the
seed. Random weights need more steps than trained ones (:func:`steps_from_scratch`) and a larger learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.loading import limit_threads, quiet_transformers
from selfreg_gym.lm.training import seeded
from selfreg_gym.lm.vocabulary import build_open_tokenizer, distinct

__all__ = ["LEARNING_RATE", "build_small_llama", "steps_from_scratch"]

LEARNING_RATE = 1e-3
"""Peak learning rate for random weights."""

_HIDDEN, _LAYERS, _HEADS = 96, 2, 3  # the sizes of the shipped tiny Llama
_STEPS, _PASSES = 1000, 8
_SHORTEST = 512  # smallest maximum length, since texts of new tasks may be longer than the collected ones


def build_small_llama(texts: Sequence[str], folder: str | Path, *, words: Sequence[str] = (), seed: int = 0) -> Path:
    """Write a checkpoint (config, weights, tokenizer) of a Llama with random weights to ``folder``.

    Args:
        texts: the collected texts. They determine the vocabulary and the maximum length (four times the longest text,
            rounded up to a power of 2, and at least 512 tokens).
        folder: created if it does not exist.
        words: words that are single tokens in any case, such as the words of prompts.
        seed: seed of the weights.

    Returns:
        The folder.

    Raises:
        InvalidArgumentError: all texts are empty, or there are none.
    """
    import transformers

    texts = distinct(texts)
    if not any(texts):
        raise InvalidArgumentError("a vocabulary needs at least one text that is not empty, received none.")
    limit_threads()
    quiet_transformers()
    tokenizer = build_open_tokenizer(texts, words=words)
    longest = max(len(tokenizer.encode(text)) for text in sorted(texts, key=len)[-64:])
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=_HIDDEN,
        intermediate_size=_HIDDEN * 8 // 3,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        max_position_embeddings=max(_SHORTEST, 1 << (4 * longest - 1).bit_length()),
        initializer_range=0.06,  # with transformers' 0.02, narrow models need three times as many steps
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with seeded(seed):
        model = transformers.LlamaForCausalLM(config)
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def steps_from_scratch(examples: int, *, epochs: float, batch_size: int, accumulate: int = 1) -> int:
    """Return the number of optimiser steps for random weights.

    ``epochs`` passes, or up to 8 passes if ``epochs`` passes are fewer than 1,000 steps.
    """
    each = math.ceil(examples / batch_size) / accumulate
    return max(1, round(max(epochs * each, min(_PASSES * each, _STEPS))))
