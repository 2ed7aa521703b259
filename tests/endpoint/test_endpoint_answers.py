"""Parsing of answers, and responses without an answer, which are errors of their act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loopback import LASTING, SILENT

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.answers import check_errors, read_chat, read_completions, require_text
from selfreg_gym.endpoint.cache import AnswerCache
from selfreg_gym.endpoint.structured import FORMS
from selfreg_gym.errors import EndpointError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.types import Decision

STRATEGIES = {
    "echo": ("completions", "logprobs", "echo", "lists"),
    "structured": ("chat", "structured"),
    "systemone": ("systemone",),
    "text": ("chat",),
    "text of completions": ("completions",),
}


def coin(key: int = 0) -> Decision:
    return Decision("Coin 1 of 3.", ("heads", "tails"), key=(key,))


def chat(content: Any, reason: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": content}, "finish_reason": reason, **more}]}


def completion(text: Any, reason: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": reason, **more}]}


# ---------------------------------------------------------------- finish_reason

COMPLETE = [None, "", "stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call"]
COMPLETE += ["tool_use", "COMPLETE", "FINISH_REASON_STOP", {"type": "stop", "matched": 2}]


@pytest.mark.parametrize("reason", COMPLETE, ids=str)
def test_a_complete_choice_is_an_answer(reason: Any) -> None:
    assert (read_chat(chat("heads", reason)).text, read_chat(chat("heads", reason)).truncated) == ("heads", False)
    assert read_completions(completion("heads", reason))[0].text == "heads"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length", {"type": "length"}], ids=str)
def test_a_truncated_choice_is_an_answer_if_it_has_a_text(reason: Any) -> None:
    for answer in (read_chat(chat("heads", reason)), read_completions(completion("heads", reason))[0]):
        assert answer.truncated
        require_text(answer)
    for answer in (read_chat(chat(None, reason)), read_completions(completion(" ", reason))[0]):
        with pytest.raises(EndpointError, match="token limit of 64 was reached before any text") as caught:
            require_text(answer, 64)
        assert not caught.value.transient


@pytest.mark.parametrize(
    ("reason", "transient"),
    [
        *((reason, True) for reason in ("abort", "error", "cancelled", "insufficient_system_resource", "odd", 7, True)),
        *((reason, False) for reason in ("content_filter", "SAFETY", "refusal", "guardrail_intervened", "sensitive")),
    ],
)
def test_any_other_reason_is_an_error(reason: Any, transient: bool) -> None:
    for read, data in ((read_chat, chat("Action: heads", reason)), (read_completions, completion(" heads", reason))):
        with pytest.raises(EndpointError, match="finish_reason") as caught:
            read(data)
        assert (caught.value.transient, caught.value.reached) == (transient, True)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        ({"code": 502, "message": "Provider returned error"}, True),
        ({"code": "server_error"}, True),
        ("overloaded", True),
        ({"code": 429, "message": "slow down"}, True),
        ({"code": 403, "message": "flagged", "metadata": {"flagged_input": "x"}}, False),
        ({"code": "content_filter", "message": "policy"}, False),
        ({"type": "invalid_request_error", "message": "no"}, False),
    ],
)
def test_error_objects_are_errors_anywhere_in_a_response(error: Any, transient: bool) -> None:
    with pytest.raises(EndpointError, match="the server reports the error") as caught:
        check_errors({"error": error, **chat("heads")})
    assert caught.value.transient == transient
    for read, data in ((read_chat, chat("heads", error=error)), (read_completions, completion("heads", error=error))):
        with pytest.raises(EndpointError, match="the server reports the error"):
            read(data)
    check_errors({"error": None, **chat("heads")})
    assert read_chat(chat("heads", error=None)).text == "heads"


@pytest.mark.parametrize("results", [{"hate": {"filtered": True}}, {"custom": {"a": {"filtered": True}}}], ids=str)
def test_filter_results_are_read(results: Any) -> None:
    with pytest.raises(EndpointError, match="content filter") as caught:
        read_chat(chat("heads", content_filter_results=results))
    assert not caught.value.transient
    with pytest.raises(EndpointError, match="content filter"):
        check_errors({"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": results}]})
    assert read_chat(chat("heads", content_filter_results={"hate": {"filtered": False}})).text == "heads"


def test_a_refusal_is_not_transient() -> None:
    for message in (
        {"content": None, "refusal": "I cannot."},
        {"content": [{"type": "refusal", "refusal": "I cannot."}]},
    ):
        with pytest.raises(EndpointError, match="the model refused") as caught:
            read_chat({"choices": [{"message": message}]})
        assert not caught.value.transient
    assert read_chat({"choices": [{"message": {"content": "heads", "refusal": None}}]}).text == "heads"


# ---------------------------------------------------------------- null


@pytest.mark.parametrize(
    "content",
    [None, [], [{"type": "text", "text": None}], [None], [{"type": "thinking", "text": "heads?"}], [{"type": "image"}]],
    ids=str,
)
def test_null_is_an_empty_text(content: Any) -> None:
    answer = read_chat(chat(content))
    assert answer.text == ""
    with pytest.raises(EndpointError, match="its text is empty"):
        require_text(answer)


def test_other_content_is_named_in_the_error() -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "act", "arguments": "{}"}}]}
    for message, expected in ((call, "tool calls and no text"), ({"reasoning_content": "hm"}, "reasoning and no text")):
        with pytest.raises(EndpointError, match=expected):
            require_text(read_chat({"choices": [{"message": message, "finish_reason": "tool_calls"}]}))


def test_the_choice_with_index_0_is_read() -> None:
    choices = [{"index": i, "message": {"content": f"choice {i}"}} for i in (1, 0)]
    assert read_chat({"choices": choices}).text == "choice 0"


def test_parts_are_joined_by_line_breaks() -> None:
    parts = [
        {"type": "text", "text": "Reasoning: a"},
        {"text": None},
        "Action: b",
        {"type": "output_text", "text": "c"},
    ]
    assert read_chat(chat(parts)).text == "Reasoning: a\nAction: b\nc"


@pytest.mark.parametrize("text", ['{"action": null}', "{}", "null", '{"action": ["a"]}', "[]", '{"action": true}'])
def test_null_in_json_is_no_action(text: str) -> None:
    assert next(form for form in FORMS if form.reads_json).read(text) == ""


def test_null_elsewhere(serve: Any, quick: Any) -> None:
    two = read_completions({"choices": [{"text": "a", "index": None}, {"text": "b", "index": None}]}, 2)
    assert [answer.text for answer in two] == ["a", "b"]
    logprobs = {"tokens": [None, "b"], "token_logprobs": [None, -1.0]}
    assert read_completions(completion("ab", logprobs=logprobs))[0].pieces == ()
    server = serve()
    server.answer = lambda path, body: (200, {"data": [{"id": None}, {"id": "rule"}, None, {"id": "a\x1b[31mb"}]})
    assert EndpointActor(server.url, **quick).connection.models() == ["rule"]


# ---------------------------------------------------------------- numbers of tokens


@pytest.mark.parametrize("count", [10**30, 2**63, -1, "7", 7.5, True, [7], {}], ids=str)
def test_impossible_numbers_of_tokens_are_ignored(count: Any) -> None:
    for usage in ({"prompt_tokens": count, "completion_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": count}):
        assert read_chat({**chat("heads"), "usage": usage}).tokens is None
    assert read_chat({**chat("heads"), "usage": {"prompt_tokens": 3, "completion_tokens": None}}).tokens == Tokens(3, 0)


@pytest.mark.parametrize("strategy", ["text", "echo", "systemone"])
def test_impossible_numbers_are_ignored_in_responses_and_in_the_cache(
    serve: Any, quick: Any, tmp_path: Path, strategy: str
) -> None:
    server = serve(can=STRATEGIES[strategy])
    original = server.answer

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, value = original(path, body)
        huge = dict.fromkeys(("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"), 10**30)
        return status, {**value, "usage": huge}

    server.answer = answer
    path = tmp_path / "answers.sqlite"
    actor = EndpointActor(server.url, strategy=strategy, cache=path, **quick)
    [act] = actor.act([coin()])
    assert act.error is None
    assert (act.tokens or 0) < 1000
    cache = AnswerCache(path)
    for key, text in cache._connection.execute("SELECT key, answer FROM answers").fetchall():
        changed = text.replace('"tokens": null', f'"tokens": {{"prompt": {10**30}, "completion": -1}}')
        changed = changed.replace("]]", f", {10**30}]]").replace('"prompt": 0', f'"prompt": {10**30}')
        cache._connection.execute("UPDATE answers SET answer = ? WHERE key = ?", (changed, key))
    cache.close()
    [again] = EndpointActor(server.url, strategy=strategy, cache=path, **quick).act([coin()])
    assert (again.text, again.error) == (act.text, None)
    assert (again.tokens or 0) < 1000


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_damaged_rows_of_the_cache_are_replaced(serve: Any, quick: Any, tmp_path: Path, strategy: str) -> None:
    server, path = serve(can=STRATEGIES[strategy]), tmp_path / "answers.sqlite"
    options = {**quick, "cache": path, "strategy": strategy.split()[0]}
    [act] = EndpointActor(server.url, **options).act([coin()])
    for row in ("{", "null", "[]", '{"text": 3}', "[[NaN, 0], [1, 1]]", "[[1e999], [0, 0]]", "7"):
        cache = AnswerCache(path)
        cache._connection.execute("UPDATE answers SET answer = ?", (row,))
        cache.close()
        assert EndpointActor(server.url, **options).act([coin()]) == [act]
    assert act.error is None


# ---------------------------------------------------------------- acts


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_response_without_an_answer_is_an_error_of_the_act(serve: Any, quick: Any, strategy: str) -> None:
    server = serve(can=STRATEGIES[strategy])
    actor = EndpointActor(server.url, strategy=strategy.split()[0], **{**quick, "retries": 1})
    assert actor.chosen[0] == strategy.split()[0]
    for i, fault in enumerate((*SILENT, *LASTING)):
        begun = len(server.requests)
        server.fault = lambda count, path, fault=fault: fault
        [act] = actor.act([Decision(f"Coin {i} of 99.", ("heads", "tails"), key=(i,))])
        assert act.error, fault
        assert act.text == ""
        assert len(server.requests) - begun <= (8 if strategy == "echo" else 3)
    env = InterventionEnv("selfreg/Coin-v0", actor, ["expert"])
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="truncated"):
        _, _, terminated, truncated, info = env.step(0)
    assert (terminated, truncated, info["invalid_action"]) == (False, True, False)
    assert info["action_text"] is None
    assert info["error"]


def test_transient_faults_change_no_act(serve: Any, quick: Any) -> None:
    for strategy, can in STRATEGIES.items():
        options = {**quick, "strategy": strategy.split()[0]}
        calm = EndpointActor(serve(can=can).url, **options).act([coin(i) for i in range(9)])
        server = serve(can=can)
        actor = EndpointActor(server.url, **{**options, "retries": 12})
        assert actor.chosen
        kinds = iter(SILENT * 40)
        server.fault = lambda count, path, kinds=kinds: next(kinds) if count % 3 else None
        assert actor.act([coin(i) for i in range(9)]) == calm


def test_truncated_answers_are_used_and_counted(serve: Any, quick: Any) -> None:
    server = serve(can=("chat",))
    original = server.answer
    actor = EndpointActor(server.url, **quick)
    assert actor.chosen[0] == "text"

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, value = original(path, body)
        value["choices"][0]["finish_reason"] = "length"
        return status, value

    server.answer = answer
    acts = actor.act([coin(1), coin(2)])
    assert all(act.text in ("heads", "tails") and act.error is None for act in acts)
    assert actor.describe()["usage"]["truncated"] == 2


@pytest.mark.parametrize(("text", "reason"), [("<think>heads or tails, hm", "length"), ("<think>hm</think>", "stop")])
def test_reasoning_alone_is_an_error(serve: Any, quick: Any, text: str, reason: str) -> None:
    server = serve(can=("chat",))
    actor = EndpointActor(server.url, **{**quick, "retries": 1})
    assert actor.chosen[0] == "text"
    server.answer = lambda path, body: (200, chat(text, reason))
    [act] = actor.act([coin()])
    assert ("token limit of 64" if reason == "length" else "no action") in act.error


def test_incomplete_json_is_an_error(serve: Any, quick: Any) -> None:
    server = serve(can=("chat", "structured"), forms=("response_format",))
    actor = EndpointActor(server.url, **{**quick, "retries": 1})
    assert actor.chosen[0] == "structured"
    for text, reason in (('{"action": "hea', "length"), ('{"action": null}', "stop")):
        server.answer = lambda path, body, text=text, reason=reason: (200, chat(text, reason))
        [act] = actor.act([coin(len(text))])
        assert "the response has no answer" in act.error


def test_a_line_break_before_the_action_of_a_completion_is_skipped(serve: Any, quick: Any) -> None:
    server = serve(can=("completions",))

    def write(prompt: str, **_: Any) -> str:
        return "" if server.requests[-1][1].get("stop") else "\nheads\nObservation: it was tails"

    server.brain.write = write
    [act] = EndpointActor(server.url, **quick).act([coin()])
    assert act.text == "heads"
