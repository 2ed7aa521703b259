"""Answers and errors in the shapes of other servers and gateways."""

from __future__ import annotations

from typing import Any

import pytest

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.endpoint.answers import check_errors, read_chat
from selfreg_gym.endpoint.client import _load
from selfreg_gym.endpoint.strategies import _log_probabilities
from selfreg_gym.endpoint.structured import FORMS
from selfreg_gym.errors import EndpointError, InvalidArgumentError
from selfreg_gym.lm.parsing import parse_action
from selfreg_gym.types import Decision


def chat(content: Any, reason: Any = "stop") -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": content}, "finish_reason": reason}]}


@pytest.mark.parametrize("reason", ["word", "eog", "stop_str", "<|im_end|>", "stop_word"])
def test_other_words_for_an_end(reason: str) -> None:
    answer = read_chat(chat("heads", reason))
    assert (answer.text, answer.truncated) == ("heads", False)


def test_llama_cpps_word_for_the_limit() -> None:
    assert read_chat(chat("heads", "limit")).truncated


@pytest.mark.parametrize(
    "data",
    [
        {**chat("heads"), "errors": [{"message": "down", "code": 503}]},
        {**chat("heads"), "errors": ["down"]},
        {**chat("heads"), "error": True, "message": "down"},
    ],
)
def test_errors_beside_an_answer(data: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match="down"):
        check_errors(data)


def test_a_part_whose_text_is_an_object() -> None:
    part = {"type": "text", "text": {"value": "heads", "annotations": []}}
    assert read_chat(chat([part])).text == "heads"


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert _load(b'{"text": "heads \xf0\x9f"}')["text"] == "heads \ufffd"
    with pytest.raises(ValueError, match="Expecting"):
        _load(b"\xf0\x9f")


@pytest.mark.parametrize("said", ['{"action": null}', '<think>a</think>{"thought": "x", "action": null}'])
def test_null_in_an_answer_in_words_is_nothing_said(said: str) -> None:
    assert parse_action(said, ("heads", "tails")) == ""


def test_nan_in_a_structured_answer_is_nothing_said() -> None:
    assert next(form for form in FORMS if form.reads_json).read('{"action": NaN}') == ""


def test_probabilities_that_are_all_zero_choose_nothing() -> None:
    with pytest.raises(EndpointError, match="no probability for each action"):
        _log_probabilities(("heads", "tails"), ({"action": {"probabilities": {"heads": 0, "tails": 0}}}, None))


@pytest.mark.parametrize("url", ["http://.../v1", "http://a..b/v1", f"http://{'a' * 64}/v1"])
def test_hosts_that_no_name_service_can_know(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="beginning with http"):
        EndpointActor(url, model="m")


def coin() -> Decision:
    return Decision("Coin 1 of 3.", ("heads", "tails"), key=(0,))


def test_a_thought_that_is_cut_at_its_first_line_break_is_asked_for_whole(serve: Any, quick: dict[str, Any]) -> None:
    server = serve(can=("completions",))
    said = iter(["<think>", "<think>\nAction: tails\n</think>\nheads"])
    server.brain.write = lambda prompt, **_: next(said) if "Coin" in prompt else " yes"
    [act] = EndpointActor(server.url, strategy="text", api="completions", **quick).act([coin()])
    assert (act.text, act.error) == ("heads", None)


def test_colours_of_a_terminal_do_not_hide_an_action(serve: Any, quick: dict[str, Any]) -> None:
    server = serve(can=("chat",))
    server.brain.write = lambda prompt, **_: "\x1b[31mAction: heads\x1b[0m"
    [act] = EndpointActor(server.url, strategy="text", **quick).act([coin()])
    assert (act.text, act.error) == ("heads", None)
