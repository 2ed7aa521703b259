"""Questions that share a page: read in one row, they are answered as they would be one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from selfreg_gym.lm import readers
from selfreg_gym.lm.readers import PromptGroupReader, logits_packed, logits_separate, split_prefix
from selfreg_gym.lm.tokenizer import PromptEncoder

SHARED = "red green blue one two three"
PAGES = [
    (f"{SHARED} four. Help?", f"{SHARED} five six. Help?"),
    ("ten nine. Help?", "ten nine"),
    ("seven", "seven eight"),
]


def test_packed_logits_are_those_of_each_question_alone(model: Any, tokenizer: Any) -> None:
    hung = [split_prefix(page, PromptEncoder(tokenizer)) for page in (*PAGES, ("nine",), ("one", "two", "two"))]
    answers = torch.tensor([5, 9])
    with torch.inference_mode():
        packed = logits_packed(model, hung, answers, 0)
        alone = logits_separate(model, hung, answers, 0)
    assert packed.shape == (10, 2)
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)


def test_a_shared_page_is_read_once(tokenizer: Any) -> None:
    hung = split_prefix(PAGES[0], PromptEncoder(tokenizer))
    assert len(hung.prefix) == 7  # the beginning-of-text token and six words
    assert hung.trie.size == 4 + 5


def test_a_reader_answers_every_question_of_every_page_once(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def spying(model: Any, pages: Any, *arguments: Any) -> Any:
        read.append(len(pages))
        return logits_packed(model, pages, *arguments)

    monkeypatch.setattr(readers, "logits_packed", spying)
    reader = PromptGroupReader(model, tokenizer, [5, 9], micro_batch=2)
    values = reader.read([*PAGES, PAGES[0]])
    assert values.shape == (4, 2, 2)
    np.testing.assert_array_equal(values[0], values[3])
    assert sum(read) == 3
    np.testing.assert_array_equal(reader.read(PAGES), values[:3])
    assert sum(read) == 3  # remembered
    alone = [reader.read([[prompt] for prompt in page])[:, 0] for page in PAGES]
    assert sum(read) == 3  # a single question is read without a tree
    np.testing.assert_allclose(values[:3], np.stack(alone), atol=2e-4)


def test_a_model_that_refuses_the_mask_answers_the_same(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = PromptGroupReader(model, tokenizer, [5, 9]).read(PAGES)
    monkeypatch.setattr(readers, "best_path", lambda model: "kv")
    apart = PromptGroupReader(model, tokenizer, [5, 9]).read(PAGES)
    np.testing.assert_allclose(packed, apart, atol=2e-4)
