"""A small Llama with random weights and a vocabulary made from the collected texts.

It is the trunk of a process reward model or a helper where no trained trunk can read the task. Its tokenizer
(:func:`selfreg_gym.lm.vocabulary.build_open_tokenizer`) reads every text. The weights depend on the texts and the seed
alone. Random weights need more steps than trained ones (:func:`steps_from_scratch`) and a larger learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.loading import one_thread, quiet_transformers
from selfreg_gym.lm.training import seeded
from selfreg_gym.lm.vocabulary import build_open_tokenizer, distinct

__all__ = ["LEARNING_RATE", "build_small_llama", "steps_from_scratch"]

LEARNING_RATE = 1e-3
"""Peak learning rate of random weights."""

_STEPS, _PASSES = 1000, 8
_SHORTEST = 512  # positions: texts of new tasks may be longer than those collected


def build_small_llama(
    texts: Sequence[str],
    folder: str | Path,
    *,
    words: Sequence[str] = (),
    seed: int = 0,
    hidden: int = 96,
    layers: int = 2,
    heads: int = 3,
) -> Path:
    """Write a checkpoint (config, weights, tokenizer) of a Llama with random weights into ``folder``.

    Args:
        texts: the collected texts; the vocabulary and the number of positions (four times the longest text, at least
            512) come from them.
        folder: made if need be.
        words: words that are one token in any case, such as those of prompts.
        seed: of the weights.
        hidden, layers, heads: the size; 96, 2 and 3 are those of the shipped tiny Llama.

    Returns:
        The folder.

    Raises:
        InvalidArgumentError: there are no texts.
    """
    import transformers

    texts = distinct(texts)
    if not any(texts):
        raise InvalidArgumentError("a vocabulary is built from at least one text that is not empty, received none.")
    one_thread()
    quiet_transformers()
    tokenizer = build_open_tokenizer(texts, words=words)
    longest = max(len(tokenizer.encode(text)) for text in sorted(texts, key=len)[-64:])
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max(_SHORTEST, 1 << (4 * longest - 1).bit_length()),
        initializer_range=0.06,  # transformers' 0.02 suits wide models; narrow ones train three times as long with it
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
    """Optimiser steps for random weights: ``epochs`` passes, or more where these are fewer than 1,000 steps.

    At most 8 passes are made to reach the 1,000 steps.
    """
    each = math.ceil(examples / batch_size) / accumulate
    return max(1, round(max(epochs * each, min(_PASSES * each, _STEPS))))
