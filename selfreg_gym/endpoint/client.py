"""``Client``: one request, retried until it has an answer or the retries are used up."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selfreg_gym.endpoint.accounting import Meter
from selfreg_gym.endpoint.answers import check_errors, no_answer
from selfreg_gym.endpoint.redaction import Redaction
from selfreg_gym.endpoint.server import Server
from selfreg_gym.endpoint.transport import NotReached, Reply, Transport
from selfreg_gym.errors import EndpointError

__all__ = ["Client", "backoff_seconds", "retry_after_seconds"]

A = TypeVar("A")

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_HTML = re.compile(rb"\s*<[!?/a-z]", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


class Client:
    """Sends requests to one server, with retries; thread-safe.

    Args:
        server: address, time limits and retries.
        meter: counts requests.

    Raises:
        MissingPackageError: the package ``openai`` is not installed.
        SetupError: the environment variable of the key is not set, or has an invalid value.
    """

    def __init__(self, server: Server, meter: Meter) -> None:
        self.server, self.meter = server, meter
        key = server.key()
        self.redaction = Redaction(key)
        self._transport = Transport(server.base_url, key)
        self._jitter = random.Random()  # of the pauses only, never of an answer
        self._stopped = threading.Event()
        self._answered = False

    def send(self, path: str, body: dict[str, Any] | None, read: Callable[[dict[str, Any]], A]) -> A:
        """POST ``body`` to ``path``, or GET ``path`` if it is None, and return ``read(JSON)``.

        Args:
            path: below the base URL, ``"/completions"``.
            body: JSON values, or None.
            read: parses the JSON; raises an EndpointError if it has no answer.

        Raises:
            EndpointError: the request was refused, or failed after ``server.retries`` retries.
        """
        for attempt in range(self.server.retries + 1):
            self.meter.count(requests=1, retried=int(attempt > 0))
            try:
                answer = read(self._once(path, body))
            except EndpointError as error:
                unreached = isinstance(error, NotReached) and not self._answered  # a retry rarely succeeds
                last = not error.transient or attempt >= self.server.retries or (unreached and attempt >= 1)
                if last or self._stopped.wait(self._pause(attempt, error.retry_after)):
                    self.meter.count(failed=1)
                    tried = f" (tried {attempt + 1} times)" if attempt else ""
                    raise EndpointError(
                        f"{self.server.base_url}{path}: {self.redaction.message(str(error))}{tried}",
                        status=error.status,
                        transient=error.transient,
                        reached=error.reached,
                    ) from None
            else:
                self._answered = True
                return answer
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the pauses of waiting requests, and close the connections."""
        self._stopped.set()
        self._transport.close()

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next attempt: the back-off, or ``Retry-After`` if that is longer."""
        server = self.server
        own = backoff_seconds(attempt, base=server.backoff, longest=server.max_backoff, generator=self._jitter)
        return max(own, min(asked or 0.0, server.max_wait))

    def _once(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One attempt. A failure is an EndpointError; the message may contain any text of the server."""
        seconds = self.server.timeout if self._answered else self.server.load_timeout
        try:
            reply = self._transport.send(path, body, seconds)
        except (OSError, RuntimeError):
            if not self._stopped.is_set():
                raise
            raise EndpointError("the connection was closed", transient=True) from None
        if not 200 <= reply.status < 300:
            no_route = reply.status == 404 and "/v1" not in urlsplit(self.server.base_url).path
            hint = " (base_url has no /v1, with which the routes of most servers begin)" if no_route else ""
            raise EndpointError(
                f"HTTP {reply.status}: {self.redaction.message(_message(reply.body))[:200]}{hint}",
                status=reply.status,
                transient=reply.status in _TRANSIENT,
                reached=True,
                retry_after=retry_after_seconds(reply.headers),
            )
        data = _parse(reply)
        check_errors(data)
        return data


def _parse(reply: Reply) -> dict[str, Any]:
    """The JSON object in a reply of any Content-Type; other bodies are transient errors, unless web pages."""
    try:
        data = _load(reply.body)
    except (ValueError, RecursionError):
        if _HTML.match(reply.body.removeprefix(b"\xef\xbb\xbf")):
            title = _title(reply.body.decode("utf-8", "replace"))
            raise no_answer(
                f"an HTML page{f' ({title!r})' if title else ''} and no JSON: base_url is the address of a web page, a "
                "login or a proxy; check the address and its /v1",
                transient=False,
            ) from None
        kind = "an event stream, which was not requested" if reply.body.lstrip().startswith(b"data:") else "no JSON"
        raise no_answer(kind if reply.body.strip() else "it is empty") from None
    if not isinstance(data, dict):
        raise no_answer(f"a {type(data).__name__} instead of a JSON object")
    return data


def _load(body: bytes) -> Any:
    """The JSON in ``body``. Invalid UTF-8 (half a character at the token limit) becomes U+FFFD."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return json.loads(body, parse_constant=lambda _: None)
    except UnicodeDecodeError:
        return json.loads(body.decode("utf-8", "replace"), parse_constant=lambda _: None)


def _title(page: str) -> str:
    found = _TITLE.search(page)
    return " ".join(found.group(1).split())[:80] if found else ""


def _message(body: bytes) -> str:
    """The message in an error: OpenAI's ``error.message``, FastAPI's ``detail``, a page's title, or the body."""
    try:
        data = _load(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
        if _HTML.match(body):
            return f"an HTML page: {_title(text) or re.sub(r'<[^>]*>', ' ', text)}"
        return text or "an empty body"
    for _ in range(3):  # {"error": {"message": ...}}, {"detail": [{"msg": ...}]}
        if isinstance(data, list) and data:
            data = data[0]
        if not isinstance(data, dict):
            break
        data = next((data[name] for name in ("message", "msg", "detail", "error") if data.get(name)), json.dumps(data))
    return data if isinstance(data, str) else json.dumps(data)


def backoff_seconds(attempt: int, *, base: float, longest: float, generator: random.Random) -> float:
    """Pause before the next attempt: uniform in ``[0, min(longest, base * 2**attempt)]``.

    "Full jitter" (Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015): clients that failed at the
    same time return at different times.
    """
    return generator.uniform(0.0, min(longest, base * 2.0 ** min(attempt, 60)))


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """The pause that a response requests, in seconds, or None if it is missing or malformed.

    Reads ``retry-after-ms``, and both forms of ``Retry-After`` (RFC 9110, section 10.2.3): seconds, or a date. A past
    date gives 0.
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
    if when.tzinfo is None:  # "-0000": UTC, unknown time zone
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    """A finite number of at least 0; None for other texts."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
