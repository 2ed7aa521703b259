"""Texts in a store: short ones as they are, long ones compressed; dialogues repeat themselves and shrink to a fifth."""

from __future__ import annotations

import zlib

from selfreg_gym.errors import StoreDamagedError

__all__ = ["loaded", "stored"]

_LONG = 2000  # characters
_LEVEL = 1  # the fastest; higher levels save little of a dialogue


def stored(text: str) -> str | bytes:
    """The value of a text in the file: the text, or its UTF-8 bytes compressed with zlib if it is long."""
    if len(text) < _LONG:
        return text
    packed = zlib.compress(text.encode(), _LEVEL)
    return packed if len(packed) < len(text) else text


def loaded(value: str | bytes) -> str:
    """The text of a value that :func:`stored` returned.

    Raises:
        StoreDamagedError: bytes that are not a compressed text.
    """
    if isinstance(value, str):
        return value
    try:
        return zlib.decompress(value).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise StoreDamagedError(f"a text of the store is damaged ({error}). Restore it from a copy.") from error
