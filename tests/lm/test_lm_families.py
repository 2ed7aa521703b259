"""Scores for many model families and tokenizers equal the loss of transformers on the whole text."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens
from selfreg_gym.lm.generation import generate
from selfreg_gym.lm.scoring import CandidateScorer, score_candidates
from selfreg_gym.lm.scoring_paths import best_path, window_of
from selfreg_gym.lm.tokenizer import PromptEncoder

OFFERS = (" Go to Room 2", " Go to Room 12", " Go to", " Pick up the cup", " Done!")
PROMPTS = (
    "Room 2 has: a table, a cup on a table.\nYou can: Go to Room 12, Pick up the cup, Done!\nAction:",
    "Room 12 has: a chair.\nAction:",
    "Caf\u00e9, 3 cups.\n\n  The human said: \u201cbring me the cup\u201d \u676f\u5b50\nAction:",
)
TEXTS = [*PROMPTS, *OFFERS, *(f"Go to Room {i}. help nohelp Budget {i / 4:.2f}. Help?" for i in range(40))] * 5
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
GROUPED = {**SMALL, "num_key_value_heads": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": GROUPED,
    "Qwen2": GROUPED,
    "Qwen3": {**GROUPED, "head_dim": 16},
    "Mistral": {**GROUPED, "sliding_window": 4096},
    "Gemma": {**GROUPED, "head_dim": 16},
    "Gemma2": {**GROUPED, "head_dim": 16, "sliding_window": 4096, "query_pre_attn_scalar": 16},
    "Phi3": GROUPED,
    "GPTNeoX": SMALL,
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
}


def byte_level() -> Any:
    """As GPT-2, Llama 3 and Qwen: BPE over bytes; with a chat template that writes the beginning of text itself."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet)
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[me] "
    return tokenizer


def sentence_piece() -> Any:
    """As Llama 2 and Mistral: a word begins with a mark, and so does every text."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    octets = [f"<0x{i:02X}>" for i in range(256)]
    core.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *octets])
    )
    core.pre_tokenizer = None
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )


def unigram() -> Any:
    """As Gemma and T5: a unigram model; this one also ends every text, as embedding models do."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )


TOKENIZERS = {"byte level": byte_level, "sentence piece": sentence_piece, "unigram": unigram}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {name: make() for name, make in TOKENIZERS.items()}


def small(family: str, vocabulary: int, **more: Any) -> Any:
    config = getattr(transformers, f"{family}Config")(
        vocab_size=vocabulary, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        **{"initializer_range": 0.2, **FAMILIES[family], **more},
    )  # fmt: skip
    kind = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, kind)(config).eval()


