"""A word-level tokenizer over a closed vocabulary, and fast encoding of long prompts made of repeated lines.

The default models read a text world of a few hundred words, so a word is a token: prompts are short, and a
checkpoint stays near 1 MB. It is a ``PreTrainedTokenizerFast`` like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from selfreg_gym.lm.control_tokens import PlainEncoder, is_marked, mark_controls
from selfreg_gym.utils.printable import repaired

__all__ = ["CONTROL_WORDS", "PromptEncoder", "build_tokenizer", "words"]

WORD = re.compile(r"\w+|[^\w\s]")

#: Words that prompts of helpers and process reward models need, whatever the task's own words are.
CONTROL_WORDS: tuple[str, ...] = (
    *("Reasoning", "Action", "Budget", "budget", "Help", "help", "nohelp", "Success", "success", "Calls", "left"),
    *(f"help{k}" for k in range(2, 10)),
    *("yes", "no", "Yes", "No", "?", ":", ".", ",", "!", "-", "(", ")", "'", '"'),
    *(str(number) for number in range(100)),
)

_SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def words(text: str) -> list[str]:
    """Split a text as the tokenizer does: runs of word characters, and each punctuation mark by itself."""
    return WORD.findall(text)


def build_tokenizer(texts: Iterable[str], *, control_words: Sequence[str] = CONTROL_WORDS) -> Any:
    """Make a word-level tokenizer whose vocabulary is every word of ``texts``.

    Ids are the four special tokens, then ``control_words`` in their order, then the other words in alphabetical
    order: the same texts give the same ids in whatever order they come. White space is not kept. A text begins
    with ``<s>`` when special tokens are asked for; unknown words become ``<unk>``.

    Args:
        texts: all that the model shall be able to read and say.
        control_words: words to include even where no text has them.

    Returns:
        A ``transformers.PreTrainedTokenizerFast``.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    found: set[str] = set()
    for text in texts:
        found.update(WORD.findall(text))
    vocabulary = list(dict.fromkeys([*_SPECIAL.values(), *control_words, *sorted(found)]))
    ids = {word: i for i, word in enumerate(vocabulary)}
    core = Tokenizer(models.WordLevel(ids, unk_token=_SPECIAL["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # joins by spaces, none before . , ! ? '
    return PreTrainedTokenizerFast(tokenizer_object=core, padding_side="right", **_SPECIAL)


class PromptEncoder:
    """Text to token ids, remembering the ids of lines.

    In a word-level tokenizer no token crosses a line break, so a prompt's ids are its lines' ids one after the
    other; observations repeat most of their lines, and a dict look-up is much faster than tokenising
    (``benchmarks/scoring.py``). Other tokenizers encode the whole text.

    Args:
        tokenizer: any fast tokenizer.
        max_lines: lines remembered before the store is emptied.
    """

    def __init__(self, tokenizer: Any, *, max_lines: int = 100_000) -> None:
        self.tokenizer = tokenizer
        self.max_lines = max_lines
        core = getattr(tokenizer, "backend_tokenizer", None)  # SentencePiece and Python tokenizers have none
        self.by_line = type(getattr(core, "model", None)).__name__ == "WordLevel"
        self._lines: dict[str, list[int]] = {}
        self._head = _leading_specials(tokenizer)

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt, with the tokenizer's leading special tokens, but never with a second beginning of text.

        A chat template that writes the beginning-of-text token itself keeps the one it wrote. A token that the
        tokenizer puts at the *end* of a text is left out: the answer has yet to come. Text that is marked
        (:func:`selfreg_gym.lm.control_tokens.mark_controls`, as the functions of :mod:`selfreg_gym.lm.prompts` do) gives
        no control tokens; halves of surrogate pairs are read as the replacement character.
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
        """Ids of what follows a prompt, without special tokens; control tokens that it spells are plain text.

        Args:
            text: usually begins with a space.
            after: what the prompt ends with. A SentencePiece tokenizer marks the beginning of every text it is given
                as that of a word, so an answer encoded by itself would get a mark that it has not after a prompt.
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
    """The special tokens that a tokenizer puts before a text (Llama: one, GPT-2 and Qwen: none)."""
    plain = tokenizer.encode("a", add_special_tokens=False)
    whole = list(tokenizer.encode("a"))
    for begin in range(len(whole)):
        if whole[begin : begin + len(plain)] == plain:
            return whole[:begin]
    return []
