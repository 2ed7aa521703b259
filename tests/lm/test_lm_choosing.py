"""Questions that share a page: packed into one row they train as they would one by one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm import choosing
from selfreg_gym.lm.choosing import Page, train_choice
from selfreg_gym.lm.sampling import resample
from selfreg_gym.lm.tokenizer import PromptEncoder

SHARED = "red green blue one two three"
PAGES = [
    Page((f"{SHARED} four. Help?", f"{SHARED} five six. Help?"), np.array([[1.0, 0.0], [0.25, 0.75]])),
    Page(("ten nine. Help?",), np.array([[0.0, 2.0]])),
    Page(("seven", "seven eight", "nine"), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])),
]


def test_packed_logits_are_those_of_each_question_alone(model: Any, tokenizer: Any) -> None:
    rows = [choosing._row(page, PromptEncoder(tokenizer)) for page in PAGES]
    answers = torch.tensor([5, 9])
    with torch.inference_mode():
        packed = choosing._packed(model, rows, answers, 0)
        alone = choosing._one_by_one(model, rows, answers, 0)
    assert packed.shape == (6, 2)
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)


def test_a_shared_page_is_read_once(tokenizer: Any) -> None:
    row = choosing._row(PAGES[0], PromptEncoder(tokenizer))
    assert len(row.shared) == 7  # the beginning-of-text token and six words
    assert row.trie.size == 4 + 5


def test_both_ways_train_the_same(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {}
    for path in ("tree", "kv"):
        monkeypatch.setattr(choosing, "best_path", lambda model, path=path, **_: path)
        net = copy.deepcopy(model)
        train_choice(net, tokenizer, PAGES, [5, 9], batch_size=2, seed=0, lr=1e-3, steps=6)
        trained[path] = torch.cat([p.detach().flatten() for p in net.parameters()])
    torch.testing.assert_close(trained["tree"], trained["kv"], rtol=0, atol=2e-4)


def test_a_soft_label_is_matched(model: Any, tokenizer: Any) -> None:
    net = copy.deepcopy(model)
    train_choice(net, tokenizer, PAGES[:1], [5, 9], batch_size=1, seed=0, lr=3e-3, steps=150)
    rows = [choosing._row(PAGES[0], PromptEncoder(tokenizer))]
    with torch.inference_mode():
        learned = choosing._packed(net, rows, torch.tensor([5, 9]), 0).softmax(-1).numpy()
    np.testing.assert_allclose(learned, PAGES[0].wanted, atol=0.08)


def test_draws_follow_the_weights_exactly_but_for_one() -> None:
    weights = np.array([5.0, 0.0, 1.0, 0.5, 3.5])
    for seed in range(20):
        drawn = resample(weights, 20, np.random.default_rng(seed))
        assert len(drawn) == 20
        assert (np.abs(np.bincount(drawn, minlength=5) - 2 * weights) < 1).all()
    mean = np.mean([np.bincount(resample(weights, 3, np.random.default_rng(s)), minlength=5) for s in range(4000)], 0)
    np.testing.assert_allclose(mean, 0.3 * weights, atol=0.05)
    with pytest.raises(InvalidArgumentError, match="size=0"):
        resample(weights, 0, np.random.default_rng(0))
    with pytest.raises(InvalidArgumentError, match="not all 0"):
        resample(np.zeros(2), 1, np.random.default_rng(0))
