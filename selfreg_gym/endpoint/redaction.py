"""Redaction of texts from a server: without the key, without control characters, of limited length."""

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
"""Characters kept of an answer. A server that ignores ``max_tokens`` may send a megabyte."""

_SECRET = 8  # characters of the shortest key that is removed; a shorter one occurs within words
_LONGEST_MESSAGE = 300  # characters kept of a message of the server
_ESCAPES = re.compile(  # ANSI: colours and cursor movements; titles and links; two-character commands
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -~]"
)
_JOINERS = "\u200c\u200d"  # format characters that emoji and some scripts need
_GAP = r"[\s\x00-\x1f\x7f\u200b]*"  # between characters of a key that the server wraps or colours


def readable(text: str) -> str:
    """The first ``LONGEST`` characters, with U+FFFD for lone surrogates, which cannot be sent or stored."""
    return repaired(text[:LONGEST])


def without_controls(text: str) -> str:
    """A text without terminal commands, control characters and direction marks.

    Line breaks and tabs are kept; other line and paragraph separators become line breaks.
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


def shortened(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """A text on one line of at most ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


class Redaction:
    """Removes a key from texts, in every form in which a server may repeat it.

    These are: the key in any case, also with line breaks inside; percent encoding; base64 (at any offset of a longer
    text, so also in ``user:key``); hexadecimal digits; HTML and JSON escapes.

    Args:
        key: the key, or None. A key of fewer than 8 characters is not removed, because it occurs within words.
    """

    def __init__(self, key: str | None) -> None:
        forms = _forms(key) if key is not None and len(key) >= _SECRET else []
        patterns = [_GAP.join(map(re.escape, form)) for form in sorted(set(forms), key=len, reverse=True)]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def clean(self, text: str) -> str:
        """``text`` with ``[key]`` in place of the key."""
        return text if self._pattern is None else self._pattern.sub("[key]", text)

    def message(self, text: str) -> str:
        """``text`` for an error or a report: one line of at most 300 characters without key and control characters."""
        return shortened(self.clean(without_controls(self.clean(readable(text)))))


def _forms(key: str) -> list[str]:
    raw = key.encode()
    forms = [key, quote(key), quote(key, safe=""), html.escape(key), json.dumps(key)[1:-1], raw.hex()]
    for offset in range(3):  # base64 writes 3 bytes as 4 characters, so the result depends on the offset
        first, last = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        encoded = base64.b64encode(b"\0" * offset + raw).decode()[first:last]
        forms += [encoded, encoded.replace("+", "-").replace("/", "_")]
    return forms
