"""The tokens that end a turn: ranking counts all of them, and generation stops at the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.lm.chat_template import stop_tokens
from selfreg_gym.lm.scoring import CandidateScorer
from selfreg_gym.types import Decision

WORDS = ["<pad>", "<eos>", "<over>", "<end_of_turn>", ":", "Action", "left", "right", "Room", "<unk>"]
ID = {word: i for i, word in enumerate(WORDS)}
#: P(next | last): left 0.9, right 0.1; each ends the turn with its own tokens.
NEXT = {
    ":": {"left": 0.9, "right": 0.1},
    "left": {"<over>": 0.999999, "<eos>": 1e-6},
    "right": {"<over>": 0.4, "<eos>": 0.6},
}
OFFERED = ("left", "right")


def chain(eos: int | list[int], tokenizer: Any) -> Any:
    """A Llama without layers whose next token depends only on the last one (NEXT)."""
    size = len(tokenizer)
    table = np.full((size, size), 1e-9)
    for word, following in NEXT.items():
        for other, probability in following.items():
            table[ID[word], ID[other]] = probability
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=0, num_attention_heads=2,
        tie_word_embeddings=False, eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
        model.model.embed_tokens.weight[range(size), range(size)] = 1.0
        logits = np.log(table / table.sum(1, keepdims=True)).T / 4  # the norm layer scales a unit vector to length 4
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, :size] = torch.tensor(logits, dtype=torch.float32)
    model.generation_config.eos_token_id = eos
    return model


def words(*special: str) -> Any:
    core = Tokenizer(models.WordLevel(ID, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=list(special),
    )


TEMPLATE = "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}<over>{% endif %}\n{% endfor %}"


@pytest.mark.parametrize("where", ["generation config", "template"])
def test_ranking_and_generation_agree(where: str, tmp_path: Path) -> None:
    tokenizer = words("<over>")
    model = chain([1, 2] if where == "generation config" else 1, tokenizer)
    if where == "template":
        tokenizer.chat_template = TEMPLATE
    assert stop_tokens(model, tokenizer) == (1, 2)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    decisions = [Decision("Room", OFFERED, key=(i, 0, 0)) for i in range(1500)]
    assert np.exp(LM(tmp_path).act(decisions[:1])[0].logprobs) == pytest.approx([0.9, 0.1], abs=1e-4)
    written = [act.text for act in LM(tmp_path, mode="generate", micro_batch=500).act(decisions)]
    assert set(written) == set(OFFERED)
    assert np.mean([text == "left" for text in written]) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 1500))


@pytest.mark.parametrize("path", ["tree", "kv", "naive"])
def test_every_path_sums_over_the_end_tokens(path: str) -> None:
    tokenizer = words("<over>")
    scorer = CandidateScorer(chain([1, 2], tokenizer), tokenizer, path=path, decimals=8)
    assert scorer.end == (1, 2)
    scores = scorer.score([":", "Room :"], [(" left", " right", " left right"), (" right",)])
    np.testing.assert_allclose(np.exp(scores[0][:2]), [0.9, 0.1], rtol=1e-4)
    np.testing.assert_allclose(np.exp(scores[1]), [0.1], rtol=1e-4)
    one = CandidateScorer(chain(1, words()), words(), path=path, decimals=8).score([":"], [OFFERED])[0]
    np.testing.assert_allclose(np.exp(one), [0.9e-6, 0.06], rtol=1e-3)


def test_end_of_turn_tokens_of_known_families_without_padding() -> None:
    tokenizer = words("<end_of_turn>")
    assert stop_tokens(chain(1, tokenizer), tokenizer) == (1, 3)
    assert stop_tokens(chain([0, 1], tokenizer), tokenizer) == (1, 3)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_end|>"]})  # beyond the output layer
    model = chain(1, words())
    assert stop_tokens(model, tokenizer) == (1, 3)
