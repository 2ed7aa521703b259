"""Generation draws per row: a prompt has the same answer alone and in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.generation import generate, sample_index, softmax

PROMPTS = ["red green", "one two three four five six seven eight nine", "Room 2 has: a cup", "Done!"]


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in range(count)]


def test_a_batch_equals_its_rows(model: Any, tokenizer: Any) -> None:
    together = generate(model, tokenizer, PROMPTS, rngs(4), max_new_tokens=9)
    alone = [
        generate(model, tokenizer, [text], [rng], max_new_tokens=9)[0]
        for text, rng in zip(PROMPTS, rngs(4), strict=True)
    ]
    assert together == alone
    assert len({text for text, _ in together}) == 4


def test_greedy_decoding_equals_that_of_transformers(model: Any, tokenizer: Any) -> None:
    import torch

    [(text, count)] = generate(model, tokenizer, PROMPTS[:1], rngs(1), temperature=0, max_new_tokens=7)
    ids = torch.tensor([tokenizer.encode(PROMPTS[0])])
    theirs = model.generate(ids, do_sample=False, max_new_tokens=7, attention_mask=torch.ones_like(ids))[0]
    written = theirs[ids.shape[1] :]
    assert text == tokenizer.decode(written, skip_special_tokens=True)
    assert count == len(theirs) - int(theirs[-1] == tokenizer.eos_token_id)


def test_it_stops_at_the_end_of_text(model: Any, tokenizer: Any) -> None:
    first = [generate(model, tokenizer, ["red"], [np.random.default_rng(i)], max_new_tokens=200)[0] for i in range(8)]
    assert any(count < 202 for _, count in first)
    assert all("</s>" not in text for text, _ in first)


def test_sampling_follows_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    scores = np.log([0.2, 0.5, 0.3])
    draws = [sample_index(softmax(scores), rng) for _ in range(20_000)]
    np.testing.assert_allclose(np.bincount(draws) / 20_000, [0.2, 0.5, 0.3], atol=0.015)
    np.testing.assert_allclose(softmax(scores, temperature=0.5), np.array([4, 25, 9]) / 38)
    assert softmax(np.array([1.0, 3.0, 3.0]), temperature=0).tolist() == [0, 1, 0]


def test_a_sample_is_never_out_of_range() -> None:
    class Highest:
        def random(self) -> float:
            return 1.0

    assert sample_index(np.array([0.5, 0.5]), Highest()) == 1  # type: ignore[arg-type]


def test_invalid_arguments_raise(model: Any, tokenizer: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="one rng per prompt"):
        generate(model, tokenizer, PROMPTS, rngs(2))
    with pytest.raises(InvalidArgumentError, match="temperature"):
        generate(model, tokenizer, PROMPTS, rngs(4), temperature=-1)
