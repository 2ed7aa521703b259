"""One exchange: headers, size and time limits, encodings, redirects, failed connections."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.endpoint import transport
from selfreg_gym.endpoint.accounting import Meter
from selfreg_gym.endpoint.answers import read_chat
from selfreg_gym.endpoint.client import Client
from selfreg_gym.endpoint.server import Server
from selfreg_gym.errors import EndpointError, SetupError

GOOD = {"choices": [{"index": 0, "message": {"content": "heads"}, "finish_reason": "stop"}]}
QUICK = {"model": "m", "retries": 0, "timeout": 2.0, "load_timeout": 2.0, "backoff": 0.001}


@pytest.fixture
def raw() -> Iterator[Callable[..., str]]:
    """Start servers that answer every request with ``(status, headers, body)``; returns the base URL."""
    begun: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[str, str], tuple[int, dict[str, str], bytes]], seen: list[Any] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None: ...

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if seen is not None:
                    seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, headers, body = answer(self.command, self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_any

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        begun.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in begun:
        server.shutdown()
        server.server_close()


def ask(url: str, **options: Any) -> Any:
    asked = Client(Server.of(url, **{**QUICK, **options}), Meter())
    try:
        return asked.send("/chat/completions", {"messages": []}, read_chat)
    finally:
        asked.close()


# ---------------------------------------------------------------- content types and encodings


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", "text/html", "image/png", None])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b" \n"])
def test_json_is_read_whatever_its_content_type(raw: Any, kind: str | None, prefix: bytes) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert ask(raw(lambda *_: (200, headers, prefix + json.dumps(GOOD).encode()))).text == "heads"


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_a_web_page_is_named_and_not_retried(raw: Any, kind: str) -> None:
    seen: list[Any] = []
    page = b"<!DOCTYPE html>\n<html><head><title>Sign in \x1b[31m</title></head></html>"
    with pytest.raises(EndpointError, match=r"an HTML page \('Sign in .*check the address and its /v1") as caught:
        ask(raw(lambda *_: (200, {"Content-Type": kind}, page), seen), retries=3)
    assert len(seen) == 1
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"text"', b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000])
def test_invalid_json_is_retried(raw: Any, body: bytes) -> None:
    seen: list[Any] = []
    with pytest.raises(EndpointError, match="the response has no answer") as caught:
        ask(raw(lambda *_: (200, {}, body), seen), retries=1)
    assert caught.value.transient
    assert len(seen) == 2


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", _deflate),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
        ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("identity", bytes),
    ],
)
def test_compressed_answers_are_read(raw: Any, encoding: str, pack: Any) -> None:
    body = pack(json.dumps(GOOD).encode())
    assert ask(raw(lambda *_: (200, {"Content-Encoding": encoding}, body))).text == "heads"


def test_the_size_limit_applies_to_decoded_bytes(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'{"choices": [], "x": "' + b"a" * 20_000_000 + b'"}'
    once = gzip.compress(data, 6)
    assert len(once) < 150_000
    monkeypatch.setattr(transport, "_LARGEST", 2**20)
    pieces: list[int] = []
    inflated = transport._inflated

    def counted(parts: Any, encoding: str) -> Iterator[bytes]:
        for piece in inflated(parts, encoding):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(transport, "_inflated", counted)
    for body, encoding in ((once, "gzip"), (gzip.compress(once), "gzip, gzip")):
        pieces.clear()
        with pytest.raises(EndpointError, match="more than 1048576 bytes"):
            ask(raw(lambda *_, body=body, encoding=encoding: (200, {"Content-Encoding": encoding}, body)))
        assert max(pieces) <= 2**16
        assert sum(pieces) < 3 * 2**20


def test_other_encodings_and_damaged_data_are_errors(raw: Any) -> None:
    with pytest.raises(EndpointError, match="compressed by 'br', which was not requested"):
        ask(raw(lambda *_: (200, {"Content-Encoding": "br"}, b"xx")))
    packed = gzip.compress(json.dumps(GOOD).encode())
    for body in (packed[:-9], b"\x1f\x8bnothing", b"nothing"):
        with pytest.raises(EndpointError, match="compressed data is damaged"):
            ask(raw(lambda *_, body=body: (200, {"Content-Encoding": "gzip"}, body)))
    with pytest.raises(EndpointError, match="HTTP 500"):
        ask(raw(lambda *_: (500, {"Content-Encoding": "gzip"}, b"nothing")))


# ---------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_host_is_followed_if_it_keeps_the_method(raw: Any, status: int) -> None:
    seen: list[Any] = []

    def answer(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/v1"):
            return status, {"Location": path.replace("/v1", "/api/v1")}, b""
        return 200, {}, json.dumps(GOOD).encode()

    assert ask(raw(answer, seen)).text == "heads"
    assert [(method, path) for method, path, _ in seen] == [
        ("POST", "/v1/chat/completions"),
        ("POST", "/api/v1/chat/completions"),
    ]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_turns_post_into_get_is_an_error_with_its_target(raw: Any, status: int) -> None:
    seen: list[Any] = []
    location = {"Location": "/api/v1/chat/completions?token=secret"}
    with pytest.raises(
        EndpointError, match=rf"HTTP {status}: the server redirects to http.*GET.*base_url='http"
    ) as caught:
        ask(raw(lambda *_: (status, location, b""), seen), retries=3)
    assert len(seen) == 1
    assert "/api/v1'" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not caught.value.transient


def test_credentials_are_sent_to_no_other_host(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-verysecret")
    elsewhere: list[Any] = []
    other = raw(lambda *_: (200, {}, json.dumps(GOOD).encode()), elsewhere)
    for status in (301, 307, 308):
        location = {"Location": f"{other}/chat/completions"}
        url = raw(lambda *_, status=status, location=location: (status, location, b""))
        with pytest.raises(
            EndpointError, match=re.escape(f"redirects to {other}/chat/completions, which leads to anoth")
        ):
            ask(url, api_key_env="TEST_KEY")
    assert not elsewhere


@pytest.mark.parametrize("location", [None, "", "http://[::", "mailto:x"])
def test_redirects_without_a_target_and_loops_are_errors(raw: Any, location: str | None) -> None:
    with pytest.raises(EndpointError, match=r"HTTP 307|location|redirect"):
        ask(raw(lambda *_: (307, {} if location is None else {"Location": location}, b"")), retries=1)
    with pytest.raises(EndpointError, match="more than 5 redirects"):
        ask(raw(lambda *_: (307, {"Location": "/v1/chat/completions"}, b"")))


# ---------------------------------------------------------------- failed connections


def test_the_cause_of_a_failed_connection_is_named(raw: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        begun = time.monotonic()
        with pytest.raises(
            EndpointError, match=r"refused, no server listens at 127.0.0.1:.*start the server.*tried 2 times"
        ):
            ask(url, retries=5, backoff=0.5)
        assert time.monotonic() - begun < 30  # one further attempt, not five
    plain = raw(lambda *_: (200, {}, b""))
    with pytest.raises(EndpointError, match=r"TLS with 127.0.0.1.*write http:// in base_url"):
        ask(plain.replace("http:", "https:"), retries=3)


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(EndpointError, match=r"DNS does not know the host nowhere.invalid.*correct base_url") as caught:
        ask("http://nowhere.invalid/v1", retries=3)
    assert "tried" not in str(caught.value)
    assert not caught.value.reached


def test_unreadable_certificate_authorities_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(SetupError, match=r"SSL_CERT_FILE='.*missing.pem'"):
        ask("https://127.0.0.1:9/v1")
    with pytest.raises(EndpointError, match="refused"):
        ask("http://127.0.0.1:9/v1")  # plain HTTP needs no authorities


def test_the_proxy_of_the_environment_is_used_and_an_invalid_one_named(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    proxy = raw(lambda *_: (200, {}, json.dumps(GOOD).encode()), seen)
    monkeypatch.setenv("HTTP_PROXY", proxy.removesuffix("/v1"))
    for name in ("http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ask("http://server.invalid/v1").text == "heads"
    assert seen[0][1] == "http://server.invalid/v1/chat/completions"
    for bad in ("odd://proxy:1", "http://[::"):
        monkeypatch.setenv("HTTP_PROXY", bad)
        with pytest.raises(SetupError, match=r"the proxy for server.invalid in HTTP_PROXY"):
            ask("http://server.invalid/v1")
        with pytest.raises(EndpointError, match="refused"):
            ask("http://127.0.0.1:9/v1")  # a loopback address uses no proxy


# ---------------------------------------------------------------- headers


def _variables() -> set[str]:
    """All environment variables in the source code of the client library and its HTTP client."""
    found = set()
    for package in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in Path(folder).rglob("*.py"):
                found |= set(re.findall(r"(?:environ(?:\.get)?|getenv)[\[(]\s*[\"'](\w+)", file.read_text("utf-8")))
    return found


SENDER = """
    import json, sys
    from selfreg_gym.endpoint.accounting import Meter
    from selfreg_gym.endpoint.answers import read_chat
    from selfreg_gym.endpoint.client import Client
    from selfreg_gym.endpoint.server import Server
    for named in (None, "MY_KEY"):
        client = Client(Server.of(sys.argv[1], model="m", retries=0, api_key_env=named), Meter())
        assert client.send("/chat/completions", {"messages": []}, read_chat).text == "heads"
        assert client.send("/chat/completions", {"messages": []}, read_chat).text == "heads"
