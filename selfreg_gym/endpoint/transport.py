"""``Transport``: one HTTP exchange, limited in time and size, whose headers come from the arguments only.

The HTTP client is that of the ``openai`` package (httpx, or its successor). The API class of the package is not used,
because it adds headers, keys and addresses from a dozen environment variables. The HTTP client reads the environment
variables of the network (``HTTP_PROXY``, ``SSL_CERT_FILE`` and so on; a loopback address never uses a proxy), but
neither credentials (``.netrc``) nor cookies.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

from selfreg_gym.endpoint.answers import no_answer
from selfreg_gym.errors import EndpointError, SetupError
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["NotReached", "Reply", "Transport"]

_LARGEST = 32 * 2**20  # bytes of a decoded answer; log-probabilities of long prompts take some megabytes
_LARGEST_ERROR = 2**16  # bytes read from the body of an HTTP error
_CHUNK = 2**16
_REDIRECTS = 5
_LOOPBACK = ("localhost", "::1")


class NotReached(EndpointError):
    """No connection to the address: refused, an unknown host, no TLS. A retry rarely succeeds."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (names in lower case) and decoded body of an HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Sends single requests; thread-safe. Redirects to the same host are followed if they keep the method.

    Args:
        base_url: prefix of the paths.
        key: the bearer token, or None.

    Raises:
        MissingPackageError: the package ``openai`` is not installed.
        SetupError: the proxy or the certificate authorities in the environment cannot be used.
    """

    def __init__(self, base_url: str, key: str | None) -> None:
        openai = optional_package("openai", user="an endpoint", requirement="selfreg-gym[server]")
        self.base_url = base_url.rstrip("/")
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "selfreg-gym",
            **({} if key is None else {"Authorization": f"Bearer {key}"}),
        }
        client = openai.DefaultHttpxClient
        module = next(base.__module__ for base in client.__mro__ if base.__name__ == "Client")
        self._httpx = sys.modules[module.partition(".")[0]]  # httpx; httpx2 from openai 3 on
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        trusted = _trusted(self._httpx, parts.scheme, *map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))
        try:
            self._http = client(
                verify=trusted,
                trust_env=not (host in _LOOPBACK or host.startswith("127.")),  # proxies
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        except (ImportError, ValueError, self._httpx.InvalidURL) as error:
            # The text of other errors may contain the proxy's password.
            why = str(error) if isinstance(error, ImportError) else "invalid address of a proxy"
            raise SetupError(
                f"the proxy for {host} in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used ({why}): correct these "
                "environment variables, or add the host to NO_PROXY."
            ) from None
        _apply_deadlines(self._http)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, path: str, body: dict[str, Any] | None, seconds: float) -> Reply:
        """POST ``body`` as JSON to ``path``, or GET it if ``body`` is None.

        Args:
            path: below the base URL.
            body: JSON values, or None.
            seconds: time limit of the whole exchange, until the last byte of the answer.

        Raises:
            EndpointError: no complete answer; the message may contain any text of the server.
        """
        url = self.base_url + path
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        deadline = time.monotonic() + seconds
        for _ in range(_REDIRECTS):
            reply = self._exchange(url, content, deadline, seconds)
            if not 300 <= reply.status < 400:
                return reply
            url = _redirected(url, reply, content is not None, path)
        raise EndpointError(f"more than {_REDIRECTS} redirects, the last one to {url}", reached=True)

    def _exchange(self, url: str, content: bytes | None, deadline: float, seconds: float) -> Reply:
        httpx = self._httpx
        left = max(0.001, deadline - time.monotonic())
        headers = self._headers if content is None else {**self._headers, "Content-Type": "application/json"}
        request = self._http.build_request(
            "GET" if content is None else "POST", url, content=content, headers=headers, timeout=left
        )
        _now.deadline = deadline
        try:
            # An auth function excludes credentials from .netrc.
            response = self._http.send(request, auth=lambda request: request, stream=True)
            try:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, headers, _body(response, deadline))
            finally:
                response.close()
        except (httpx.ConnectTimeout, httpx.PoolTimeout):
            raise EndpointError(
                f"no connection to {urlsplit(url).netloc} within {seconds:g} s: check base_url, network and server",
                transient=True,
            ) from None
        except (httpx.TimeoutException, TimeoutError):
            raise EndpointError(f"no answer within {seconds:g} s", transient=True) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _unreached(error, url) from None
        finally:
            _now.deadline = None


@lru_cache(maxsize=8)
def _trusted(httpx: Any, scheme: str, file: str | None, folder: str | None) -> ssl.SSLContext:
    """The client's TLS context for these environment variables; reading the certificates takes a third of a second."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        if scheme == "https":
            raise SetupError(
                f"the certificate authorities of SSL_CERT_FILE={file!r} and SSL_CERT_DIR={folder!r} cannot be read "
                f"({error}): correct or remove these environment variables."
            ) from error
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no certificate; HTTP needs none


