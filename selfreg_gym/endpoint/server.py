"""``Server``: address, model, time limits and token prices of an OpenAI-compatible endpoint.

A key is referred to by name: ``api_key_env`` is the name of an environment variable, which is read at the first request
(and checked before, if it is set). So configs, manifests, stores, pickles and ``repr`` never contain a key.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selfreg_gym.errors import InvalidArgumentError, SetupError, UnknownNameError, shown
from selfreg_gym.utils.arguments import check_count, check_number

__all__ = ["IMMATERIAL", "Server", "check_cache", "keyword_names"]

IMMATERIAL = (
    *("base_url", "api_key_env", "timeout", "load_timeout", "retries", "backoff", "max_backoff", "max_wait"),
    *("concurrency", "batch", "cache"),
)
"""Arguments without influence on the answers: a run may continue with other values, as at another address."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = re.compile(r"[\w.~%:-]+")
_LONGEST = 1_000_000  # seconds (twelve days); much larger values overflow the system's clocks
_QUOTES = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Address, model, time limits and prices of a server. :meth:`of` builds one and checks the names of options.

    Attributes:
        base_url: address of the API, including ``/v1``: ``"http://127.0.0.1:8000/v1"``.
        model: name of the model at the server; None takes the only one that the server lists.
        api_key_env: NAME of the environment variable with the key, in capitals; None sends no key.
        timeout: seconds for a complete answer.
        load_timeout: the same until the server has answered once, because it may have to load the model.
        retries: attempts after a transient failure (429, 5xx, a lost connection, a timeout, a response without an
            answer); at most one if the address was never reached.
        backoff: seconds; the n-th pause is uniform in [0, min(max_backoff, backoff * 2**n)] ("full jitter").
        max_backoff: seconds.
        max_wait: upper bound on ``Retry-After``, in seconds.
        concurrency: largest number of simultaneous requests.
        batch: prompts per request, if the server takes lists.
        token_prices: cost units per 1,000 tokens read, and per 1,000 tokens written.
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
    token_prices: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, base_url: str | None = None, *, also_known: Sequence[str] = (), **options: Any) -> Server:
        """Build and check a server.

        Args:
            base_url: the address; default ``$OPENAI_BASE_URL``.
            also_known: names of the caller's own arguments, for the error about an unknown name.
            options: the other fields. ``prompt_price`` and ``completion_price`` are former names of ``token_prices``.

        Raises:
            UnknownNameError: an unknown option.
            InvalidArgumentError: no URL, or an option out of range.
        """
        former = [options.pop(name, None) for name in ("prompt_price", "completion_price")]
        if former != [None, None]:
            warnings.warn(
                "prompt_price and completion_price are now token_prices = [read, written]; the former names will be "
                "removed in the next release.",
                DeprecationWarning,
                stacklevel=3,
            )
            options.setdefault("token_prices", tuple(0.0 if price is None else price for price in former))
        known = [spec.name for spec in fields(cls)]
        for name in options:
            if name not in known:
                raise UnknownNameError("option of an endpoint", name, [*known, *also_known])
        url = os.environ.get("OPENAI_BASE_URL") if base_url is None else base_url
        if url is None or url == "":
            raise InvalidArgumentError(
                "an endpoint needs base_url, the address of an OpenAI-compatible server including /v1 "
                "(base_url='http://127.0.0.1:8000/v1', or the environment variable OPENAI_BASE_URL); received none."
            )
        return cls(base_url=url, **options)

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if self.model is not None:
            _check_model(self.model)
        variable = self.api_key_env
        if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
            # The received value is not shown: it may be the key itself.
            raise InvalidArgumentError(
                "api_key_env must be the NAME of an environment variable, in capitals ('OPENAI_API_KEY'), never the "
                "key; received another text or value."
            )
        for name in ("timeout", "load_timeout", "backoff", "max_backoff", "max_wait"):
            seconds = getattr(self, name)
            above = name.endswith("timeout")  # a timeout of 0 is an error, a pause of 0 is not
            seconds = check_number(f"{name} (seconds)", seconds, high=_LONGEST, above=above)
            object.__setattr__(self, name, seconds)
        for name in ("retries", "concurrency", "batch"):
            count = check_count(name, getattr(self, name), low=int(name != "retries"), high=10**6)
            object.__setattr__(self, name, count)
        prices = self.token_prices
        if not isinstance(prices, Sequence) or isinstance(prices, str) or len(prices) != 2:
            raise InvalidArgumentError(
                "token_prices must be two numbers (cost units per 1,000 tokens read and written), received "
                f"{shown(prices)}."
            )
        read, written = (check_number("each of token_prices", price, high=1e12) for price in prices)
        object.__setattr__(self, "token_prices", (read, written))
        if self.api_key_env is not None and os.environ.get(self.api_key_env, "").strip():
            self.key()  # a malformed key is reported before the first request

    def key(self) -> str | None:
        """The key in the environment, stripped; None without ``api_key_env``.

        Raises:
            SetupError: the variable is not set, or its value is not a valid key.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SetupError(
                f"the key of {self.base_url} must be in the environment variable {self.api_key_env}, which is not set "
                "or empty: set it, or leave out api_key_env if the server needs no key."
            )
        problem = _key_problem(key)
        if problem:
            raise SetupError(
                f"a key must be one word of printable ASCII characters; the environment variable {self.api_key_env} "
                f"has {problem} (the value is not shown): set it to the key alone."
            )
        return key

    @property
    def priced(self) -> bool:
        """Whether a token has a price."""
        return any(self.token_prices)

    def cost_of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost units of these numbers of tokens."""
        return (prompt_tokens * self.token_prices[0] + completion_tokens * self.token_prices[1]) / 1000.0


