"""``Server``: where an OpenAI-compatible endpoint is, and how patiently it is asked.

A key is only ever named: ``api_key_env`` is the name of an environment variable, read when the first request is sent.
So a config, a manifest, a store, a pickle and a ``repr`` can hold a ``Server`` and never a key.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from selfreg_gym.errors import InvalidArgumentError, SetupError, UnknownNameError

__all__ = ["IMMATERIAL", "NO_KEY", "Server"]

NO_KEY = "none"
"""Sent where no key is named: servers of one's own ignore it, and the client insists on something."""

IMMATERIAL = (
    *("base_url", "api_key_env", "timeout", "load_timeout", "retries", "backoff", "max_backoff", "max_wait"),
    *("concurrency", "batch", "cache"),
)
"""Arguments that say where and how fast, never what: a run that was begun at another address is continued."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a model is served, and how it is asked. Make one with :meth:`of`, which checks names too.

    Attributes:
        base_url: of the API, ``/v1`` included: ``"http://127.0.0.1:8000/v1"``.
        model: as the server calls it; None takes the only one that the server lists.
        api_key_env: NAME of the environment variable that holds the key, in capitals; None sends no key.
        timeout: seconds until an answer begins, and as many again until it is complete.
        load_timeout: the same until the server has answered once: it may still have to load the model.
        retries: further attempts after one that failed for a reason that may pass (429, 5xx, a lost connection, a
            timeout, an answer that is none).
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
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        if not url:
            raise InvalidArgumentError(
                "an endpoint needs base_url, the address of an OpenAI-compatible server with its /v1 "
                "(base_url='http://127.0.0.1:8000/v1', or the environment variable OPENAI_BASE_URL); received none."
            )
        return cls(base_url=url, **options)

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if self.model is not None and (not isinstance(self.model, str) or not self.model):
            raise InvalidArgumentError(f"model is the name that the server gives it, received {self.model!r}.")
        if self.api_key_env is not None and not (
            isinstance(self.api_key_env, str) and _VARIABLE.fullmatch(self.api_key_env)
        ):
            # What was received is not told: it may be the key itself.
            raise InvalidArgumentError(
                "api_key_env is the NAME of an environment variable, in capitals ('OPENAI_API_KEY'), never the key; "
                "received a text that is no such name."
            )
        for name in ("timeout", "load_timeout"):
            _check(name, getattr(self, name), "a number of seconds above 0", lambda x: x > 0)
        for name in ("backoff", "max_backoff", "max_wait", "prompt_price", "completion_price"):
            _check(name, getattr(self, name), "a number of at least 0", lambda x: x >= 0)
        _check("retries", self.retries, "a whole number of at least 0", lambda x: x >= 0 and x == int(x))
        for name in ("concurrency", "batch"):
            _check(name, getattr(self, name), "a whole number of at least 1", lambda x: x >= 1 and x == int(x))

    def key(self) -> str:
        """The key, from the environment.

        Raises:
            SetupError: the variable is not set.
        """
        if self.api_key_env is None:
            return NO_KEY
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SetupError(
                f"the key of {self.base_url} is to be in the environment variable {self.api_key_env}, which is not set."
            )
        return key

    @property
    def priced(self) -> bool:
        """Whether tokens cost anything here."""
        return bool(self.prompt_price or self.completion_price)

    def price(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost units of so many tokens."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1000.0


def _check_url(url: Any) -> None:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgumentError(
            "base_url is the address of an OpenAI-compatible server with its /v1 ('http://127.0.0.1:8000/v1'), "
            f"received {'a text with an @' if isinstance(url, str) and '@' in url else repr(url)}."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not told either: this is where people put keys.
        raise InvalidArgumentError(
            "base_url is written into manifests and stores, so it holds no user, password or query: name a key by "
            f"api_key_env. Received such a part in the address of {parts.hostname!r}."
        )


def _check(name: str, value: Any, rule: str, holds: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not holds(value):
        raise InvalidArgumentError(f"{name} must be {rule}, received {value!r}.")
