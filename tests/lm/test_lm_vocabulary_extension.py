"""New words extend the vocabulary and the embedding of a copy; what was read before is read the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from selfreg_gym.lm.loading import load_causal, load_tokenizer
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.vocabulary_extension import extend_vocabulary

TINY = Path(__file__).parents[2] / "agents" / "checkpoints" / "sif" / "tiny"
FACTS = ["Facts: s_obj vague|fetch|goal elsewhere", "Facts: hinted zebra"]


@pytest.fixture
def extended() -> tuple[object, object, list[str]]:
    model, tokenizer = load_causal(TINY), load_tokenizer(TINY)
    return model, tokenizer, extend_vocabulary(model, tokenizer, FACTS, seed=3)


def test_new_words_are_read_and_old_ones_as_before(extended: tuple) -> None:
    model, tokenizer, new = extended
    plain, before = load_tokenizer(TINY), load_causal(TINY)
    assert {"Facts", "s_obj", "zebra", "|"} <= set(new)
    assert new == sorted(new)
    ids = PromptEncoder(tokenizer).prompt("\n".join(FACTS))
    assert tokenizer.unk_token_id not in ids
    assert plain.unk_token_id in PromptEncoder(plain).prompt("\n".join(FACTS))
    known = PromptEncoder(plain).prompt("You are in the hall.\nAction: Go to room 2.")
    assert PromptEncoder(tokenizer).prompt("You are in the hall.\nAction: Go to room 2.") == known
    with torch.inference_mode():
        first = before(torch.tensor([known])).logits
        second = model(torch.tensor([known])).logits[..., : first.shape[-1]]
    torch.testing.assert_close(first, second)


def test_new_rows_differ_and_are_near_the_mean(extended: tuple) -> None:
    model, _, new = extended
    rows = model.get_input_embeddings().weight.detach().numpy()
    old, fresh = rows[: -len(new)], rows[-len(new) :]
    assert len(np.unique(fresh.round(6), axis=0)) == len(new)
    assert np.linalg.norm(fresh - old.mean(0), axis=1).mean() < np.linalg.norm(old - old.mean(0), axis=1).mean()


def test_it_depends_on_the_seed_and_not_on_the_order_of_the_texts(extended: tuple) -> None:
    rows = []
    for texts, seed in ((FACTS, 3), (FACTS[::-1], 3), (FACTS, 4)):
        model, tokenizer = load_causal(TINY), load_tokenizer(TINY)
        extend_vocabulary(model, tokenizer, texts, seed=seed)
        rows.append(model.get_input_embeddings().weight.detach().numpy())
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2]).any()


def test_it_is_saved_and_loaded(extended: tuple, tmp_path: Path) -> None:
    model, tokenizer, _ = extended
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, words = load_causal(tmp_path), load_tokenizer(tmp_path)
    text = "\n".join(FACTS)
    assert PromptEncoder(words).prompt(text) == PromptEncoder(tokenizer).prompt(text)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert extend_vocabulary(again, words, FACTS) == [], "nothing is missing any more"


def test_a_tokenizer_that_reads_every_text_is_not_changed(tmp_path: Path) -> None:
    from selfreg_gym.lm.small_llama import build_small_llama

    folder = build_small_llama(["a cup", "a hat"], tmp_path)
    model, tokenizer = load_causal(folder), load_tokenizer(folder)
    size = len(tokenizer)
    assert extend_vocabulary(model, tokenizer, FACTS) == []
    assert len(tokenizer) == size
