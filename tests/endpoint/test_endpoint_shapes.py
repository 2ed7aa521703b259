"""Answers and errors in the formats of other servers and gateways."""

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
def test_synonyms_of_stop(reason: str) -> None:
    answer = read_chat(chat("heads", reason))
    assert (answer.text, answer.truncated) == ("heads", False)


def test_the_synonym_of_length_in_llama_cpp() -> None:
    assert read_chat(chat("heads", "limit")).truncated


@pytest.mark.parametrize(
    "data",
    [
        {**chat("heads"), "errors": [{"message": "down", "code": 503}]},
        {**chat("heads"), "errors": ["down"]},
        {**chat("heads"), "error": True, "message": "down"},
    ],
)
def test_errors_in_a_response_with_an_answer(data: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match="down"):
        check_errors(data)


def test_a_part_whose_text_is_an_object() -> None:
    part = {"type": "text", "text": {"value": "heads", "annotations": []}}
    assert read_chat(chat([part])).text == "heads"


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert _load(b'{"text": "heads \xf0\x9f"}')["text"] == "heads \ufffd"
    with pytest.raises(ValueError, match="Expecting"):
        _load(b"\xf0\x9f")


@pytest.mark.parametrize("text", ['{"action": null}', '<think>a</think>{"thought": "x", "action": null}'])
def test_a_null_action_in_a_text_is_empty(text: str) -> None:
    assert parse_action(text, ("heads", "tails")) == ""


def test_nan_in_a_structured_answer_is_empty() -> None:
    assert next(form for form in FORMS if form.reads_json).read('{"action": NaN}') == ""


def test_probabilities_that_are_all_0_are_an_error() -> None:
    with pytest.raises(EndpointError, match="no probability for each action"):
        _log_probabilities(("heads", "tails"), ({"action": {"probabilities": {"heads": 0, "tails": 0}}}, None))


@pytest.mark.parametrize("url", ["http://.../v1", "http://a..b/v1", f"http://{'a' * 64}/v1"])
def test_invalid_host_names_are_errors(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="beginning with http"):
        EndpointActor(url, model="m")


def coin() -> Decision:
    return Decision("Coin 1 of 3.", ("heads", "tails"), key=(0,))


def test_reasoning_that_the_stop_text_interrupts_is_requested_again(serve: Any, quick: dict[str, Any]) -> None:
    server = serve(can=("completions",))
    texts = iter(["<think>", "<think>\nAction: tails\n</think>\nheads"])
    server.brain.write = lambda prompt, **_: next(texts) if "Coin" in prompt else " yes"
    [act] = EndpointActor(server.url, strategy="text", api="completions", **quick).act([coin()])
    assert (act.text, act.error) == ("heads", None)


def test_terminal_colours_do_not_hide_an_action(serve: Any, quick: dict[str, Any]) -> None:
    server = serve(can=("chat",))
    server.brain.write = lambda prompt, **_: "\x1b[31mAction: heads\x1b[0m"
    [act] = EndpointActor(server.url, strategy="text", **quick).act([coin()])
    assert (act.text, act.error) == ("heads", None)
