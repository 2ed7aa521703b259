"""Unknown tokens of a task's texts, and a tokenizer built from the collected texts that reads any text.

A word-level tokenizer replaces each word outside its vocabulary by ``<unk>``. A model then cannot distinguish texts
that differ only in such words, and it trains without an error. :func:`unknown_tokens` measures this.

:func:`build_open_tokenizer` builds an open vocabulary: a frequent word of the collected texts is one token, any other
word is split into its characters, and a new character into its bytes. Words, numbers and letters that no collected text
contains never become ``<unk>``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from selfreg_gym.lm.memo import digest
from selfreg_gym.lm.tokenizer import SPECIAL_TOKENS, fast_tokenizer
from selfreg_gym.utils.printable import repaired

__all__ = ["MAX_UNKNOWN", "UnknownTokens", "build_open_tokenizer", "distinct", "unknown_tokens"]

MAX_UNKNOWN = 0.05
"""Largest share of unknown tokens with which a model may be trained."""

_COMPARED = 2000  # about the number of distinct texts whose tokens are compared
_ANSWERS = ("nohelp", "help", *(f"help{k}" for k in range(2, 10)))
# A token is a helper's answer, one digit, a run of letters, a line break, or one other character; spaces separate.
_PATTERN = r"\b(?:nohelp|help[2-9]?)\b|\d|[^\W\d]+|\n|[^\w\s]"
_WORDS = r"\w+|[^\w\s]"


@dataclass(frozen=True, slots=True)
class UnknownTokens:
    """The unknown tokens of some texts.

    Attributes:
        share: unknown tokens as a share of all tokens, in [0, 1].
        words: the words with unknown tokens, the most frequent first.
        merged: share of the distinct texts whose tokens, because of unknown ones, equal those of another text, in [0,
            1].
        unknown, total: the number of unknown tokens and of all tokens.
    """

    share: float
    words: tuple[str, ...]
    merged: float
    unknown: int = 0
    total: int = 0

    @property
    def readable(self) -> bool:
        """Whether at most 5 % of the tokens are unknown, and at most 5 % of the texts are merged."""
        return self.share <= MAX_UNKNOWN and self.merged <= MAX_UNKNOWN


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the distinct texts in their order, with lone surrogates replaced as in prompts."""
    return list(dict.fromkeys(map(repaired, texts)))


def unknown_tokens(tokenizer: Any, texts: Sequence[str]) -> UnknownTokens:
    """Measure the unknown tokens of ``texts`` (each distinct text counts once).

    A token is unknown if it is the tokenizer's ``unk_token``. A word of which the tokenizer drops a character, as a
    vocabulary without ``unk_token`` does, counts as one more unknown token. Byte-level tokenizers have none.
    """
    texts = distinct(texts)
    if not texts:
        return UnknownTokens(0.0, (), 0.0)
    counts = Counter(word for text in texts for word in re.findall(_WORDS, text))
    total = unknown = 0
    missed: dict[str, int] = {}
    for word, count in counts.items():
        tokens, lost = _read_word(tokenizer, word)
        total += count * max(tokens, lost)
        unknown += count * lost
        if lost:
            missed[word] = count
    words = tuple(sorted(missed, key=lambda word: (-missed[word], word)))
    merged = _merged(tokenizer, texts) if unknown else 0.0
    return UnknownTokens(unknown / total if total else 0.0, words, merged, unknown, total)


def _read_word(tokenizer: Any, word: str) -> tuple[int, int]:
    """Return the number of tokens of a word, and how many of them are unknown."""
    if getattr(tokenizer, "is_fast", False):
        read = tokenizer(word, add_special_tokens=False, return_offsets_mapping=True)
        ids, spans = read["input_ids"], read["offset_mapping"]
        covered = {position for begin, end in spans for position in range(begin, end)}
        dropped = len(covered) < len(word)
    else:
        ids = tokenizer.encode(word, add_special_tokens=False)
        dropped = not ids
    unk = tokenizer.unk_token_id
    lost = sum(token == unk for token in ids) if unk is not None else 0
    return len(ids) + dropped, lost + dropped


def _merged(tokenizer: Any, texts: Sequence[str]) -> float:
    """Return the share of texts with unknown tokens whose tokens equal those of an earlier text."""
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
    """Build a tokenizer from texts that reads every text without an unknown token.

    A digit, a punctuation mark and a line break are one token each; other white space only separates. A word that
    occurs in at least two distinct texts is one token. Any other word is split into characters, so that these are
    trained as well. The ids do not depend on the order of the texts.

    Args:
        texts: the collected texts.
        words: words that are single tokens in any case.
        max_words: number of frequent words in the vocabulary.

    Returns:
        A ``transformers.PreTrainedTokenizerFast`` (BPE without merges over words, characters and bytes).
    """
    from tokenizers import AddedToken, models

    pattern = re.compile(_PATTERN)
    within = Counter(word for text in distinct(texts) for word in set(pattern.findall(text)))  # texts with the word
    frequent = sorted((word for word in within if within[word] > 1), key=lambda word: (-within[word], word))[:max_words]
    characters = {chr(code) for code in range(0x21, 0x7F)} | {character for word in within for character in word}
    fixed = [*SPECIAL_TOKENS.values(), *(f"<0x{byte:02X}>" for byte in range(256)), "\n", *_ANSWERS, *words]
    vocabulary = dict.fromkeys([*fixed, *sorted(characters), *sorted(frequent)])
    ids = {token: i for i, token in enumerate(vocabulary)}
    core = models.BPE(
        ids, [], unk_token=SPECIAL_TOKENS["unk_token"], byte_fallback=True, ignore_merges=True, fuse_unk=False
    )
    special = {name: AddedToken(token, special=True, normalized=False) for name, token in SPECIAL_TOKENS.items()}
    return fast_tokenizer(core, ids, pattern=_PATTERN, special=special)