def oracle(model: Any, tokenizer: Any, prompt: str, answer: str) -> float:
    """log P(answer and end of text | prompt), by transformers' loss on the tokens of the whole text."""
    end = tokenizer.eos_token_id
    known = [token for token in tokenizer.encode(prompt) if token != end]
    ids = [token for token in tokenizer.encode(prompt + answer) if token != end]
    assert ids[: len(known)] == known
    ids.append(end)
    labels = torch.tensor([[-100] * len(known) + ids[len(known) :]])
    with torch.inference_mode():
        loss = model(input_ids=torch.tensor([ids]), labels=labels).loss  # the mean over the answer's tokens
    return -float(loss) * (len(ids) - len(known))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_an_answer_has_the_same_tokens_as_within_the_whole_text(kind: str, tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers[kind]
    encoder = PromptEncoder(tokenizer)
    for prompt in PROMPTS:
        for answer in OFFERS:
            whole = [token for token in tokenizer.encode(prompt + answer) if token != tokenizer.eos_token_id]
            assert encoder.prompt(prompt) + encoder.continuation(answer) == whole


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("path", ["tree", "kv"])
def test_scores_with_every_tokenizer_equal_the_loss_of_transformers(
    kind: str, path: str, tokenizers: dict[str, Any]
) -> None:
    tokenizer = tokenizers[kind]
    model = small("Llama", len(tokenizer))
    scores = score_candidates(model, tokenizer, PROMPTS, [OFFERS] * len(PROMPTS), path=path)
    for prompt, row in zip(PROMPTS, scores, strict=True):
        np.testing.assert_allclose(row, [oracle(model, tokenizer, prompt, one) for one in OFFERS], rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_every_family_equal_the_loss_of_transformers(family: str, tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["byte level"]
    model = small(family, len(tokenizer))
    scorer = CandidateScorer(model, tokenizer, decimals=8)
    assert scorer.path == "tree"
    for prompt, row in zip(PROMPTS, scorer.score(PROMPTS, [OFFERS] * len(PROMPTS)), strict=True):
        np.testing.assert_allclose(row, [oracle(model, tokenizer, prompt, one) for one in OFFERS], rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", ["Mistral", "Gemma2"])
def test_rows_longer_than_a_sliding_window_use_another_path(family: str, tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["byte level"]
    model = small(family, len(tokenizer), sliding_window=20)
    scorer = CandidateScorer(model, tokenizer, decimals=8)
    assert (window_of(model), best_path(model), scorer.path, scorer.path_beyond) == (20, "kv", "tree", "kv")
    lengths = [len(scorer.encoder.prompt(prompt)) for prompt in PROMPTS]
    assert min(lengths) < 15 < 30 < max(lengths)
    offered = [(" Go to", " Done!")] * len(PROMPTS)
    for prompt, offer, row in zip(PROMPTS, offered, scorer.score(PROMPTS, offered), strict=True):
        np.testing.assert_allclose(row, [oracle(model, tokenizer, prompt, one) for one in offer], rtol=0, atol=2e-5)
    wide = CandidateScorer(model, tokenizer, path="tree", decimals=8).score(PROMPTS, offered)
    assert (
        np.abs(wide[0] - scorer.score(PROMPTS, offered)[0]).max() > 0.1
    )  # a packed mask would have widened the window


def test_bfloat16_is_close_to_float32(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["byte level"]
    model = small("Llama", len(tokenizer), initializer_range=0.05)
    exact = score_candidates(model, tokenizer, PROMPTS, [OFFERS] * len(PROMPTS))
    half = model.to(torch.bfloat16)
    assert best_path(half) == "tree"
    for one, other in zip(score_candidates(half, tokenizer, PROMPTS, [OFFERS] * len(PROMPTS)), exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.02)


def test_the_beginning_of_text_is_not_repeated(tokenizers: dict[str, Any]) -> None:
    from selfreg_gym.lm.prompts import actor_prompt

    tokenizer = tokenizers["byte level"]
    prompt = actor_prompt("Room 2.", tokenizer=tokenizer)
    assert prompt == "<s>[user] Room 2.\n[me] Action:"
    ids = PromptEncoder(tokenizer).prompt(prompt)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids == tokenizer.apply_chat_template(
        [{"role": "user", "content": "Room 2."}], tokenize=True, add_generation_prompt=True, return_dict=False
    ) + tokenizer.encode("Action:", add_special_tokens=False)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_tokenizer_has_tokens_for_a_helpers_answers(kind: str, tokenizers: dict[str, Any]) -> None:
    tokens = answer_tokens(tokenizers[kind], 2)
    assert len(set(tokens)) == 3


@pytest.mark.parametrize(("family", "more"), [("Qwen3", {}), ("GPT2", {}), ("Mistral", {"sliding_window": 20})])
def test_generation_equals_that_of_transformers(family: str, more: dict[str, Any], tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["byte level"]
    model = small(family, len(tokenizer), **more)
    rngs = [np.random.default_rng(i) for i in range(len(PROMPTS))]
    together = generate(model, tokenizer, PROMPTS, rngs, temperature=0, max_new_tokens=6)
    for prompt, (text, _) in zip(PROMPTS, together, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt)])
        theirs = model.generate(ids, do_sample=False, max_new_tokens=6, attention_mask=torch.ones_like(ids))[0]
        assert text == tokenizer.decode(theirs[ids.shape[1] :], skip_special_tokens=True)


def test_one_line_ends_after_visible_text(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["byte level"]
    model = small("Llama", len(tokenizer))
    [line_break] = tokenizer.encode("\n", add_special_tokens=False)
    with torch.no_grad():  # make line breaks common
        model.lm_head.weight[line_break] = model.lm_head.weight.std() * torch.randn(32, generator=torch.manual_seed(3))
    seen = 0
    for seed in range(30):
        [(whole, _)] = generate(model, tokenizer, ["Action:"], [np.random.default_rng(seed)], max_new_tokens=40)
        [(line, _)] = generate(
            model, tokenizer, ["Action:"], [np.random.default_rng(seed)], max_new_tokens=40, one_line=True
        )
        head = len(whole) - len(whole.lstrip())
        assert line == whole[:head] + whole[head:].split("\n")[0]
        seen += line != whole
    assert seen > 3


@pytest.mark.parametrize(
    ("pieces", "line"),
    [
        (["put(cup", ")\n", "next line"], "put(cup)"),  # text and its line break in one token, behind other text
        ([")\n", "next line"], ")"),  # ... and as the first token
        (["\n", "put(cup", ")\n", "next line"], "\nput(cup)"),
        (["put(cup", "\n"], "put(cup"),
    ],
)
def test_a_token_of_text_and_a_line_break_keeps_its_text(pieces: list[str], line: str) -> None:
    vocabulary = {"<unk>": 0, "</s>": 1, "Go": 2, "put(cup": 3, ")\n": 4, "\n": 5, "next line": 6}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.decoder = decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    # A model whose output layer maps each token to the next one.
    script = [2, *(vocabulary[piece] for piece in pieces), vocabulary["</s>"]]
    model = small("Llama", len(vocabulary), num_hidden_layers=0, tie_word_embeddings=False)
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for step, (now, then) in enumerate(itertools.pairwise(script)):
            model.model.embed_tokens.weight[now, step] = 1.0
            model.lm_head.weight[then, step] = 1.0
    arguments: dict[str, Any] = {"temperature": 0, "max_new_tokens": 9}
    [(whole, _)] = generate(model, tokenizer, ["Go"], [np.random.default_rng(0)], **arguments)
    assert whole == "".join(pieces)
    [(text, tokens)] = generate(model, tokenizer, ["Go"], [np.random.default_rng(0)], one_line=True, **arguments)
    assert text == line
    assert tokens == 1 + len(pieces) - ("next line" in pieces)