def check_cache(cache: Any) -> Path | None:
    """The path of the answer cache, or None.

    Raises:
        InvalidArgumentError: not a path.
    """
    if cache is None:
        return None
    if not isinstance(cache, str | os.PathLike) or not str(cache).strip() or "\0" in str(cache):
        rule = "cache must be the path of a file for the answers, or None"
        raise InvalidArgumentError(f"{rule}; received {shown(cache)}.")
    return Path(cache)


def _key_problem(key: str) -> str:
    """The defect of a key in words, without any part of the key; "" if it has none."""
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "quotation marks around it"
    if not key.isascii():
        return "a character that is not ASCII"
    if any(character.isspace() for character in key):
        return "a space or a line break inside it (as in 'Bearer KEY', or in a wrapped text)"
    if not key.isprintable():
        return "a control character"
    return ""


def _check_url(url: Any) -> None:
    rule = "base_url must be the address of an OpenAI-compatible server including /v1 ('http://127.0.0.1:8000/v1')"
    if not isinstance(url, str):
        raise InvalidArgumentError(f"{rule}, received {shown(url)}.")
    if not url.isprintable() or " " in url:
        raise InvalidArgumentError(
            f"{rule} without spaces, line breaks and control characters; received one with such a character: remove it."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # fails for an empty part ("a..b") or one of more than 63 characters
    except ValueError:  # a UnicodeError too
        parts, port = None, None
    known = parts is not None and parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "")
    if parts is None or not known or port == 0:
        received = "a text with an @" if "@" in url else shown(url)
        raise InvalidArgumentError(f"{rule}, beginning with http:// or https://; received {received}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not shown either: these parts often contain keys.
        raise InvalidArgumentError(
            "base_url is written into manifests and stores, so it must not contain a user, password or query: pass a "
            f"key by api_key_env. Received such a part in the address of {parts.hostname!r}."
        )
    for route in ("/chat/completions", "/completions", "/models", "/systemone", "/responses"):
        if parts.path.rstrip("/").endswith(route):
            raise InvalidArgumentError(
                "base_url must end before the route of a request, as in .../v1; received one that ends with "
                f"{route!r}: leave it out."
            )


def _check_model(model: Any) -> None:
    if not isinstance(model, str) or not model or len(model) > 300 or model != model.strip() or not model.isprintable():
        raise InvalidArgumentError(
            "model must be the name of the model at the server, 1 to 300 characters without surrounding spaces and "
            f"line breaks; received {shown(model)}."
        )


def keyword_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's keyword-only arguments."""
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
