"""JSON without NaN and infinity, and JSON files read with explanatory errors.

Python's ``json`` writes ``NaN`` and ``Infinity``, which are not JSON; SQLite, browsers and most other readers reject
the whole document. :func:`dumps` writes ``null`` for numbers that are not finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, SelfRegError

__all__ = ["dumps", "finite", "read_object"]


def finite(value: Any) -> Any:
    """A copy of the value with None for floats that are not finite, at any depth of dicts, lists and tuples."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def dumps(value: Any, **options: Any) -> str:
    """``json.dumps`` with ``null`` for NaN and infinity; ``options`` are those of ``json.dumps``."""
    try:
        return json.dumps(value, allow_nan=False, **options)  # the usual case, without a copy
    except ValueError:
        return json.dumps(finite(value), allow_nan=False, **options)


def read_object(
    file: str | Path, *, what: str, remedy: str, keys: Sequence[str] = (), error: type[SelfRegError] = CheckpointError
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        file: the file.
        what: content of the file, for the message ("the record of a helper").
        remedy: instruction for the message.
        keys: required keys.
        error: class of the error.

    Raises:
        SelfRegError: an ``error``, if the file is missing, a folder, cut off, nested too deep, or not an object with
            these keys.
    """

    def unreadable(why: object) -> SelfRegError:
        return error(f"{str(file)!r} must be a JSON object with {what}, and cannot be read ({why}): {remedy}.")

    if Path(file).is_dir():
        raise error(f"{what} is one JSON file, received the folder {str(file)!r}: give the path of the file in it.")
    try:
        data = json.loads(Path(file).read_text(encoding="utf-8"))
    except RecursionError:
        raise unreadable("nested too deep") from None
    except (OSError, ValueError) as fault:
        raise unreadable(fault) from fault
    if not isinstance(data, dict):
        raise unreadable(f"it holds a {type(data).__name__}")
    if missing := [key for key in keys if key not in data]:
        raise unreadable(f"{missing[0]!r} is missing")
    return data
