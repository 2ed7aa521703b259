"""Where a server is, how long to wait, and that a key is only ever named."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from selfreg_gym.endpoint.accounting import Meter, Tokens
from selfreg_gym.endpoint.server import Server
from selfreg_gym.endpoint.waiting import backoff_seconds, retry_after_seconds
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError

URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "address of an OpenAI-compatible server"),
        ({"base_url": "ftp://x/v1"}, "address of an OpenAI-compatible server"),
        ({"base_url": URL, "timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"base_url": URL, "retries": 1.5}, "retries must be a whole number"),
        ({"base_url": URL, "concurrency": 0}, "concurrency must be a whole number of at least 1"),
        ({"base_url": URL, "backoff": float("nan")}, "backoff must be a number"),
        ({"base_url": URL, "model": ""}, "model is the name"),
    ],
)
def test_a_bad_option_says_the_rule(options: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Server.of(**options)


def test_names_are_checked_and_an_address_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'timeout'"):
        Server.of(URL, time_out=3)
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
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(options: dict) -> None:
    with pytest.raises((InvalidArgumentError, UnknownNameError)) as caught:
        Server.of(**{"base_url": URL, **options})
    assert "verysecret" not in str(caught.value)


def test_a_key_is_read_from_the_environment_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server.of(URL, api_key_env="OUR_KEY")
    with pytest.raises(InvalidArgumentError, match="OUR_KEY, which is not set"):
        server.key()
    monkeypatch.setenv("OUR_KEY", "verysecret")
    assert server.key() == "verysecret"
    assert "verysecret" not in repr(server)


def test_full_jitter_fills_the_interval_and_stays_in_it() -> None:
    generator = random.Random(0)
    for attempt, top in ((0, 0.5), (3, 4.0), (10, 20.0), (5000, 20.0)):
        waits = [backoff_seconds(attempt, base=0.5, longest=20.0, generator=generator) for _ in range(400)]
        assert 0 <= min(waits) < 0.05 * top
        assert 0.95 * top < max(waits) <= top


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


def test_the_meter_adds_up_and_prices() -> None:
    server = Server.of(URL, prompt_price=2.0, completion_price=10.0)
    meter = Meter()
    meter.count(requests=3, repeated=1, tokens=Tokens(1000, 100))
    meter.count(failed=1, remembered=2, tokens=Tokens(500, 0))
    assert meter.totals(server) == {
        "requests": 3, "repeated": 1, "failed": 1, "remembered": 2, "cut": 0,
        "prompt_tokens": 1500, "completion_tokens": 100, "price": 4.0,
    }  # fmt: skip
    assert server.priced
    assert not Server.of(URL).priced
