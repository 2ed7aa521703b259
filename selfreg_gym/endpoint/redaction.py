"""Texts of a server made safe to show: without the key, without control characters, and short."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from urllib.parse import quote

from selfreg_gym.utils.printable import repaired

__all__ = ["Redaction", "readable", "shortened", "without_controls"]

LONGEST = 200_000
"""Characters of an answer that are read. A server that ignores ``max_tokens`` may send a megabyte."""

_SECRET = 8  # characters of the shortest key that is removed from texts; a shorter one is part of many words
_TOLD = 300  # characters of a server's own message
_ESCAPES = re.compile(  # ANSI: colours and cursor movements, titles and links of a terminal, two-character commands
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -~]"
)
_JOINERS = "\u200c\u200d"  # format characters that emoji and some scripts need
_GAP = r"[\s\x00-\x1f\x7f\u200b]*"  # a server may wrap or colour the key that it repeats


def readable(text: str) -> str:
    """A text without lone surrogates, which can be neither sent nor stored, cut to ``LONGEST`` characters."""
    return repaired(text[:LONGEST])


def without_controls(text: str) -> str:
    """A text without terminal commands, control characters and marks that change its direction.

    Line breaks and tabs stay; other line and paragraph separators become line breaks.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = []
    for character in _ESCAPES.sub("", text.replace("\r\n", "\n")):
        kind = unicodedata.category(character)
        if character in "\n\t" + _JOINERS or kind not in ("Cc", "Cf", "Zl", "Zp"):
            kept.append(character)
        elif kind in ("Zl", "Zp") or character in "\r\x0b\x0c\x85":
            kept.append("\n")
    return "".join(kept)


def shortened(text: str, longest: int = _TOLD) -> str:
    """A text on one line, cut to ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


class Redaction:
    """Removes one key, in every form in which a server may repeat it, from texts.

    Recognized are the key itself in any case and with line breaks inside it, and the key in percent encoding, base64
    (at any offset of a longer text, so also within ``user:key``), hexadecimal digits, HTML and JSON escapes.

    Args:
        key: the key, or None. A key of fewer than 8 characters is not removed: it would be part of ordinary words.
    """

    def __init__(self, key: str | None) -> None:
        forms = _forms(key) if key is not None and len(key) >= _SECRET else []
        exact = [_GAP.join(map(re.escape, form)) for form in sorted(set(forms), key=len, reverse=True)]
        self._pattern = re.compile("|".join(exact), re.IGNORECASE) if exact else None

    def clean(self, text: str) -> str:
        """``text`` with ``[key]`` in place of the key."""
        return text if self._pattern is None else self._pattern.sub("[key]", text)

    def told(self, text: str) -> str:
        """``text`` on one line of at most 300 characters without key and control characters: for errors and reports."""
        return shortened(self.clean(without_controls(self.clean(readable(text)))))


def _forms(key: str) -> list[str]:
    raw = key.encode()
    forms = [key, quote(key), quote(key, safe=""), html.escape(key), json.dumps(key)[1:-1], raw.hex()]
    for offset in range(3):  # base64 writes three bytes as four characters: the key's own ones depend on its place
        first, last = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        encoded = base64.b64encode(b"\0" * offset + raw).decode()[first:last]
        forms += [encoded, encoded.replace("+", "-").replace("/", "_")]
    return forms
