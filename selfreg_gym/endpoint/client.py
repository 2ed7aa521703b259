"""``Client``: one request, sent until it is answered or given up.

The ``openai`` package knows addresses, headers and errors; waiting and judging are ours. Its own retries are off: they
do not repeat an answer that is none (half a JSON, no choices), and they cannot be interrupted.
"""

from __future__ import annotations

import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from selfreg_gym.endpoint.accounting import Meter
from selfreg_gym.endpoint.answers import no_answer, readable
from selfreg_gym.endpoint.server import NO_KEY, Server
from selfreg_gym.endpoint.waiting import backoff_seconds, retry_after_seconds
from selfreg_gym.errors import EndpointError, MissingPackageError

__all__ = ["Client"]

A = TypeVar("A")

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_LARGEST = 64 * 2**20  # bytes of one answer; a megabyte is odd, this is no answer
_SECRET = 8  # characters of the shortest key that is kept out of texts
_TOLD = 300  # characters of a server's own message


class Client:
    """Sends requests to one server. Safe to use from several threads.

    Args:
        server: where, and how patiently.
        meter: counts what is sent.

    Raises:
        MissingPackageError: the package ``openai`` is not installed.
        SetupError: the variable that is to hold the key is not set.
    """

    def __init__(self, server: Server, meter: Meter) -> None:
        try:
            import openai
        except ImportError:
            raise MissingPackageError(
                "an endpoint is asked through the package openai, which is not installed: "
                "pip install 'selfreg-gym[server]'."
            ) from None
        self.server, self.meter = server, meter
        self._key = server.key()
        self._library = openai
        self._jitter = random.Random()  # moves waits alone, never an answer
        self._stopped = threading.Event()
        self._answered = False
        self._openai = openai.OpenAI(
            base_url=server.base_url,
            api_key=self._key,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(event_hooks={"response": [_bound]}),
        )

    def get(self, path: str, read: Callable[[dict[str, Any]], A]) -> A:
        """GET ``path`` and return ``read(JSON)``; see :meth:`post`."""
        return self._ask(path, None, read)

    def post(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], A]) -> A:
        """POST ``body`` to ``path`` and return ``read(JSON)``.

        Args:
            path: below the base URL, ``"/completions"``.
            body: plain JSON values.
            read: takes the parsed answer, and raises a transient EndpointError for one that is none.

        Raises:
            EndpointError: refused, or given up after ``server.retries`` further attempts.
        """
        return self._ask(path, body, read)

    def close(self) -> None:
        """Give up what is waiting, and close the connections."""
        self._stopped.set()
        self._openai.close()

    def clean(self, text: str) -> str:
        """``text`` without the key: some servers repeat it in their messages.

        A key of a few characters is no secret, only what a server of one's own wants to see, and part of many words.
        """
        return text if self._key == NO_KEY or len(self._key) < _SECRET else text.replace(self._key, "[key]")

    def told(self, text: str) -> str:
        """``text`` on one line of bounded length without the key, fit for an error or a report."""
        return " ".join(self.clean(readable(text)).split())[:_TOLD]

    def _ask(self, path: str, body: dict[str, Any] | None, read: Callable[[dict[str, Any]], A]) -> A:
        for attempt in range(self.server.retries + 1):
            self.meter.count(requests=1, repeated=int(attempt > 0))
            try:
                answer = read(self._once(path, body))
            except EndpointError as error:
                last = not error.transient or attempt == self.server.retries
                if last or self._stopped.wait(self._pause(attempt, error.retry_after)):
                    self.meter.count(failed=1)
                    tried = f" (tried {attempt + 1} times)" if attempt else ""
                    raise EndpointError(
                        f"{self.server.base_url}{path}: {self.told(str(error))}{tried}",
                        status=error.status,
                        transient=error.transient,
                        reached=error.reached,
                    ) from None
            else:
                self._answered = True
                return answer
        raise AssertionError("unreachable")

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next attempt: our own back-off, or what the server asked for if that is longer."""
        server = self.server
        own = backoff_seconds(attempt, base=server.backoff, longest=server.max_backoff, generator=self._jitter)
        return max(own, min(asked or 0.0, server.max_wait))

    def _once(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One attempt. What goes wrong comes out as an EndpointError whose text holds no key."""
        openai = self._library
        seconds = self.server.timeout if self._answered else self.server.load_timeout
        options: Any = {"timeout": seconds, "max_retries": 0}
        try:
            if body is None:
                data = self._openai.get(path, cast_to=object, options=options)
            else:
                data = self._openai.post(path, cast_to=object, body=body, options=options)
        except openai.APITimeoutError:
            raise EndpointError(f"no answer within {seconds:g} s", transient=True) from None
        except openai.APIStatusError as error:
            status = error.status_code
            told = self.told(_message(error))
            raise EndpointError(
                f"HTTP {status}: {told}",
                status=status,
                transient=status in _TRANSIENT,
                reached=True,
                retry_after=retry_after_seconds(error.response.headers),
            ) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            why = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
            raise EndpointError(f"the connection failed ({self.told(why)})", transient=True) from None
        except (ValueError, RecursionError, openai.OpenAIError) as error:
            raise no_answer(f"no JSON ({type(error).__name__})") from None
        except RuntimeError:
            if not self._stopped.is_set():
                raise
            raise EndpointError("the connection was closed", transient=True) from None
        if not isinstance(data, dict):
            raise no_answer(f"no JSON object but {type(data).__name__}")
        return data


def _message(error: Any) -> str:
    """What the server said: OpenAI's ``error.message``, FastAPI's ``detail``, or the whole body."""
    body = error.body
    if isinstance(body, dict):
        for name in ("message", "detail", "error"):
            if body.get(name):
                return str(body[name])
    text = body if isinstance(body, str) else getattr(error.response, "text", "") or str(error)
    return re.sub(r"<[^>]*>", " ", text)  # a proxy's error page


def _bound(response: Any) -> None:
    """Make an answer end in time, however slowly it drips, and below a size: httpx bounds each read alone."""
    httpx = sys.modules[type(response).__module__.partition(".")[0]]
    seconds = response.request.extensions.get("timeout", {}).get("read")
    begun = time.monotonic()

    class Bounded(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for part in self.stream:
                size += len(part)
                if seconds is not None and time.monotonic() - begun > seconds:
                    raise httpx.ReadTimeout("the answer was not complete in time", request=response.request)
                if size > _LARGEST:
                    raise httpx.ReadError(f"an answer of more than {_LARGEST} bytes", request=response.request)
                yield part

        def close(self) -> None:
            self.stream.close()

    response.stream = Bounded(response.stream)
