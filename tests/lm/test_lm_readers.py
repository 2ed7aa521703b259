"""Prompts with a shared prefix have the same logits in one packed row as separately."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from selfreg_gym.lm import readers
from selfreg_gym.lm.readers import PromptGroupReader, logits_packed, logits_separate, split_prefix
from selfreg_gym.lm.tokenizer import PromptEncoder

SHARED = "red green blue one two three"
GROUPS = [
    (f"{SHARED} four. Help?", f"{SHARED} five six. Help?"),
    ("ten nine. Help?", "ten nine"),
    ("seven", "seven eight"),
]


def test_packed_logits_equal_separate_logits(model: Any, tokenizer: Any) -> None:
    groups = [split_prefix(group, PromptEncoder(tokenizer)) for group in (*GROUPS, ("nine",), ("one", "two", "two"))]
    answers = torch.tensor([5, 9])
    with torch.inference_mode():
        packed = logits_packed(model, groups, answers, 0)
        alone = logits_separate(model, groups, answers, 0)
    assert packed.shape == (10, 2)
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)


def test_a_shared_prefix_is_read_once(tokenizer: Any) -> None:
    groups = split_prefix(GROUPS[0], PromptEncoder(tokenizer))
    assert len(groups.prefix) == 7  # the beginning-of-text token and six words
    assert groups.trie.size == 4 + 5


def test_a_reader_reads_each_group_once(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def spying(model: Any, groups: Any, *arguments: Any) -> Any:
        read.append(len(groups))
        return logits_packed(model, groups, *arguments)

    monkeypatch.setattr(readers, "logits_packed", spying)
    reader = PromptGroupReader(model, tokenizer, [5, 9], micro_batch=2)
    values = reader.read([*GROUPS, GROUPS[0]])
    assert values.shape == (4, 2, 2)
    np.testing.assert_array_equal(values[0], values[3])
    assert sum(read) == 3
    np.testing.assert_array_equal(reader.read(GROUPS), values[:3])
    assert sum(read) == 3  # remembered
    alone = [reader.read([[prompt] for prompt in group])[:, 0] for group in GROUPS]
    assert sum(read) == 3  # a single prompt is read without packing
    np.testing.assert_allclose(values[:3], np.stack(alone), atol=2e-4)


def test_a_model_without_4d_masks_gives_the_same_logits(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = PromptGroupReader(model, tokenizer, [5, 9]).read(GROUPS)
    monkeypatch.setattr(readers, "best_path", lambda model: "kv")
    apart = PromptGroupReader(model, tokenizer, [5, 9]).read(GROUPS)
    np.testing.assert_allclose(packed, apart, atol=2e-4)
