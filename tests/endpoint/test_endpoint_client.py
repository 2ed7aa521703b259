"""One request: retries, time limits, errors, and the key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from loopback import FAULTS, Loopback

from selfreg_gym.endpoint.accounting import Meter
from selfreg_gym.endpoint.answers import Answer, read_chat, read_completions, require_text
from selfreg_gym.endpoint.client import Client
from selfreg_gym.endpoint.connection import COMPLETIONS, Connection, Request
from selfreg_gym.endpoint.server import Server
from selfreg_gym.errors import EndpointError

BODY = {"model": "rule", "prompt": "heads or tails?", "max_tokens": 4}


def answers_with_text(data: dict[str, Any], count: int = 1) -> list[Answer]:
    """As the actor reads: an answer needs a text."""
    answers = read_completions(data, count)
    for answer in answers:
        require_text(answer)
    return answers


def client(server: Loopback, **options: Any) -> Client:
    quick = {"model": "rule", "backoff": 0.001, "max_backoff": 0.01, "timeout": 0.25, "load_timeout": 0.25}
    return Client(Server.of(server.url, **{**quick, **options}), Meter())


def first(*faults: str) -> Callable[[int, str], str | None]:
    return lambda count, path: faults[count - 1] if count <= len(faults) else None


@pytest.mark.parametrize("fault", FAULTS)
def test_transient_faults_are_retried(serve: Any, fault: str) -> None:
    server = serve(fault=first(fault, fault), hang=0.6)
    asked = client(server)
    [answer] = asked.send("/completions", BODY, answers_with_text)
    [undisturbed] = client(serve()).send("/completions", BODY, read_completions)
    assert answer == undisturbed
    assert server.faults[fault] == 2
    assert (asked.meter.requests, asked.meter.retried, asked.meter.failed) == (3, 2, 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_number_of_attempts_is_bounded(serve: Any, fault: str) -> None:
    server = serve(fault=lambda count, path: fault, hang=0.6)
    begun = time.monotonic()
    with pytest.raises(EndpointError, match=r"/v1/completions: .* \(tried 3 times\)") as caught:
        client(server, retries=2).send("/completions", BODY, answers_with_text)
    assert caught.value.transient
    assert len(server.requests) == 3
    assert caught.value.reached == (fault not in ("reset", "hang", "truncated", "drip", "slow headers"))
    assert time.monotonic() - begun < 3  # three hangs of 0.6 s are cut at 0.25 s each


@pytest.mark.parametrize("fault", ["drip", "slow headers"])
def test_the_time_limit_holds_for_answers_that_arrive_byte_by_byte(serve: Any, fault: str) -> None:
    server = serve(fault=lambda count, path: fault, hang=2.0)
    begun = time.monotonic()
    with pytest.raises(EndpointError, match="no answer within"):
        client(server, retries=0).send("/completions", BODY, read_completions)
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("filter", "finish_reason 'content_filter'"),
        ("filter results", "a content filter removed it"),
        ("refusal", "finish_reason 'refusal'"),
        ("cut", "the token limit was reached before any text"),
        ("html", r"an HTML page \('Sign in'\)"),
        ("redirect", "HTTP 301: the server redirects to http://127"),
    ],
)
def test_lasting_faults_are_named_and_not_retried(serve: Any, fault: str, message: str) -> None:
    server = serve(fault=lambda count, path: fault)
    with pytest.raises(EndpointError, match=message) as caught:
        client(server).send("/completions", BODY, answers_with_text)
    assert caught.value.reached
    assert not caught.value.transient
    assert len(server.requests) == 1


def test_a_refused_request_is_not_retried(serve: Any) -> None:
    server = serve(can=("chat",))
    with pytest.raises(EndpointError, match=r"HTTP 404: Not Found") as caught:
        client(server).send("/completions", BODY, read_completions)
    assert (caught.value.status, caught.value.transient) == (404, False)
    assert len(server.requests) == 1


def test_a_missing_server_is_an_error(serve: Any) -> None:
    server = serve()
    server.close()
    with pytest.raises(EndpointError, match="the connection failed") as caught:
        client(server, retries=1).send("/completions", BODY, read_completions)
    assert not caught.value.reached


@pytest.mark.parametrize(("seconds", "at_least", "at_most"), [("0.3", 0.3, 1.0), ("3600", 0.2, 1.0)])
def test_retry_after_is_obeyed_and_bounded(serve: Any, seconds: str, at_least: float, at_most: float) -> None:
    server = serve(fault=first("429"), retry_after=seconds)
    begun = time.monotonic()
    client(server, max_wait=0.3 if seconds == "0.3" else 0.2).send("/completions", BODY, read_completions)
    assert at_least <= time.monotonic() - begun < at_most


def test_load_timeout_holds_until_the_first_answer(serve: Any) -> None:
    asked = client(serve(fault=first("hang"), hang=0.5), timeout=0.1, load_timeout=5.0, retries=1)
    begun = time.monotonic()
    asked.send("/completions", BODY, read_completions)  # no answer, retried
    assert 0.5 <= time.monotonic() - begun < 3
    assert asked.meter.requests == 2
    slow = client(serve(fault=lambda count, path: "hang" if count > 1 else None, hang=2.0), timeout=0.1, retries=0)
    slow.send("/completions", BODY, read_completions)
    begun = time.monotonic()
    with pytest.raises(EndpointError, match=r"no answer within 0\.1 s"):
        slow.send("/completions", BODY, read_completions)
    assert time.monotonic() - begun < 1


def test_closing_ends_the_pause(serve: Any) -> None:
    asked = client(serve(fault=lambda count, path: "500"), backoff=30.0, max_backoff=30.0, retries=3)
    timer = threading.Timer(0.2, asked.close)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(EndpointError):
        asked.send("/completions", BODY, read_completions)
    assert time.monotonic() - begun < 5
    timer.join()


def test_the_key_is_sent_and_never_shown(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "verysecret")
    server = serve(key="verysecret")
    [answer] = client(server, api_key_env="TEST_KEY").send("/completions", BODY, read_completions)
    assert answer.text
    monkeypatch.setenv("TEST_KEY", "verysecret-but-wrong")
    with pytest.raises(EndpointError, match=r"HTTP 401: Incorrect API key provided: Bearer \[key\]") as caught:
        client(server, api_key_env="TEST_KEY").send("/completions", BODY, read_completions)
    assert "verysecret" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(EndpointError, match="HTTP 401"):  # without api_key_env no key is sent
        client(server).send("/completions", BODY, read_completions)


@pytest.mark.parametrize(("key", "text"), [("x", "x marks-the axis"), ("marks-the", "x [key] axis")])
def test_a_short_key_changes_no_answer(serve: Any, monkeypatch: pytest.MonkeyPatch, key: str, text: str) -> None:
    monkeypatch.setenv("TEST_KEY", key)
    server = serve(key=key)
    server.brain.write = lambda prompt, **_: "x marks-the axis"
    connection = Connection(Server.of(server.url, model="rule", api_key_env="TEST_KEY"))
    assert connection.ask([Request(COMPLETIONS, {"prompt": "?"})])[0].text == text


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": ["heads"]},
        {"choices": [{"text": None}]},
        {"choices": [{"text": "a", "index": 1}]},
        {"choices": [{"text": "a"}, {"text": "b"}]},
    ],
)
def test_malformed_completions_are_transient_errors(data: dict) -> None:
    with pytest.raises(EndpointError, match="the response has no answer") as caught:
        read_completions(data)
    assert caught.value.transient


@pytest.mark.parametrize("message", [None, {}, {"content": 3}, "text"])
def test_malformed_chats_are_errors(message: Any) -> None:
    with pytest.raises(EndpointError, match="the response has no answer"):
        read_chat({"choices": [{"message": message}]})


def test_unusual_answers_are_read() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_chat({"choices": [{"message": {"content": parts}}]}).text == "a\nb"
    assert read_chat({"choices": [{"message": {"content": None}}]}).text == ""
    [answer] = read_completions({"choices": [{"text": "\ud83d x"}], "usage": {"prompt_tokens": True}})
    assert answer.text == "\ufffd x"
    assert answer.tokens is None
    [answer] = read_completions(
        {"choices": [{"text": "x", "logprobs": {"tokens": ["x", "y"], "token_logprobs": [float("nan"), 3.0]}}]}
    )
    assert answer.logprobs == (None, None)
    two = read_completions({"choices": [{"text": "b", "index": 1}, {"text": "a", "index": 0}]}, 2)
    assert [answer.text for answer in two] == ["a", "b"]
