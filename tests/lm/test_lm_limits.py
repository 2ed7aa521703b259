"""Limits of a checkpoint: the pad token, embedding rows and maximum length; no result depends on the batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.lm import scoring, scoring_paths
from selfreg_gym.lm.generation import generate
from selfreg_gym.lm.limits import Limits, match_tokenizer
from selfreg_gym.lm.loading import load_causal, load_classifier, load_tokenizer
from selfreg_gym.lm.scoring import CandidateScorer
from selfreg_gym.lm.tokenizer import build_tokenizer
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Decision
from tests.lm.conftest import WORLD
from tests.lm.test_lm_export import episodes, labels

WORDS = "Room 2 has a table and a cup . You can go left , go right one two three red Done !"
LONG = "one two three You can go left Room 2 has a cup"


def save(folder: Path, tokenizer: Any, family: str = "Llama", positions: int = 64, **ids: int) -> Path:
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **ids}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if family == "Llama":
            config = transformers.LlamaConfig(
                vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=1, initializer_range=0.2,
                max_position_embeddings=positions, **special,
            )  # fmt: skip
            model: Any = transformers.LlamaForCausalLM(config)
        else:
            config = transformers.GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=positions,
                n_embd=32,
                n_layer=2,
                n_head=2,
                initializer_range=0.2,
                **special,
            )
            model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def words() -> Any:
    return build_tokenizer([WORDS, *WORLD])


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
@pytest.mark.parametrize("pad", [2, 5, -1])
def test_no_result_depends_on_the_batch_with_another_pad_token_in_the_config(
    family: str, pad: int, words: Any, tmp_path: Path
) -> None:
    folder = save(tmp_path, words, family, pad_token_id=pad)
    texts = ["Room 2", LONG, "red", "go left <pad> </s> one"]

    def prm() -> ProcessRewardModel:
        torch.manual_seed(1)
        return ProcessRewardModel(load_classifier(folder), load_tokenizer(folder), memo=0)

    def helper() -> LMSFTHelper:
        return LMSFTHelper(load_causal(folder), words, answers=answer_tokens(words, 1), memo=0)

    assert prm().model.config.pad_token_id == words.pad_token_id
    np.testing.assert_array_equal(prm().score(texts), [prm().score([text])[0] for text in texts])
    np.testing.assert_array_equal(helper().logits(texts), [helper().logits([text])[0] for text in texts])
    for mode in ("rank", "generate"):
        actor = LM(folder, mode=mode, memo=0, max_new_tokens=5)
        asked = [Decision(text, ("go left", "go right one two"), key=(i,)) for i, text in enumerate(texts)]
        acts = actor.act(asked)
        again = [Decision(text, ("go left", "go right one two"), key=(i,)) for i, text in enumerate(texts)]
        assert acts == [actor.act([decision])[0] for decision in again]


@pytest.mark.parametrize("way", [lambda m, t: ProcessRewardModel(m, t), lambda m, t: match_tokenizer(m, t)])
def test_models_in_memory_get_the_tokenizers_pad_token(way: Any, words: Any, tmp_path: Path) -> None:
    model = load_classifier(save(tmp_path, words))
    model.config.pad_token_id = 2
    way(model, words)
    assert (model.config.pad_token_id, model.model.embed_tokens.padding_idx) == (0, 0)


def test_training_pads_with_the_tokenizers_token(words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path, words)
    scores = []
    for pad in (0, 2):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": pad}))
        prm = ProcessRewardModel.train(episodes(), backbone=folder, lora=None, seed=1, epochs=1, progress=False)
        scores.append(prm.score(["Room 2", LONG]))
    np.testing.assert_array_equal(*scores)


def test_a_pad_token_beyond_the_embedding_raises(words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path, words)
    rows = len(words)
    other = load_tokenizer(folder)
    other.add_special_tokens({"pad_token": "[PAD]"})
    other.save_pretrained(folder)
    for load in (
        load_causal,
        load_classifier,
        lambda path: LM(path).act([Decision("Room 2", ("go left",), key=(1,))]),
        lambda path: ProcessRewardModel.train(episodes(), backbone=path, progress=False),
        lambda path: LMSFTHelper.train(labels(), backbone=path, progress=False),
    ):
        with pytest.raises(CheckpointError, match=rf"below {rows}.*the pad token {rows}"):
            load(folder)
    with pytest.raises(CheckpointError, match=rf"below {rows}.*the pad token {rows}"):
        CandidateScorer(load_causal(save(tmp_path / "sound", words)), other)


def test_a_vocabulary_beyond_the_embedding_raises(words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path, words)
    rows = len(words)
    build_tokenizer([WORDS, *WORLD, "cat dog bird"]).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=rf"below {rows}.*last id is {rows + 2}"):
        load_causal(folder)
    added = load_tokenizer(save(tmp_path, words))
    added.add_tokens(["cat"])  # as the image token of a Gemma: without a row, and never used
    added.save_pretrained(folder)
    actor = LM(folder)
    assert actor.act([Decision("Room 2", ("go left",), key=(1,))])[0].text == "go left"
    for decision in (Decision("a cat", ("go left",), key=(1,)), Decision("Room 2", ("cat", "red"), key=(1,))):
        with pytest.raises(InvalidArgumentError, match=rf"below {rows}.*the id {rows}"):
            actor.act([decision])


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_a_text_beyond_the_maximum_length_raises(family: str, words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path, words, family, positions=32)
    text, fits = "one two three " * 20, "one two three " * 8  # with <s>, line break and "Action :" 63 and 27 tokens
    model = load_causal(folder)
    assert Limits.of(model) == (len(words), 32)
    helper = LMSFTHelper(model, words, answers=answer_tokens(words, 1))
    prm = ProcessRewardModel(load_classifier(folder), words)
    generating = LM(folder, mode="generate", max_new_tokens=5)
    for call in (
        lambda one: LM(folder).act([Decision(one, ("go left", "go right"), key=(1,))]),
        lambda one: generating.act([Decision(one, ("go left", "go right"), key=(1,))]),
        lambda one: helper.predict(one),
        lambda one: helper.for_budgets([1.0, 2.0])[1.0].predict(one),
        lambda one: prm.score([one]),
    ):
        call("one two three " * 5)
        with pytest.raises(InvalidArgumentError, match=r"model's 32 positions.*received 6\d tokens"):
            call(text)
    with pytest.raises(InvalidArgumentError, match="27 tokens and up to 6 for the answer"):
        LM(folder, mode="generate", max_new_tokens=6).act([Decision(fits, None, key=(1,))])
    with pytest.raises(InvalidArgumentError, match="32 positions"):
        LM(folder).act([Decision(fits, ("go " * 6,), key=(1,))])
    assert LM(folder).act([Decision(fits, ("go " * 5,), key=(1,))])[0].text  # the last token is not read
    with pytest.raises(InvalidArgumentError, match="32 positions"):
        LM(folder).act([Decision("Room 2", ("go " * 50_000,), key=(1,))])
    with pytest.raises(InvalidArgumentError, match="32 positions"):
        generate(model, words, [text], [np.random.default_rng(0)], max_new_tokens=1)


def test_training_with_texts_that_are_too_long_raises(words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path, words, positions=12)
    with pytest.raises(InvalidArgumentError, match="12 positions"):
        ProcessRewardModel.train(episodes(), backbone=folder, progress=False)
    with pytest.raises(InvalidArgumentError, match="12 positions"):
        LMSFTHelper.train(labels(), backbone=folder, progress=False)


def test_long_rows_are_scored_without_a_packed_mask(
    words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_causal(save(tmp_path, words))
    prompts, offered = ["red", LONG, "Room 2"], [("go left", "go right", "Done !")] * 3
    usual = CandidateScorer(model, words).score(prompts, offered)
    monkeypatch.setattr(scoring, "LONGEST_TREE", 10)
    scorer = CandidateScorer(model, words)
    packed = []
    monkeypatch.setitem(
        scoring.SCORE_FUNCTIONS,
        "tree",
        lambda model, ids, *rest: packed.extend(ids) or scoring_paths._score_tree(model, ids, *rest),
    )
    np.testing.assert_allclose(scorer.score(prompts, offered), usual, atol=2e-4)
    assert (scorer.path, scorer.path_beyond, len(packed)) == ("tree", "kv", 2)


def test_a_folder_without_tokenizer_loads(words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path / "whole", words, pad_token_id=2)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, bare / name)
    model = load_causal(bare)
    CandidateScorer(model, words)
    assert model.config.pad_token_id == 0


@pytest.mark.parametrize("text", ["\ud800", "Room 2 \udfff", "\ud83d\ude00 \x00", ""])
def test_unusual_texts_are_read(text: str, words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path, words)
    model = load_causal(folder)
    assert LMSFTHelper(model, words, answers=answer_tokens(words, 1)).predict(text)[0] in (0, 1)
    assert 0 <= ProcessRewardModel(load_classifier(folder), words).score([text])[0] <= 1
    for mode in ("rank", "generate"):
        [act] = LM(folder, mode=mode, max_new_tokens=3).act([Decision(text, ("go left", f"say {text}"), key=(1,))])
        assert act.error is None