def _body(response: Any, deadline: float) -> bytes:
    """The decoded body, or its beginning for an HTTP error. Decoded bytes are limited (decompression bombs)."""
    failed = response.status_code >= 300
    parts: Iterable[bytes] = response.iter_raw()
    encodings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    encodings = [name for name in encodings if name not in ("", "identity")]
    if len(encodings) > 2 or not {"gzip", "x-gzip", "deflate"}.issuperset(encodings):
        if failed:
            return b""
        shown = ", ".join(encodings)
        raise no_answer(f"it is compressed by {shown[:60]!r}, which was not requested", transient=False)
    for name in reversed(encodings):
        parts = _inflated(parts, name)
    limit = _LARGEST_ERROR if failed else _LARGEST
    body = bytearray()
    try:
        for part in parts:
            body += part
            if len(body) > limit:
                if failed:
                    break
                raise no_answer(f"it has more than {limit} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError
    except (zlib.error, EOFError):
        if not failed:
            raise no_answer("its compressed data is damaged") from None
    return bytes(body)


def _inflated(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decompress at most ``_CHUNK`` bytes at a time; zlib.error for damaged data, EOFError for incomplete data."""
    decoder = None
    for part in parts:
        data = part
        while data:
            if decoder is None:
                zlib_header = data[0] & 15 == 8 and encoding == "deflate"  # some servers omit it
                decoder = zlib.decompressobj(31 if "gzip" in encoding else 15 if zlib_header else -15)
            elif decoder.eof:  # gzip may have several members
                if "gzip" not in encoding or not data.startswith(b"\x1f\x8b"):
                    return
                decoder = zlib.decompressobj(31)
            piece = decoder.decompress(data, _CHUNK)
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if piece:
                yield piece
    if decoder is not None:
        if rest := decoder.flush():
            yield rest
        if not decoder.eof:
            raise EOFError


def _redirected(url: str, reply: Reply, posted: bool, path: str) -> str:
    """The target of a redirect; raise if it is missing or on another host, or if POST would become GET."""
    try:
        target = urljoin(url, reply.headers.get("location", "").strip())
        here, there = (
            (parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme))
            for parts in (urlsplit(url), urlsplit(target))
        )
    except ValueError:
        target, here, there = "", ("", None, None), ("", None, None)
    if not reply.headers.get("location") or not there[1]:
        raise EndpointError(f"HTTP {reply.status}: a redirect without a target", status=reply.status, reached=True)
    upgraded = here[0] == "http" and there == ("https", here[1], 443)
    if (here == there or upgraded) and (not posted or reply.status in (307, 308)):
        return target
    shown = urlsplit(target)
    port = f":{shown.port}" if shown.port else ""
    address = f"{shown.scheme}://{there[1]}{port}{shown.path}"  # without query and password
    base = address.removesuffix(path)
    why = "would turn the request into a GET" if here == there or upgraded else "leads to another host"
    remedy = f"if that is the server, use base_url={base!r}" if base != address else "correct base_url"
    raise EndpointError(
        f"HTTP {reply.status}: the server redirects to {address}, which {why} and is not followed: {remedy}",
        status=reply.status,
        reached=True,
    )


def _unreached(error: BaseException, url: str) -> EndpointError:
    """The error of a failed connection, with cause and remedy."""
    host = urlsplit(url).netloc
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    text = str(error) or type(error).__name__

    def first(*kinds: type[BaseException]) -> Any:
        return next((link for link in chain if isinstance(link, kinds)), None)

    if unknown := first(socket.gaierror):
        again = unknown.errno == socket.EAI_AGAIN
        return NotReached(
            f"the connection failed: DNS does not know the host {host} ({unknown.strerror}): correct base_url, or "
            "check the network",
            transient=again,
        )
    if first(ConnectionRefusedError):
        return NotReached(
            f"the connection failed: refused, no server listens at {host}: start the server, or correct host and port "
            "in base_url",
            transient=True,
        )
    if refused := first(ssl.SSLCertVerificationError):
        return NotReached(
            f"the connection failed: TLS, the certificate of {host} is not trusted ({refused.verify_message}): set the "
            "environment variable SSL_CERT_FILE to the file of its authority"
        )
    if broken := first(ssl.SSLError):
        http = broken.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
        remedy = "write http:// in base_url if the server has no TLS" if http else "check the server's TLS"
        return NotReached(
            f"the connection failed: TLS with {host} ({broken.reason or text}): {remedy}", transient=not http
        )
    kind = type(error).__name__
    if kind == "ProxyError":
        return NotReached(
            f"the connection failed at the proxy ({text}): check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or add the "
            "host to NO_PROXY",
            transient=True,
        )
    if kind in ("InvalidURL", "UnsupportedProtocol", "LocalProtocolError"):
        return EndpointError(f"the request to {host}, or a redirect from there, is invalid ({text}): check base_url")
    return EndpointError(f"the connection failed: {kind}, {text}", transient=True)


_now = threading.local()
"""``deadline`` (of ``time.monotonic``) of the thread's current exchange, or None."""


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    """``timeout``, shortened to the deadline of the thread's exchange; raises ``late`` after the deadline."""
    deadline = getattr(_now, "deadline", None)
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the exchange exceeded its time limit")
    return left if timeout is None else min(timeout, left)


class _Stream:
    """A network stream whose reads and writes end at the deadline; httpx limits only each of them separately."""

    def __init__(self, stream: Any, late: tuple[type[Exception], type[Exception]]) -> None:
        self._stream, self._late = stream, late

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, self._late[0]))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, self._late[1]))

    def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: float | None = None) -> _Stream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._late)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Backend:
    """A network backend that opens streams with a deadline."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        core = sys.modules[type(backend).__module__.partition(".")[0]]
        self._late = core.ReadTimeout, core.WriteTimeout

    def connect_tcp(self, *arguments: Any, **options: Any) -> _Stream:
        return _Stream(self._backend.connect_tcp(*arguments, **options), self._late)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def _apply_deadlines(http: Any) -> None:
    """End each exchange of a client at the deadline of its thread, also if headers arrive byte by byte.

    The client's transports have no public argument for a network backend. If their attributes have other names, the
    deadline is checked between the chunks of a body only.
    """
    for transport in (getattr(http, "_transport", None), *getattr(http, "_mounts", {}).values()):
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is not None and hasattr(backend, "connect_tcp"):
            pool._network_backend = _Backend(backend)
