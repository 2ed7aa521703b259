r"""Make text of unknown origin safe to store and to show: in a terminal, in a plot, in a file name.

Names of tasks, kinds, splits and helpers, answers of servers and error messages come from outside the package. They may
contain control characters (a terminal executes them), characters that reverse the reading direction, halves of
surrogate pairs (no file can hold them) and any number of characters.

Examples:
    >>> visible("a\x1b[31mb\u202e")
    'a\\x1b[31mb\\u202e'
    >>> file_name("../../escape").startswith("escape-")
    True
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["file_name", "repaired", "shorten", "visible"]

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories without a glyph: control, format (such as direction marks), surrogates, private, unassigned."""


def repaired(text: str) -> str:
    """Return ``text`` with U+FFFD in place of each lone surrogate; a pair of them becomes its character.

    Files, databases, JSON and tokenizers hold Unicode text only. A language model that is cut off within a character
    can produce half of a pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def visible(text: object, *, limit: int | None = None, keep: str = "") -> str:
    r"""Return ``text`` with every character that has no glyph written as an escape (``\x00``, ``\u202e``).

    Args:
        text: anything; ``str`` is applied to it.
        limit: at most this many characters, see :func:`shorten`.
        keep: characters that stay as they are, for instance ``"\n"``.
    """
    written = str(text)
    if limit is not None:
        written = shorten(written, limit)  # before escaping, so that a text of any size costs no more than its part
    if not (written.isascii() and written.isprintable()):
        written = "".join(map(lambda one: one if one in keep else _visible(one), written))
    return written if limit is None else shorten(written, limit)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")


def shorten(text: str, limit: int) -> str:
    """Return ``text`` with its middle left out if it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    tail = limit - 1 - head
    return f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - tail :] if tail else ''}"


def file_name(text: str) -> str:
    """Return a file name (without a suffix) for ``text``: lower-case ASCII letters, digits and hyphens.

    The name is a function of ``text`` alone. Where characters had to be replaced or left out, a part of the text's
    SHA-256 is appended, so two different texts have different names also on file systems that ignore case.
    """
    slug = re.sub(r"[^a-z0-9-]+", "-", text.replace("_", "-")).strip("-")[:40].strip("-")
    if slug and slug == text.replace("_", "-") and "-" not in text:  # "a-b" is not given the name of "a_b"
        return slug
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug}-{digest}" if slug else digest
