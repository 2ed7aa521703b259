"""Scores of candidates: all paths agree with naive scoring; batches, order and memo do not change them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.lm import scoring_paths
from selfreg_gym.lm.batching import micro_batches
from selfreg_gym.lm.scoring import CandidateScorer, score_candidates
from selfreg_gym.lm.scoring_paths import best_path

WORDS = "red green blue one two three four five six seven eight nine ten".split()
OFFERS = [
    (" Go to Room 2", " Go to Room 3", " Go to", " Pick up the cup", " Done!"),
    (" Done!",),
    (" Go", " Go to", " Go to Room 3", " red", " red red red red red"),
]


def prompts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 40))) for _ in range(count)]


def offers(count: int) -> list[tuple[str, ...]]:
    return [OFFERS[i % len(OFFERS)] for i in range(count)]


@pytest.mark.parametrize("path", ["tree", "kv"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_path_equals_naive_scoring(model: Any, tokenizer: Any, path: str, attention: str) -> None:
    model.set_attn_implementation(attention)
    try:
        texts, offered = prompts(9), offers(9)
        got = score_candidates(model, tokenizer, texts, offered, path=path)
        for one, other in zip(got, score_candidates(model, tokenizer, texts, offered, path="naive"), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    finally:
        model.set_attn_implementation("sdpa")


def test_many_candidates_take_several_passes_from_the_same_cache(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of hundreds of actions does not copy the prompt's cache for all of them at once."""
    offered = tuple(f" {a} {b} {c}" for a in WORDS[:4] for b in WORDS[4:8] for c in WORDS) + OFFERS[0]
    prompt = " ".join(WORDS)
    [whole] = score_candidates(model, tokenizer, [prompt], [offered], path="kv")
    rows: list[int] = []

    def count(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        rows.append(len(inputs["input_ids"]))

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    monkeypatch.setattr(scoring_paths, "COPIED_TOKENS", 800)
    try:
        [parts] = score_candidates(model, tokenizer, [prompt], [offered], path="kv")
    finally:
        hook.remove()
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert sum(rows) == 1 + len(offered)  # the prompt, and each candidate once
    assert max(rows) <= 800 // len(WORDS) < len(offered)


def test_naive_scores_equal_the_loss_of_transformers(model: Any, tokenizer: Any) -> None:
    prompt, answer = "red green blue", " Go to Room 3"
    ids = tokenizer.encode(prompt) + tokenizer.encode(answer, add_special_tokens=False) + [tokenizer.eos_token_id]
    known = len(tokenizer.encode(prompt))
    labels = torch.tensor([[-100] * known + ids[known:]])
    with torch.inference_mode():
        loss = model(input_ids=torch.tensor([ids]), labels=labels).loss  # the mean over the answer's tokens
    [scores] = score_candidates(model, tokenizer, [prompt], [(answer,)], path="naive")
    assert scores[0] == pytest.approx(-float(loss) * (len(ids) - known), abs=1e-4)


@pytest.mark.parametrize("family", ["GPT2", "Qwen2", "Gemma"])
def test_other_architectures_score_the_same(family: str, tokenizer: Any) -> None:
    small = {
        "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
        "Qwen2": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                  "num_key_value_heads": 1},
        "Gemma": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                  "num_key_value_heads": 1, "head_dim": 16},
    }[family]  # fmt: skip
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer), initializer_range=0.2, pad_token_id=0, bos_token_id=1, eos_token_id=2, **small
    )
    kind = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = getattr(transformers, kind)(config).eval()
    texts, offered = prompts(4), offers(4)
    assert best_path(other) == "tree"
    packed = score_candidates(other, tokenizer, texts, offered)
    for one, two in zip(packed, score_candidates(other, tokenizer, texts, offered, path="naive"), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_model_without_4d_masks_gets_another_path(model: Any) -> None:
    class Refusing:
        config, dtype, device = model.config, model.dtype, model.device

        def parameters(self) -> Any:
            return model.parameters()

        def __call__(self, *, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> Any:
            if attention_mask is not None and attention_mask.ndim == 4:
                raise ValueError("no 4-D masks here")
            return model(attention_mask=attention_mask, **kwargs)

    class Ignoring(Refusing):
        def __call__(self, *, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> Any:
            if attention_mask is not None and attention_mask.ndim == 4:
                attention_mask = None
            return model(attention_mask=attention_mask, **kwargs)

    assert best_path(model) == "tree"
    assert best_path(Refusing()) == "kv"
    assert best_path(Ignoring()) == "kv"  # it returns wrong scores without an error, which only the trial detects


def test_a_sliding_window_is_not_packed(tokenizer: Any) -> None:
    config = transformers.MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=8,
    )  # fmt: skip
    assert best_path(transformers.MistralForCausalLM(config).eval()) == "kv"


@pytest.mark.parametrize("micro_batch", [1, 3, 16])
def test_a_batch_equals_its_rows_one_by_one(model: Any, tokenizer: Any, micro_batch: int) -> None:
    texts, offered = prompts(20), offers(20)
    together = CandidateScorer(model, tokenizer, micro_batch=micro_batch, memo=0).score(texts, offered)
    alone = CandidateScorer(model, tokenizer, memo=0)
    for text, offer, scores in zip(texts, offered, together, strict=True):
        # rounded scores can differ in the last decimal
        np.testing.assert_allclose(alone.score([text], [offer])[0], scores, atol=1.01e-4)


def test_the_memo_is_bounded_and_used(model: Any, tokenizer: Any) -> None:
    scorer = CandidateScorer(model, tokenizer, memo=5)
    texts, offered = prompts(8), offers(8)
    first = scorer.score(texts, offered)
    assert len(scorer.memo) == 5
    scorer.model = None  # so that using it raises
    for one, other in zip(scorer.score(texts[3:], offered[3:]), first[3:], strict=True):
        assert one is other
    with pytest.raises(AttributeError):
        scorer.score(texts[:1], offered[:1])  # the oldest was dropped


def test_a_repeated_prompt_is_computed_once_in_a_call(model: Any, tokenizer: Any) -> None:
    scorer = CandidateScorer(model, tokenizer, memo=0)
    a, b, c = scorer.score(["red blue"] * 3, [OFFERS[0], OFFERS[0], OFFERS[1]])
    assert a is b
    assert len(c) == 1


def test_memoised_scores_are_read_only(model: Any, tokenizer: Any) -> None:
    [scores] = CandidateScorer(model, tokenizer).score(["red"], [OFFERS[0]])
    with pytest.raises(ValueError, match="read-only"):
        scores[0] = 0.0


def test_micro_batches_are_sorted_and_bounded_in_rows_and_tokens() -> None:
    assert micro_batches([5, 1, 3, 2, 4], rows=2, tokens=100) == [[1, 3], [2, 4], [0]]
    assert micro_batches([5, 1, 3, 2, 4], rows=9, tokens=6) == [[1, 3], [2], [4], [0]]
    assert micro_batches([50], rows=9, tokens=6) == [[0]]


def test_invalid_arguments_raise(model: Any, tokenizer: Any) -> None:
    scorer = CandidateScorer(model, tokenizer)
    with pytest.raises(InvalidArgumentError, match="at least one candidate"):
        scorer.score(["red"], [()])
    with pytest.raises(InvalidArgumentError, match="2 prompts and 1"):
        scorer.score(["red", "blue"], [OFFERS[0]])
    with pytest.raises(UnknownNameError, match="Did you mean 'tree'"):
        CandidateScorer(model, tokenizer, path="trie")
