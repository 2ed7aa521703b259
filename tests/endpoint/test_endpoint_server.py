"""Options of a server, its key, pauses between attempts, costs."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.agents.helpers.endpoint import EndpointHelper
from selfreg_gym.endpoint.accounting import Meter, Tokens
from selfreg_gym.endpoint.client import backoff_seconds, retry_after_seconds
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.prm import EndpointPRM
from selfreg_gym.endpoint.server import Server
from selfreg_gym.errors import InvalidArgumentError, SetupError, UnknownNameError

URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "address of an OpenAI-compatible server"),
        ({"base_url": "localhost:8000/v1"}, "beginning with http:// or https://"),
        *(
            ({"base_url": url}, "without spaces, line breaks and control")
            for url in (f" {URL}", f"{URL}\n", f"{URL}\t")
        ),
        *(
            ({"base_url": url}, "without spaces, line breaks and control")
            for url in ("http://a b/v1", "http://a\u00a0/v1")
        ),
        *(
            ({"base_url": url}, "received")
            for url in (f"'{URL}'", f"\u201c{URL}\u201d", "http://x:99999/v1", "http://")
        ),
        *(
            ({"base_url": url}, "received")
            for url in ("", b"http://x/v1", 7, ["http://x/v1"], "http://[::/v1", "http://x\u201d")
        ),
        ({"base_url": "http://x/v1/chat/completions"}, "must end before the route"),
        *(
            ({"base_url": URL, "model": model}, "model must be the name")
            for model in (" m", "m\n", "a\x1bb", 7, "m" * 301)
        ),
        *(
            ({"base_url": URL, "timeout": value}, "timeout .* must be")
            for value in ("5", None, True, 1e300, [5], 10**400)
        ),
        *(({"base_url": URL, "batch": value}, "batch must be") for value in ("16", 2.0, True, 10**400)),
        ({"base_url": URL, "retries": True}, "retries must be"),
        *(
            ({"base_url": URL, "token_prices": prices}, "token_prices must be")
            for prices in ((float("inf"), 0), 2.0, "12", (1,), (1, -1), (1, "2"), (True, 0))
        ),
        *(
            ({"base_url": URL, "api_key_env": value}, "api_key_env must be the NAME")
            for value in (7, "", "A B", "A\n", "é")
        ),
        ({"base_url": "ftp://x/v1"}, "address of an OpenAI-compatible server"),
        ({"base_url": URL, "timeout": 0}, "timeout \\(seconds\\) must be a finite number above 0"),
        ({"base_url": URL, "retries": 1.5}, "retries must be an integer from 0"),
        ({"base_url": URL, "concurrency": 0}, "concurrency must be an integer from 1"),
        ({"base_url": URL, "backoff": float("nan")}, "backoff .* must be a finite number"),
        ({"base_url": URL, "model": ""}, "model must be the name"),
    ],
)
def test_an_invalid_option_is_an_error_with_the_rule(options: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Server.of(**options)


def test_unknown_names_and_a_missing_address_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'timeout'"):
        Server.of(URL, time_out=3)
    for kind in (EndpointActor, EndpointHelper, EndpointPRM):  # their own arguments are suggested too
        with pytest.raises(UnknownNameError, match=r"received 'cahce'. Did you mean 'cache'\?.*timeout"):
            kind(URL, cahce="a.sqlite")
    with pytest.raises(UnknownNameError, match="Did you mean 'temperature'"):
        EndpointActor(URL, temprature=1)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InvalidArgumentError, match="OPENAI_BASE_URL"):
        Server.of()
    monkeypatch.setenv("OPENAI_BASE_URL", URL)
    assert Server.of().base_url == URL


@pytest.mark.parametrize(
    "options",
    [
        {"api_key_env": "sk-verysecret"},
        {"api_key_env": "sk_verysecret"},
        {"api_key": "verysecret"},
        {"base_url": "https://me:verysecret@example.org/v1"},
        {"base_url": "https://verysecret@:/v1"},
        {"base_url": "https://example.org/v1?key=verysecret"},
    ],
)
def test_a_key_in_the_wrong_place_is_an_error_that_does_not_show_it(options: dict) -> None:
    with pytest.raises((InvalidArgumentError, UnknownNameError)) as caught:
        Server.of(**{"base_url": URL, **options})
    assert "verysecret" not in str(caught.value)


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server.of(URL, api_key_env="OUR_KEY")
    with pytest.raises(InvalidArgumentError, match="OUR_KEY, which is not set"):
        server.key()
    monkeypatch.setenv("OUR_KEY", "verysecret")
    assert server.key() == "verysecret"
    assert "verysecret" not in repr(server)


@pytest.mark.parametrize(
    ("key", "defect"),
    [
        ("\u201cverysecret\u201d", "quotation marks"),
        ("'verysecret'", "quotation marks"),
        ('"verysecret"', "quotation marks"),
        ("very secret", "a space or a line break"),
        ("very\nsecret", "a space or a line break"),
        ("Bearer verysecret", "a space or a line break"),
        ("verysecret\u00e9", "a character that is not ASCII"),
        ("very\x1bsecret", "a control character"),
    ],
)
def test_an_invalid_key_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch, key: str, defect: str) -> None:
    monkeypatch.setenv("OUR_KEY", key)
    with pytest.raises(SetupError, match=f"OUR_KEY has {defect}") as caught:
        Server.of(URL, api_key_env="OUR_KEY")
    assert "very" not in str(caught.value)
    monkeypatch.setenv("OUR_KEY", " verysecret\n")  # as read from a file
    server = Server.of(URL, api_key_env="OUR_KEY")
    assert server.key() == "verysecret"
    monkeypatch.setenv("OUR_KEY", key)
    with pytest.raises(SetupError, match="OUR_KEY has"):
        server.key()


def test_the_address_in_the_environment_is_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert Server.of(URL).base_url == URL
    with pytest.raises(InvalidArgumentError):
        Server.of("")


@pytest.mark.parametrize("cache", ["", " ", "a\0b", 7, b"x", ["x"]])
def test_the_cache_must_be_a_path(cache: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="cache must be the path of a file"):
        Connection(Server.of(URL), cache=cache)


def test_numpy_numbers_are_converted() -> None:
    server = Server.of(URL, batch=np.int64(3), timeout=np.float32(2.0), retries=np.int8(1))
    assert (type(server.batch), type(server.timeout), server.retries) == (int, float, 1)


def test_full_jitter_is_uniform_in_its_interval() -> None:
    generator = random.Random(0)
    for attempt, top in ((0, 0.5), (3, 4.0), (10, 20.0), (5000, 20.0)):
        pauses = [backoff_seconds(attempt, base=0.5, longest=20.0, generator=generator) for _ in range(400)]
        assert 0 <= min(pauses) < 0.05 * top
        assert 0.95 * top < max(pauses) <= top


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sunday, 22-Nov-26 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun Nov 22 12:00:30 2026"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_its_forms(headers: dict, seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=datetime(2026, 11, 22, 12, tzinfo=UTC)) == seconds


def test_the_meter_counts_and_computes_costs() -> None:
    server = Server.of(URL, token_prices=(2.0, 10.0))
    meter = Meter()
    meter.count(requests=3, retried=1, tokens=Tokens(1000, 100))
    meter.count(failed=1, cached=2, tokens=Tokens(500, 0))
    assert meter.totals(server) == {
        "requests": 3, "retried": 1, "failed": 1, "cached": 2, "truncated": 0,
        "prompt_tokens": 1500, "completion_tokens": 100, "cost": 4.0,
    }  # fmt: skip
    with pytest.warns(DeprecationWarning, match="token_prices"):
        assert Server.of(URL, prompt_price=2, completion_price=10) == server
    assert server.priced
    assert not Server.of(URL).priced
