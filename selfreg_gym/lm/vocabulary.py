"""Test whether a tokenizer can read a task's texts, and build one from the collected texts that reads any text.

A word-level tokenizer replaces each word outside its vocabulary by ``<unk>``: a model behind it cannot tell texts apart
that differ in such words, and it trains without an error. :func:`unknown_tokens` measures this.

:func:`build_open_tokenizer` makes a vocabulary that is open. A frequent word of the collected texts is one token. Every
other word is spelled: by its characters, and by its bytes where a character is new. So words, numbers and letters that
no collected text contains never become ``<unk>``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from selfreg_gym.lm.memo import digest
from selfreg_gym.utils.printable import repaired

__all__ = ["MAX_UNKNOWN", "UnknownTokens", "build_open_tokenizer", "distinct", "unknown_tokens"]

MAX_UNKNOWN = 0.05
"""Largest share of unknown tokens that a model may be trained with."""

_COMPARED = 2000  # distinct texts of which it is tested whether they are still different as tokens
_SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_ANSWERS = ("nohelp", "help", *(f"help{k}" for k in range(2, 10)))
# A token is an answer of a helper, one digit, a run of letters, a line break, or one other mark. Blanks separate.
_PATTERN = r"\b(?:nohelp|help[2-9]?)\b|\d|[^\W\d]+|\n|[^\w\s]"
_WORDS = r"\w+|[^\w\s]"


@dataclass(frozen=True, slots=True)
class UnknownTokens:
    """The unknown tokens of some texts.

    Attributes:
        share: unknown tokens as a share of all tokens, in [0, 1].
        words: the words that have unknown tokens, the most frequent first.
        merged: share of the distinct texts that are no longer distinct because of unknown tokens, in [0, 1].
    """

    share: float
    words: tuple[str, ...]
    merged: float

    @property
    def readable(self) -> bool:
        """Whether at most 5 % of the tokens are unknown, and at most 5 % of the texts are merged by unknown tokens."""
        return self.share <= MAX_UNKNOWN and self.merged <= MAX_UNKNOWN


def distinct(texts: Iterable[str]) -> list[str]:
    """The different texts, in their order; half characters are repaired as in prompts."""
    return list(dict.fromkeys(map(repaired, texts)))


def unknown_tokens(tokenizer: Any, texts: Sequence[str]) -> UnknownTokens:
    """Measure the unknown tokens of ``texts`` (each different text counts once).

    A token is unknown if it is the tokenizer's ``unk_token``. A word of which the tokenizer leaves out a character, as
    a vocabulary without ``unk_token`` does, counts as one unknown token more. Tokenizers over bytes have none.
    """
    texts = distinct(texts)
    if not texts:
        return UnknownTokens(0.0, (), 0.0)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(_WORDS, text))
    total = unknown = 0
    missed: dict[str, int] = {}
    for word, count in counts.items():
        tokens, lost = _read_word(tokenizer, word)
        total += count * max(tokens, lost)
        unknown += count * lost
        if lost:
            missed[word] = count
    words = tuple(sorted(missed, key=lambda word: (-missed[word], word)))
    return UnknownTokens(unknown / total if total else 0.0, words, _merged(tokenizer, texts) if unknown else 0.0)


def _read_word(tokenizer: Any, word: str) -> tuple[int, int]:
    """How many tokens a word has, and how many of them are unknown."""
    if getattr(tokenizer, "is_fast", False):
        read = tokenizer(word, add_special_tokens=False, return_offsets_mapping=True)
        ids, spans = read["input_ids"], read["offset_mapping"]
        covered = {place for begin, end in spans for place in range(begin, end)}
        left_out = len(covered) < len(word)
    else:
        ids = tokenizer.encode(word, add_special_tokens=False)
        left_out = not ids
    unk = tokenizer.unk_token_id
    lost = sum(token == unk for token in ids) if unk is not None else 0
    return len(ids) + left_out, lost + left_out


def _merged(tokenizer: Any, texts: Sequence[str]) -> float:
    """Share of the texts whose tokens, unknown ones among them, are those of an earlier text."""
    step = max(1, len(texts) // _COMPARED)
    unk = tokenizer.unk_token_id
    seen: set[bytes] = set()
    merged = 0
    chosen = texts[::step]
    for text in chosen:
        ids = list(tokenizer.encode(text, add_special_tokens=False))
        key = digest([str(ids)])
        merged += key in seen and (unk is None or unk in ids)
        seen.add(key)
    return merged / len(chosen)


def build_open_tokenizer(texts: Iterable[str], *, words: Sequence[str] = (), max_words: int = 8000) -> Any:
    """Make a tokenizer from texts, which reads every text without an unknown token.

    Digits and punctuation marks are tokens by themselves, so a number that no text has is read digit by digit. A line
    break is a token; other white space only separates. A word that at least two different texts have is one token;
    every other word is spelled, so that the letters are trained on as well. The ids depend on the texts and not on
    their order.

    Args:
        texts: the collected texts.
        words: words that are one token in any case.
        max_words: the most frequent words are kept.

    Returns:
        A ``transformers.PreTrainedTokenizerFast`` (BPE without merges over words, characters and bytes).
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pattern = re.compile(_PATTERN)
    within: Counter[str] = Counter()  # different texts that have the word
    for text in distinct(texts):
        within.update(set(pattern.findall(text)))
    frequent = sorted((word for word in within if within[word] > 1), key=lambda word: (-within[word], word))[:max_words]
    characters = {chr(code) for code in range(0x21, 0x7F)} | {character for word in within for character in word}
    vocabulary = dict.fromkeys(
        [
            *_SPECIAL.values(),
            *(f"<0x{byte:02X}>" for byte in range(256)),
            "\n",
            *_ANSWERS,
            *words,
            *sorted(characters),
            *sorted(frequent),
        ]
    )
    ids = {token: i for i, token in enumerate(vocabulary)}
    core = Tokenizer(
        models.BPE(ids, [], unk_token=_SPECIAL["unk_token"], byte_fallback=True, ignore_merges=True, fuse_unk=False)
    )
    core.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    special = {name: AddedToken(token, special=True, normalized=False) for name, token in _SPECIAL.items()}
    return PreTrainedTokenizerFast(tokenizer_object=core, padding_side="right", **special)
