"""How long to wait before asking again: exponential back-off with full jitter, and ``Retry-After``."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["backoff_seconds", "retry_after_seconds"]


def backoff_seconds(attempt: int, *, base: float, longest: float, generator: random.Random) -> float:
    """Uniform in ``[0, min(longest, base * 2**attempt)]``.

    "Full jitter" (Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015): clients that failed together
    do not come back together.
    """
    return generator.uniform(0.0, min(longest, base * 2.0 ** min(attempt, 60)))


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that a response asks its client to wait, or None if it does not say (or says nonsense).

    Reads ``retry-after-ms``, and ``Retry-After`` in both forms of RFC 9110, section 10.2.3: seconds, or a date. A date
    that has passed is 0.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:  # "-0000": the date is in UTC, of an unknown place
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    """A finite number of at least 0, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
