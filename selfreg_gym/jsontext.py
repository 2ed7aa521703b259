"""JSON without NaN and infinity, which the format does not have.

Python's ``json`` writes them as ``NaN`` and ``Infinity``, and then SQLite, browsers and most other readers refuse the
whole document. :func:`dumps` writes ``null`` for every number that is not finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["dumps", "finite"]


def finite(value: Any) -> Any:
    """The same value with None for every float that is NaN or infinite, at any depth of dicts, lists and tuples."""
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
        return json.dumps(value, allow_nan=False, **options)  # nearly always; a copy of the value takes longer
    except ValueError:
        return json.dumps(finite(value), allow_nan=False, **options)
