"""One request against every kind of misbehaviour: asked again, given up, in time, and never with the key."""

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


def written(data: dict[str, Any], count: int = 1) -> list[Answer]:
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
def test_every_fault_is_survived(serve: Any, fault: str) -> None:
    server = serve(fault=first(fault, fault), hang=0.6)
    asked = client(server)
    [answer] = asked.send("/completions", BODY, written)
    [undisturbed] = client(serve()).send("/completions", BODY, read_completions)
    assert answer == undisturbed
    assert server.faults[fault] == 2
    assert (asked.meter.requests, asked.meter.retried, asked.meter.failed) == (3, 2, 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_and_given_up_after_so_many_attempts(serve: Any, fault: str) -> None:
    server = serve(fault=lambda count, path: fault, hang=0.6)
    begun = time.monotonic()
    with pytest.raises(EndpointError, match=r"/v1/completions: .* \(tried 3 times\)") as caught:
        client(server, retries=2).send("/completions", BODY, written)
    assert caught.value.transient
    assert len(server.requests) == 3
    assert caught.value.reached == (fault not in ("reset", "hang", "truncated", "drip", "slow headers"))
    assert time.monotonic() - begun < 3  # three hangs of 0.6 s are cut at 0.25 s each


@pytest.mark.parametrize("fault", ["drip", "slow headers"])
def test_an_answer_that_drips_is_cut_although_each_byte_is_in_time(serve: Any, fault: str) -> None:
    server = serve(fault=lambda count, path: fault, hang=2.0)
    begun = time.monotonic()
    with pytest.raises(EndpointError, match="no answer within"):
        client(server, retries=0).send("/completions", BODY, read_completions)
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("filter", "finish_reason 'content_filter'"),
        ("filter results", "a content filter removed it"),
        ("refusal", "finish_reason 'refusal'"),
        ("cut", "the token limit was reached before any text"),
        ("html", r"an HTML page \('Sign in'\)"),
        ("redirect", "HTTP 301: the server redirects to http://127"),
    ],
)
def test_what_does_not_pass_is_named_and_not_repeated(serve: Any, fault: str, told: str) -> None:
    server = serve(fault=lambda count, path: fault)
    with pytest.raises(EndpointError, match=told) as caught:
        client(server).send("/completions", BODY, written)
    assert caught.value.reached
    assert not caught.value.transient
    assert len(server.requests) == 1


def test_a_refusal_is_not_repeated(serve: Any) -> None:
    server = serve(can=("chat",))
    with pytest.raises(EndpointError, match=r"HTTP 404: Not Found") as caught:
        client(server).send("/completions", BODY, read_completions)
    assert (caught.value.status, caught.value.transient) == (404, False)
    assert len(server.requests) == 1


def test_nobody_there_is_said(serve: Any) -> None:
    server = serve()
    server.close()
    with pytest.raises(EndpointError, match="the connection failed") as caught:
        client(server, retries=1).send("/completions", BODY, read_completions)
    assert not caught.value.reached


@pytest.mark.parametrize(("asked", "at_least", "at_most"), [("0.3", 0.3, 1.0), ("3600", 0.2, 1.0)])
def test_retry_after_is_obeyed_and_bounded(serve: Any, asked: str, at_least: float, at_most: float) -> None:
    server = serve(fault=first("429"), retry_after=asked)
    begun = time.monotonic()
    client(server, max_wait=0.3 if asked == "0.3" else 0.2).send("/completions", BODY, read_completions)
    assert at_least <= time.monotonic() - begun < at_most


def test_the_first_answer_may_take_longer(serve: Any) -> None:
    asked = client(serve(fault=first("hang"), hang=0.5), timeout=0.1, load_timeout=5.0, retries=1)
    begun = time.monotonic()
    asked.send("/completions", BODY, read_completions)  # it hangs up without an answer, and is asked again
    assert 0.5 <= time.monotonic() - begun < 3
    assert asked.meter.requests == 2
    slow = client(serve(fault=lambda count, path: "hang" if count > 1 else None, hang=2.0), timeout=0.1, retries=0)
    slow.send("/completions", BODY, read_completions)
    begun = time.monotonic()
    with pytest.raises(EndpointError, match=r"no answer within 0\.1 s"):
        slow.send("/completions", BODY, read_completions)
    assert time.monotonic() - begun < 1


def test_closing_ends_the_wait(serve: Any) -> None:
    asked = client(serve(fault=lambda count, path: "500"), backoff=30.0, max_backoff=30.0, retries=3)
    timer = threading.Timer(0.2, asked.close)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(EndpointError):
        asked.send("/completions", BODY, read_completions)
    assert time.monotonic() - begun < 5
    timer.join()


def test_a_key_is_sent_and_never_told(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "verysecret")
    server = serve(key="verysecret")
    [answer] = client(server, api_key_env="TEST_KEY").send("/completions", BODY, read_completions)
    assert answer.text
    monkeypatch.setenv("TEST_KEY", "verysecret-but-wrong")
    with pytest.raises(EndpointError, match=r"HTTP 401: Incorrect API key provided: Bearer \[key\]") as caught:
        client(server, api_key_env="TEST_KEY").send("/completions", BODY, read_completions)
    assert "verysecret" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(EndpointError, match="HTTP 401"):  # no key named: none is sent, whatever the environment holds
        client(server).send("/completions", BODY, read_completions)


@pytest.mark.parametrize(("key", "told"), [("x", "x marks-the axis"), ("marks-the", "x [key] axis")])
def test_a_key_too_short_to_be_a_secret_changes_no_answer(
    serve: Any, monkeypatch: pytest.MonkeyPatch, key: str, told: str
) -> None:
    monkeypatch.setenv("TEST_KEY", key)
    server = serve(key=key)
    server.brain.write = lambda prompt, **_: "x marks-the axis"
    connection = Connection(Server.of(server.url, model="rule", api_key_env="TEST_KEY"))
    assert connection.ask([Request(COMPLETIONS, {"prompt": "?"})])[0].text == told


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
def test_what_is_no_completion(data: dict) -> None:
    with pytest.raises(EndpointError, match="the response has no answer") as caught:
        read_completions(data)
    assert caught.value.transient


@pytest.mark.parametrize("message", [None, {}, {"content": 3}, "text"])
def test_what_is_no_chat(message: Any) -> None:
    with pytest.raises(EndpointError, match="the response has no answer"):
        read_chat({"choices": [{"message": message}]})


def test_answers_are_read_leniently_where_nothing_is_lost() -> None:
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
