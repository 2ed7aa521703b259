"""Control tokens in a task's text: they are encoded as plain text.

A task can show text from outside: a note, a web page, the words of a person. ``<|im_start|>assistant`` in such a text
must not open a turn (prompt injection). :func:`mark_controls` encloses each control token that the text spells in two
Unicode noncharacters (code points for internal use, which never occur in exchanged text) before a chat template is
applied. :class:`PlainEncoder` then encodes marked text as ordinary characters and the template's own control tokens as
control tokens. Text without control tokens, which is nearly all text, is not changed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from selfreg_gym.utils.printable import repaired

__all__ = ["PlainEncoder", "control_tokens", "is_marked", "mark_controls"]

_BEGIN, _END = "\ufdd0", "\ufdd1"
_MARKED = re.compile(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}|[{_BEGIN}{_END}]")
_BRACKETED = re.compile(r"[<\[{\u25c1|].*[>\]}\u25b7|]", re.DOTALL)


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """Return the control tokens of a tokenizer with their ids: special tokens, and added tokens in brackets.

    Added words, white space and special tokens of one character (such as a full stop) count as text.
    """
    return _controls(tokenizer).ids


def mark_controls(text: str, tokenizer: Any) -> str:
    """Replace lone surrogates in ``text``, and mark the tokenizer's control tokens in it if one is given."""
    text = repaired(text)
    if tokenizer is None:
        return text
    pattern = _controls(tokenizer).any_case
    if pattern is None:
        return text
    if not text.isascii():
        text = text.replace(_BEGIN, "").replace(_END, "")
        normal = unicodedata.normalize("NFKC", text)  # a tokenizer's normalizer could make wide letters a control token
        if len(pattern.findall(normal)) > len(pattern.findall(text)):
            text = normal
    return pattern.sub(lambda match: f"{_BEGIN}{match.group()}{_END}", text)


def is_marked(text: str) -> bool:
    """Return whether ``text`` contains marks."""
    return _BEGIN in text or _END in text


class PlainEncoder:
    """Encodes prompts with marked text (:func:`mark_controls`).

    The text is split at control tokens outside of marks, as a tokenizer does. Each piece is encoded by a copy of the
    tokenizer without control tokens. Some tokenizer models (WordLevel, Unigram) also have control tokens among their
    ordinary entries; for these, spaces are inserted into the marked text.

    Args:
        tokenizer: any tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text`` without added special tokens."""
        controls, _, pattern = _controls(self.tokenizer)
        ids: list[int] = []
        piece: list[tuple[str, bool]] = []
        first = True
        for part, marked in _parts(pattern, text):
            if marked or part not in controls:
                piece.append((part, marked))
                continue
            ids += [*self._plain(piece, first=first), controls[part]]
            piece, first = [], False
        return ids + self._plain(piece, first=first)

    def _plain(self, parts: Sequence[tuple[str, bool]], *, first: bool) -> list[int]:
        """Return the ids of a piece, without control tokens; ``first``: it is the beginning of the prompt."""
        if not any(part for part, _ in parts):
            return []
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        forbidden = set(control_tokens(self.tokenizer).values()) - {unknown}
        begin, after, original_ids = self._backends
        core = begin if first else after
        ids: list[int] = []
        for between in ("", " ", None):
            texts = [_spaced(part, between) if marked else part for part, marked in parts]
            if core is not None:
                ids = [original_ids.get(i, i) for i in core.encode("".join(texts), add_special_tokens=False).ids]
            else:  # a slow tokenizer finds control tokens in the text again
                ids = list(self.tokenizer.encode("".join(texts), add_special_tokens=False))
            if forbidden.isdisjoint(ids):
                return ids
        return [token for token in ids if token not in forbidden]

    @cached_property
    def _backends(self) -> tuple[Any, Any, dict[int, int]]:
        """Backends without control tokens for the start and the rest of a text; original ids of their added words."""
        core: Any = getattr(self.tokenizer, "backend_tokenizer", None)
        if type(core).__name__ != "Tokenizer":
            return None, None, {}
        from tokenizers import Tokenizer

        data = json.loads(core.to_str())
        controls = control_tokens(self.tokenizer)
        kept = [token for token in data["added_tokens"] if token["content"] not in controls]
        data["added_tokens"] = [dict(token) for token in kept]
        data["truncation"] = data["padding"] = None
        begin = Tokenizer.from_str(json.dumps(data))
        _no_prefix(data)
        after = Tokenizer.from_str(json.dumps(data))
        return begin, after, {int(begin.token_to_id(token["content"]) or 0): int(token["id"]) for token in kept}


def _parts(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text in order, and whether each is marked; unmarked text is split at control tokens."""
    begin = 0
    for match in _MARKED.finditer(text):
        yield from ((part, False) for part in pattern.split(text[begin : match.start()]))
        yield match.group(1) or "", True
        begin = match.end()
    yield from ((part, False) for part in pattern.split(text[begin:]))


def _spaced(text: str, between: str | None) -> str:
    """Return ``text`` with ``between`` after its first character; None: with spaces between all characters."""
    return " ".join(text) if between is None else text[:1] + between + text[1:]


def _no_prefix(data: Any) -> None:
    """Disable Metaspace's mark of a text's first word, in place, for a piece that follows another piece."""
    if isinstance(data, dict):
        if data.get("prepend_scheme") == "first":
            data["prepend_scheme"] = "never"
        for key, value in data.items():
            if key not in ("model", "added_tokens"):
                _no_prefix(value)
    elif isinstance(data, list):
        for value in data:
            _no_prefix(value)


class _Controls(NamedTuple):
    """The ids of control tokens, a case-insensitive pattern of their texts (None without tokens), an exact group."""

    ids: dict[str, int]
    any_case: re.Pattern[str] | None
    exact: re.Pattern[str]


_known: WeakKeyDictionary[Any, tuple[int, _Controls]] = WeakKeyDictionary()


def _controls(tokenizer: Any) -> _Controls:
    """Find the control tokens, once per tokenizer and size of its vocabulary."""
    size = len(tokenizer)
    known = _known.get(tokenizer)
    if known is not None and known[0] == size:
        return known[1]
    found: dict[str, int] = {}
    for token in tokenizer.added_tokens_decoder.values():
        content = token.content
        if len(content.strip()) > 1 and (token.special or _BRACKETED.fullmatch(content.strip())):
            found[content] = int(tokenizer.convert_tokens_to_ids(content))
    longest = sorted(found, key=lambda content: (-len(content), content))
    exact = re.compile(f"({'|'.join(map(re.escape, longest)) or '(?!)'})")
    any_case = re.compile("|".join(re.escape(content.strip()) for content in longest), re.IGNORECASE) if found else None
    result = _Controls(found, any_case, exact)
    _known[tokenizer] = (size, result)
    return result
