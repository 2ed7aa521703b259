"""A word-level tokenizer with a closed vocabulary, and an encoder for prompts of repeated lines.

The shipped models read a task with a few hundred words. With one token per word, prompts are short and a checkpoint has
about 1 MB. The tokenizer is a plain ``PreTrainedTokenizerFast``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from selfreg_gym.lm.control_tokens import PlainEncoder, is_marked, mark_controls
from selfreg_gym.utils.printable import repaired

__all__ = ["CONTROL_WORDS", "SPECIAL_TOKENS", "PromptEncoder", "build_tokenizer", "fast_tokenizer", "words"]

WORD = re.compile(r"\w+|[^\w\s]")

#: Words of the prompts of helpers and process reward models, for any task.
CONTROL_WORDS: tuple[str, ...] = (
    *("Reasoning", "Action", "Budget", "budget", "Help", "help", "nohelp", "Success", "success", "Calls", "left"),
    *(f"help{k}" for k in range(2, 10)),
    *("yes", "no", "Yes", "No", "?", ":", ".", ",", "!", "-", "(", ")", "'", '"'),
    *(str(number) for number in range(100)),
)

SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def words(text: str) -> list[str]:
    """Split a text like the tokenizer: into runs of word characters and single punctuation marks."""
    return WORD.findall(text)


def build_tokenizer(texts: Iterable[str], *, control_words: Sequence[str] = CONTROL_WORDS) -> Any:
    """Build a word-level tokenizer whose vocabulary is all words of ``texts``.

    Ids are assigned to the four special tokens, then to ``control_words`` in their order, then to the other words in
    alphabetical order, so they do not depend on the order of the texts. White space is not encoded. With special tokens
    a text begins with ``<s>``; unknown words become ``<unk>``.

    Args:
        texts: texts with all words that the model must read and write.
        control_words: words that are included in any case.

    Returns:
        A ``transformers.PreTrainedTokenizerFast``.
    """
    from tokenizers import models

    found = {word for text in texts for word in WORD.findall(text)}
    vocabulary = list(dict.fromkeys([*SPECIAL_TOKENS.values(), *control_words, *sorted(found)]))
    ids = {word: i for i, word in enumerate(vocabulary)}
    core = models.WordLevel(ids, unk_token=SPECIAL_TOKENS["unk_token"])
    return fast_tokenizer(core, ids, pattern=WORD.pattern, special=SPECIAL_TOKENS)


def fast_tokenizer(core: Any, ids: Mapping[str, int], *, pattern: str, special: Mapping[str, Any]) -> Any:
    """Wrap a tokenizer model that encodes each match of ``pattern``; a text begins with ``<s>``."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    whole = Tokenizer(core)
    whole.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    whole.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    whole.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # joins words by spaces, except before . , ! ? '
    return PreTrainedTokenizerFast(tokenizer_object=whole, padding_side="right", **special)


class PromptEncoder:
    """Encodes texts and caches the ids of lines.

    In a word-level tokenizer no token crosses a line break, so the ids of a prompt are the concatenated ids of its
    lines. Observations repeat most of their lines, and a cached line is much faster than tokenising
    (``benchmarks/scoring.py``). Other tokenizers encode the whole text.

    Args:
        tokenizer: any tokenizer of transformers.
        max_lines: number of cached lines at which the cache is emptied.
    """

    def __init__(self, tokenizer: Any, *, max_lines: int = 100_000) -> None:
        self.tokenizer = tokenizer
        self.max_lines = max_lines
        core = getattr(tokenizer, "backend_tokenizer", None)  # slow (Python) tokenizers have no backend
        self.by_line = type(getattr(core, "model", None)).__name__ == "WordLevel"
        self._lines: dict[str, list[int]] = {}
        self._head = _leading_specials(tokenizer)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a prompt, with the tokenizer's leading special tokens.

        The beginning-of-text token is not repeated if a chat template has written it. A special token that the
        tokenizer appends at the end of a text is left out, since the answer follows. Marked text
        (:func:`selfreg_gym.lm.control_tokens.mark_controls`) gives no control tokens. Lone surrogates are encoded as
        the replacement character.
        """
        text = repaired(text)
        begins = bool(self._head) and text.startswith(self.tokenizer.convert_ids_to_tokens(self._head[0]))
        ids = [] if begins else self._head.copy()
        if is_marked(text):
            return ids + self._plain.encode(text)
        if not self.by_line:
            return ids + list(self.tokenizer.encode(text, add_special_tokens=False))
        for line in text.split("\n"):
            ids += self._line(line)
        return ids

    def continuation(self, text: str, *, after: str = ":") -> list[int]:
        """Return the ids of the text after a prompt, without special tokens; control tokens in it are plain text.

        Args:
            text: the text; it usually begins with a space.
            after: the last character of the prompt. A SentencePiece tokenizer marks the beginning of every text as the
                beginning of a word, so an answer that is encoded alone has other tokens than after a prompt.
        """
        text = mark_controls(text, self.tokenizer)
        if self.by_line:
            return list(self._line(text))
        before = self._line(repaired(after))
        both = self._line(repaired(after) + text)
        return both[len(before) :] if both[: len(before)] == before else list(self._line(text))

    @cached_property
    def _plain(self) -> PlainEncoder:
        return PlainEncoder(self.tokenizer)

    def _line(self, line: str) -> list[int]:
        ids = self._lines.get(line)
        if ids is None:
            if is_marked(line):
                ids = self._plain.encode(line)
            else:
                ids = list(self.tokenizer.encode(line, add_special_tokens=False))
            if len(self._lines) >= self.max_lines:
                self._lines.clear()
            self._lines[line] = ids
        return ids


def _leading_specials(tokenizer: Any) -> list[int]:
    """Return the special tokens that a tokenizer puts before a text (Llama: one, GPT-2 and Qwen: none)."""
    plain = tokenizer.encode("a", add_special_tokens=False)
    whole = list(tokenizer.encode("a"))
    return next((whole[:i] for i in range(len(whole)) if whole[i : i + len(plain)] == plain), [])
