"""``Server``: where an OpenAI-compatible endpoint is, and how patiently it is asked.

A key is only ever named: ``api_key_env`` is the name of an environment variable, read when the first request is sent
(and checked at once if it is set already). So a config, a manifest, a store, a pickle and a ``repr`` can hold a
``Server`` and never a key.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selfreg_gym.errors import InvalidArgumentError, SetupError, UnknownNameError, shown

__all__ = ["IMMATERIAL", "Server", "check_cache"]

IMMATERIAL = (
    *("base_url", "api_key_env", "timeout", "load_timeout", "retries", "backoff", "max_backoff", "max_wait"),
    *("concurrency", "batch", "cache"),
)
"""Arguments that say where and how fast, never what: a run that was begun at another address is continued."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = re.compile(r"[\w.~%:-]+")
_LONGEST = 1_000_000  # seconds: twelve days; much more overflows the clocks of the system
_QUOTES = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a model is served, and how it is asked. Make one with :meth:`of`, which checks names too.

    Attributes:
        base_url: of the API, ``/v1`` included: ``"http://127.0.0.1:8000/v1"``.
        model: as the server calls it; None takes the only one that the server lists.
        api_key_env: NAME of the environment variable that holds the key, in capitals; None sends no key.
        timeout: seconds until an answer is complete.
        load_timeout: the same until the server has answered once: it may still have to load the model.
        retries: further attempts after one that failed for a reason that may pass (429, 5xx, a lost connection, a
            timeout, a response without an answer). If the address was never reached there is one at most.
        backoff: seconds; the n-th wait is uniform in [0, min(max_backoff, backoff * 2**n)] ("full jitter").
        max_backoff: its largest upper end.
        max_wait: the longest ``Retry-After`` that is obeyed; a longer one is cut to it.
        concurrency: requests under way at once.
        batch: prompts in one request, if the server takes lists.
        prompt_price, completion_price: cost units of 1,000 tokens read and written.
    """

    base_url: str
    model: str | None = None
    api_key_env: str | None = None
    timeout: float = 60.0
    load_timeout: float = 120.0
    retries: int = 5
    backoff: float = 0.5
    max_backoff: float = 20.0
    max_wait: float = 60.0
    concurrency: int = 8
    batch: int = 16
    prompt_price: float = 0.0
    completion_price: float = 0.0

    @classmethod
    def of(cls, base_url: str | None = None, **options: Any) -> Server:
        """Build and check a server; without ``base_url`` it is the one that ``$OPENAI_BASE_URL`` names.

        Raises:
            UnknownNameError: an option that does not exist.
            InvalidArgumentError: no URL, or an option out of range.
        """
        known = [spec.name for spec in fields(cls)]
        for name in options:
            if name not in known:
                raise UnknownNameError("option of an endpoint", name, known)
        url = os.environ.get("OPENAI_BASE_URL") if base_url is None else base_url
        if url is None or url == "":
            raise InvalidArgumentError(
                "an endpoint needs base_url, the address of an OpenAI-compatible server with its /v1 "
                "(base_url='http://127.0.0.1:8000/v1', or the environment variable OPENAI_BASE_URL); received none."
            )
        return cls(base_url=url, **options)

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if self.model is not None:
            _check_model(self.model)
        if self.api_key_env is not None and not (
            isinstance(self.api_key_env, str) and _VARIABLE.fullmatch(self.api_key_env)
        ):
            # What was received is not told: it may be the key itself.
            raise InvalidArgumentError(
                "api_key_env is the NAME of an environment variable, in capitals ('OPENAI_API_KEY'), never the key; "
                "received another kind of text or value."
            )
        for name in ("timeout", "load_timeout"):
            self._number(name, f"a number of seconds above 0 and up to {_LONGEST}", lambda x: 0 < x <= _LONGEST)
        for name in ("backoff", "max_backoff", "max_wait"):
            self._number(name, f"a number of seconds from 0 to {_LONGEST}", lambda x: 0 <= x <= _LONGEST)
        for name in ("prompt_price", "completion_price"):
            self._number(name, "a number of at least 0 (cost units per 1,000 tokens)", lambda x: 0 <= x <= 1e12)
        self._number("retries", "a whole number of at least 0", lambda x: 0 <= x <= 10**6, whole=True)
        for name in ("concurrency", "batch"):
            self._number(name, "a whole number of at least 1", lambda x: 1 <= x <= 10**6, whole=True)
        if self.api_key_env is not None and os.environ.get(self.api_key_env, "").strip():
            self.key()  # a malformed key is reported here, and not after the retries of the first request

    def _number(self, name: str, rule: str, holds: Callable[[Any], bool], *, whole: bool = False) -> None:
        """Check one option and store it as a plain int or float."""
        value = getattr(self, name)
        kind: Any = Integral if whole else Real
        number = isinstance(value, kind) and not isinstance(value, bool)
        if not number or not (isinstance(value, Integral) or math.isfinite(value)) or not holds(value):
            raise InvalidArgumentError(f"{name} must be {rule}, received {shown(value)}.")
        object.__setattr__(self, name, int(value) if isinstance(value, Integral) else float(value))

    def key(self) -> str | None:
        """The key, from the environment, without blanks around it; None if no variable is named.

        Raises:
            SetupError: the variable is not set, or does not hold a valid key.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SetupError(
                f"the key of {self.base_url} must be in the environment variable {self.api_key_env}, which is not set "
                "or empty: set it, or leave api_key_env out if the server needs no key."
            )
        problem = _key_problem(key)
        if problem:
            raise SetupError(
                f"a key is one word of printable ASCII characters; the environment variable {self.api_key_env} holds "
                f"{problem} (the value is not shown): set it again to the key alone."
            )
        return key

    @property
    def priced(self) -> bool:
        """Whether tokens cost anything here."""
        return bool(self.prompt_price or self.completion_price)

    def price(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost units of so many tokens."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1000.0


def check_cache(cache: Any) -> Path | None:
    """The path of a cache, or None.

    Raises:
        InvalidArgumentError: it is not a path.
    """
    if cache is None:
        return None
    if not isinstance(cache, str | os.PathLike) or not str(cache).strip() or "\0" in str(cache):
        raise InvalidArgumentError(
            f"cache is the path of the file in which answers are kept, or None; received {shown(cache)}."
        )
    return Path(cache)


def _key_problem(key: str) -> str:
    """Describe what is wrong with a key, without showing any part of it."""
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "quotation marks around it"
    if not key.isascii():
        return "a character that is not ASCII"
    if any(character.isspace() for character in key):
        return "a blank or a line break inside it (as of 'Bearer KEY', or of a text that was wrapped)"
    if not key.isprintable():
        return "a control character"
    return ""


def _check_url(url: Any) -> None:
    example = "base_url is the address of an OpenAI-compatible server with its /v1 ('http://127.0.0.1:8000/v1')"
    if not isinstance(url, str):
        raise InvalidArgumentError(f"{example}, received {shown(url)}.")
    if not url.isprintable() or " " in url:
        raise InvalidArgumentError(
            f"{example} without blanks, line breaks and control characters; received one with such a character: remove "
            "it."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = None, None
    known = parts is not None and parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "")
    if parts is None or not known or port == 0:
        received = "a text with an @" if "@" in url else shown(url)
        raise InvalidArgumentError(f"{example}, beginning with http:// or https://; received {received}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not shown either: such parts often hold keys.
        raise InvalidArgumentError(
            "base_url is written into manifests and stores, so it holds no user, password or query: name a key by "
            f"api_key_env. Received such a part in the address of {parts.hostname!r}."
        )
    for route in ("/chat/completions", "/completions", "/models", "/systemone", "/responses"):
        if parts.path.rstrip("/").endswith(route):
            raise InvalidArgumentError(
                f"base_url ends before the route of a request, as in .../v1; received one that ends with {route!r}: "
                "leave that out."
            )


def _check_model(model: Any) -> None:
    if not isinstance(model, str) or not model or len(model) > 300 or model != model.strip() or not model.isprintable():
        raise InvalidArgumentError(
            "model is the name that the server gives it, of 1 to 300 characters without blanks around it and without "
            f"line breaks; received {shown(model)}."
        )
