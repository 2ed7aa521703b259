"""Extend a closed word-level vocabulary by the missing words of some texts, and the embedding by their rows.

The shipped backbones read a task with one token per word, and every other word is ``<unk>``. A model whose prompts have
further words (the facts of a state) extends its own copy of the backbone; the checkpoint on disk does not change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from selfreg_gym.lm.training import seeded

__all__ = ["extend_vocabulary"]

_SPREAD = 0.5
"""Standard deviation of a new row around the mean, as a share of that of the known rows."""


def extend_vocabulary(model: Any, tokenizer: Any, texts: Iterable[str], *, seed: int = 0) -> list[str]:
    """Add the words of ``texts`` that a word-level tokenizer does not know, in place.

    Ids of known words do not change, so a prompt without new words is read as before. A new row of the embedding is
    the mean of the known rows plus noise, so that the words differ and their logits are not extreme. Tokenizers that
    are not word-level split unknown words and are not changed.

    Args:
        model: a causal LM; its embeddings grow, the output layer included.
        tokenizer: its tokenizer.
        texts: texts that must be read without ``<unk>``.
        seed: seed of the noise.

    Returns:
        The new words, sorted; their ids follow the largest known id in this order.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(core, "model", None)).__name__ != "WordLevel":
        return []
    from tokenizers.models import WordLevel

    assert core is not None
    known = core.get_vocab(with_added_tokens=True)
    found = {word for text in set(texts) for word, _ in core.pre_tokenizer.pre_tokenize_str(text)}
    new = sorted(found - known.keys())
    if not new:
        return []
    first = max(known.values()) + 1
    words = {**core.get_vocab(with_added_tokens=False), **{word: first + i for i, word in enumerate(new)}}
    core.model = WordLevel(words, unk_token=str(tokenizer.unk_token))
    rows = model.get_input_embeddings().weight
    if first + len(new) > len(rows):
        model.resize_token_embeddings(first + len(new), mean_resizing=False)
    layers = {id(layer.weight): layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    with torch.no_grad(), seeded(seed):
        for weight in layers.values():
            old = weight[:first].float()
            noise = torch.randn(len(new), weight.shape[1]).to(weight.device)
            weight[first : first + len(new)] = (old.mean(0) + _SPREAD * old.std(0) * noise).to(weight.dtype)
    return new
