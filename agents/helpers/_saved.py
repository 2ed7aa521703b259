"""The format of a saved helper, read without importing its class."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.errors import SelfRegError
from selfreg_gym.utils.json_text import read_object

__all__ = ["saved_format"]


def saved_format(record: Path) -> str | None:
    """The ``format`` of a helper's record; None if the file is missing or damaged."""
    if not record.is_file():
        return None
    try:
        return str(read_object(record, what="a record", keys=("format",), remedy="train again")["format"])
    except SelfRegError:
        return None
