r"""Text of unknown origin, made safe to store and to display: in a terminal, in a plot, in a file name.

Names of tasks, kinds, splits and helpers, responses of servers and error messages come from outside the package. They
may be of any length and contain control characters (which a terminal executes), characters that reverse the reading
direction, and lone surrogates (which no file can hold).

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
"""Unicode categories without a glyph: control, format (direction marks), surrogates, private use, unassigned."""


def repaired(text: str) -> str:
    """Return ``text`` with U+FFFD in place of each lone surrogate; a surrogate pair becomes its character.

    Files, databases, JSON and tokenizers hold only valid Unicode. A language model that stops within a character can
    produce half of a pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def visible(text: object, *, limit: int | None = None, keep: str = "") -> str:
    r"""Return ``text`` with characters that have no glyph as escapes (``\x00``, ``\u202e``).

    Args:
        text: a value, converted by ``str``.
        limit: maximal number of characters, see :func:`shorten`.
        keep: characters that are not escaped, for instance ``"\n"``.
    """
    written = str(text)
    if limit is not None:
        written = shorten(written, limit)  # before escaping, so that the time does not grow with the text
    if not (written.isascii() and written.isprintable()):
        hidden = {one for one in set(written).difference(keep) if unicodedata.category(one) in _HIDDEN}
        written = "".join(ascii(one)[1:-1] if one in hidden else one for one in written)
    return written if limit is None else shorten(written, limit)


def shorten(text: str, limit: int) -> str:
    """Return ``text`` with an ellipsis in place of its middle if it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    tail = limit - 1 - head
    return f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - tail :] if tail else ''}"


def file_name(text: str) -> str:
    """Return a file name (without a suffix) for ``text``: lower-case ASCII letters, digits and hyphens.

    Where characters are replaced or omitted, part of the text's SHA-256 is appended, so different texts have different
    names, also on file systems that ignore case.
    """
    slug = re.sub(r"[^a-z0-9-]+", "-", text.replace("_", "-")).strip("-")[:40].strip("-")
    if slug and slug == text.replace("_", "-") and "-" not in text:  # the name "a-b" belongs to "a_b"
        return slug
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug}-{digest}" if slug else digest
