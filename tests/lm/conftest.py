"""Very small models for the tests of `selfreg_gym.lm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WORLD = [
    "Room 2 has: a table, a cup on a table. You can: Go to Room 3, Pick up the cup, Done!",
    "red green blue one two three four five six seven eight nine ten is the word here and there",
]


def micro_llama(tokenizer: Any, *, hidden: int = 32, layers: int = 2, heads: int = 2, seed: int = 0) -> Any:
    """A Llama with random weights, large enough that its scores differ between answers."""
    import torch
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A word-level tokenizer."""
    from selfreg_gym.lm.tokenizer import build_tokenizer

    return build_tokenizer(WORLD)


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    """A micro Llama with grouped heads."""
    return micro_llama(tokenizer)


@pytest.fixture(scope="session")
def checkpoint(tokenizer: Any, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro Llama as a directory."""
    folder = tmp_path_factory.mktemp("micro")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