"""


def test_no_variable_of_the_client_library_changes_a_request(raw: Any, tmp_path: Path) -> None:
    variables = _variables()
    assert {"OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_BASE_URL", "OPENAI_LOG"} <= variables
    odd = {name: "sk-of-another-service" for name in variables}
    odd |= {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_LOG": "debug", "DEFER_PYDANTIC_BUILD": "true"}
    odd["OPENAI_CUSTOM_HEADERS"] = "Authorization: Bearer sk-of-another-service\nX-Odd: sk-of-another-service"
    odd |= {name: "http://me:sk-of-another-service@127.0.0.1:9" for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY")}
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login me password sk-of-another-service\nmachine 127.0.0.1 login me password sk-of\n")
    netrc.chmod(0o600)
    odd |= {"HOME": str(tmp_path), "NETRC": str(netrc)}
    base = {k: v for k, v in os.environ.items() if not re.search("OPENAI|PROXY|AZURE|AWS", k, re.IGNORECASE)}
    seen: list[Any] = []
    url = raw(lambda *_: (200, {"Set-Cookie": "a=b; Path=/"}, json.dumps(GOOD).encode()), seen)
    environment = {**base, **odd, "MY_KEY": "sk-the-right-one"}
    command = [sys.executable, "-c", textwrap.dedent(SENDER), url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "sk-" not in done.stdout + done.stderr
    assert [headers.pop("authorization", None) for _, _, headers in seen] == [None] * 2 + [
        "Bearer sk-the-right-one"
    ] * 2
    sent = {"accept": "application/json", "accept-encoding": "gzip, deflate", "connection": "keep-alive"}
    sent |= {"user-agent": "selfreg-gym", "content-type": "application/json", "content-length": "16"}
    assert [{k: v for k, v in headers.items() if k != "host"} for _, _, headers in seen] == [sent] * 4
