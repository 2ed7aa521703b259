"""Choice training: packed and separate rows give the same weights; the auxiliary topic head; resampling."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm import choice_training
from selfreg_gym.lm.choice_training import ChoiceExample, train_choice
from selfreg_gym.lm.readers import logits_packed, split_prefix
from selfreg_gym.lm.subsampling import resample
from selfreg_gym.lm.tokenizer import PromptEncoder

SHARED = "red green blue one two three"
EXAMPLES = [
    ChoiceExample((f"{SHARED} four. Help?", f"{SHARED} five six. Help?"), np.array([[1.0, 0.0], [0.25, 0.75]])),
    ChoiceExample(("ten nine. Help?",), np.array([[0.0, 2.0]])),
    ChoiceExample(("seven", "seven eight", "nine"), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])),
]


@pytest.mark.parametrize("topics", [0, 2])
def test_packed_and_separate_rows_train_the_same(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, topics: int
) -> None:
    trained = {}
    examples = [replace(example, topic=topic) for example, topic in zip(EXAMPLES, (0, None, 1), strict=True)]
    for path in ("tree", "kv"):
        monkeypatch.setattr(choice_training, "best_path", lambda model, path=path, **_: path)
        net = copy.deepcopy(model)
        train_choice(net, tokenizer, examples, [5, 9], batch_size=2, seed=0, lr=1e-3, steps=6, topics=topics)
        trained[path] = torch.cat([p.detach().flatten() for p in net.parameters()])
    torch.testing.assert_close(trained["tree"], trained["kv"], rtol=0, atol=2e-4)


def test_the_topic_head_is_trained_and_removed(model: Any, tokenizer: Any) -> None:
    """With negligible weights of the answers, only the topics are learned."""
    examples = [
        replace(example, targets=np.full_like(example.targets, 1e-6), topic=i) for i, example in enumerate(EXAMPLES)
    ]
    names = [name for name, _ in model.named_parameters()]
    net = copy.deepcopy(model)
    log = train_choice(
        net, tokenizer, examples, [5, 9], batch_size=3, seed=0, lr=3e-3, steps=60, topics=3, topic_weight=1
    )
    assert log.loss[-1] < 0.2 < np.log(3)
    assert [name for name, _ in net.named_parameters()] == names
    assert not net.get_output_embeddings()._forward_pre_hooks


def test_a_soft_label_is_matched(model: Any, tokenizer: Any) -> None:
    net = copy.deepcopy(model)
    train_choice(net, tokenizer, EXAMPLES[:1], [5, 9], batch_size=1, seed=0, lr=3e-3, steps=150)
    with torch.inference_mode():
        group = split_prefix(EXAMPLES[0].prompts, PromptEncoder(tokenizer))
        learned = logits_packed(net, [group], torch.tensor([5, 9]), 0).softmax(-1).numpy()
    np.testing.assert_allclose(learned, EXAMPLES[0].targets, atol=0.08)


def test_resampling_follows_the_weights_up_to_one_draw() -> None:
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
