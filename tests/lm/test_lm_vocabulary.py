"""Unknown tokens of texts, and the vocabulary built from collected texts, which has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.lm.backbone import backbone_path
from selfreg_gym.lm.loading import load_tokenizer
from selfreg_gym.lm.tokenizer import PromptEncoder, build_tokenizer
from selfreg_gym.lm.vocabulary import build_open_tokenizer, unknown_tokens

TEXTS = [f"The {lamp} lamp glows.\nPull lever {i}." for i in range(1, 10) for lamp in ("azure", "ochre", "sepia")]
FOREIGN = [
    "The vermilion lamp glows.\nPull lever 4711.",
    "ça ? 日本語 \U0001f642 \x00",
    "help12 nohelper \ud800",
    "<unk> </s>",
]


def texts_of(task: str, tasks: int = 6) -> list[str]:
    """Observations of a task when the first admissible action is taken."""
    env = gym.make(task)
    texts = []
    for index in range(tasks):
        text, info = env.reset(seed=index, options={"episode": index})
        over = False
        while not over and len(texts) < 40 * (index + 1):
            texts.append(text)
            text, _, terminated, truncated, info = env.step(info["admissible_actions"][0])
            over = terminated or truncated
    return texts


@pytest.mark.parametrize(("task", "low", "high"), [("Coin", 0.3, 0.45), ("FrozenLake", 0.3, 0.45), ("SIF", 0.0, 0.0)])
def test_the_shipped_vocabulary_reads_only_the_household_task(task: str, low: float, high: float) -> None:
    found = unknown_tokens(load_tokenizer(backbone_path("tiny")), texts_of(f"selfreg/{task}-v0"))
    assert low <= found.share <= high
    assert found.readable == (task == "SIF")
    assert ("heads" in found.words) == (task == "Coin")


def test_unknown_words_that_merge_texts_are_too_many() -> None:
    rest = "word " * 99
    closed = build_tokenizer([rest])
    found = unknown_tokens(closed, [f"{rest}{colour}" for colour in ("red", "blue", "green", "white")])
    assert found.share == pytest.approx(0.01)
    assert found.words == ("blue", "green", "red", "white")
    assert found.merged == 0.75
    assert not found.readable
    assert unknown_tokens(closed, [rest, f"{rest}{rest}red"]).readable, "no two texts become equal"


def bpe(alphabet: str, *, bytes_too: bool = False) -> Any:
    """A BPE tokenizer without an unknown token: over characters, or over bytes."""
    letters = pre_tokenizers.ByteLevel.alphabet() if bytes_too else alphabet
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel() if bytes_too else pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>")


def test_tokenizers_without_an_unknown_token() -> None:
    for tokenizer, text in ((bpe("", bytes_too=True), "ça ? 日本語"), (bpe("abc"), "cab abba")):
        found = unknown_tokens(tokenizer, [text])
        assert (found.share, found.words, found.merged, found.unknown) == (0.0, (), 0.0, 0)
    left_out = unknown_tokens(bpe("abc"), ["cab xyz"])
    assert left_out.words == ("xyz",), "characters that a tokenizer leaves out are not read"
    assert left_out.share == 0.25


def test_the_built_vocabulary_reads_every_text() -> None:
    tokenizer = build_open_tokenizer(TEXTS)
    found = unknown_tokens(tokenizer, [*TEXTS, *FOREIGN])
    assert (found.share, found.words, found.merged) == (0.0, (), 0.0)
    encode = PromptEncoder(tokenizer).prompt
    assert len({tuple(encode(f"Pull lever {number}.")) for number in range(300)}) == 300
    assert encode("vermilion") != encode("magenta")
    assert encode("a\nb") != encode("a b"), "line breaks are read"
    assert tokenizer.tokenize("lamp lever 12") == ["lamp", "lever", "1", "2"]


def test_the_answers_of_a_helper_are_one_token_each() -> None:
    encoder = PromptEncoder(build_open_tokenizer(TEXTS))
    first = [encoder.continuation(f" {answer}", after="?") for answer in ("nohelp", "help", "help2", "help9")]
    assert [len(tokens) for tokens in first] == [1, 1, 1, 1]
    assert len({tokens[0] for tokens in first}) == 4


def test_the_vocabulary_does_not_depend_on_the_order_of_texts_or_on_saving(tmp_path: Path) -> None:
    tokenizer = build_open_tokenizer(TEXTS)
    assert tokenizer.get_vocab() == build_open_tokenizer([*reversed(TEXTS), TEXTS[0]]).get_vocab()
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    again = load_tokenizer(tmp_path)
    assert [again.encode(text) for text in (*TEXTS, FOREIGN[0])] == [tokenizer.encode(t) for t in (*TEXTS, FOREIGN[0])]


def test_rare_words_are_split_into_characters() -> None:
    tokenizer = build_open_tokenizer(["one common text", "two common texts"])
    assert tokenizer.tokenize("common") == ["common"]
    assert tokenizer.tokenize("one") == ["o", "n", "e"]
    assert build_open_tokenizer(["one text"], words=["one"]).tokenize("one") == ["one"]
