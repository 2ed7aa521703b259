"""The probe finds the capabilities of a server, also those that it only seems to have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from loopback import EVERYTHING, TGI, Llama, random_faults

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.probe import CAPABILITIES, Capabilities, probe
from selfreg_gym.endpoint.server import Server
from selfreg_gym.endpoint.strategies import choose_strategy
from selfreg_gym.errors import EndpointError, SetupError
from selfreg_gym.types import Decision


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama(LM().checkpoint_dir)


def found(server: Any, quick: dict[str, Any], **options: Any) -> Capabilities:
    return probe(Connection(Server.of(server.url, **{**quick, **options})))


def works(capabilities: Capabilities) -> set[str]:
    return {name for name in CAPABILITIES if capabilities.works(name)}


def test_a_server_with_all_capabilities(serve: Any, quick: Any, llama: Llama) -> None:
    capabilities = found(serve(brain=llama), quick)
    assert works(capabilities) == set(CAPABILITIES)
    assert capabilities.why("echo") == "log-probabilities of echoed and generated tokens agree (4 of 4 prompts)"
    assert choose_strategy(capabilities) == ("echo", capabilities.why("echo"))
    assert capabilities.why("models") == "lists rule"


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("lacking", [name for name in EVERYTHING if name != "completions"])
def test_missing_capabilities_are_found_refused_or_ignored(serve: Any, quick: Any, lacking: str, refuses: bool) -> None:
    server = serve(can=tuple(name for name in EVERYTHING if name != lacking), refuses=refuses)
    missing = {"lists": {"prompt_lists"}, "logprobs": {"logprobs", "echo"}}.get(lacking, {lacking})
    assert works(found(server, quick)) == set(CAPABILITIES) - missing


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ("shifted", "echo is wrong: the token .* was generated with log-probability .* and is echoed with"),
        ("constant", "every echoed token has the same log-probability, 0"),
    ],
)
def test_wrong_log_probabilities_are_not_used(serve: Any, quick: Any, llama: Llama, odd: str, why: str) -> None:
    for brain in (None, llama):
        capabilities = found(serve(brain=brain, odd=odd), quick)
        assert works(capabilities) == set(CAPABILITIES) - {"echo"}
        assert re.search(why, capabilities.why("echo"))
        assert choose_strategy(capabilities)[0] == "structured"


@pytest.mark.parametrize("form", ["structured_outputs", "guided_choice", "response_format", TGI, "grammar", "regex"])
@pytest.mark.parametrize("refuses", [False, True])
def test_each_form_of_structured_choice(serve: Any, quick: Any, form: str, refuses: bool) -> None:
    capabilities = found(serve(forms=(form,), refuses=refuses), quick)
    assert capabilities.form is not None
    assert capabilities.form.name.startswith(form)


def test_the_description_of_a_server_is_short_and_has_no_key(serve: Any, quick: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "verysecret")
    server = serve(key="verysecret")
    original = server.answer

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path.endswith("/models"):
            return 200, {"data": [{"id": f"{i} verysecret {'long ' * 50}"} for i in range(9)] + [{"id": "x" * 10**6}]}
        if path.endswith("/systemone"):
            return 200, {"answers": {"word": {"probabilities": {"verysecret " * 1000: 1}}}}
        return original(path, body)

    server.answer = answer
    connection = Connection(Server.of(server.url, api_key_env="TEST_KEY", **quick))
    findings = probe(connection).findings
    assert findings["models"].why.startswith("lists 0 [key] long")
    assert findings["systemone"].why == "no probability for each option: received dict"
    with pytest.raises(SetupError) as caught:
        _ = Connection(Server.of(server.url, api_key_env="TEST_KEY", **{**quick, "model": None})).model
    for text in [str(caught.value), *connection.models(), *(finding.why for finding in findings.values())]:
        assert "verysecret" not in text
        assert len(text) < 1000
    assert len(connection.models()) == 9


def test_the_order_of_the_strategies_and_the_reason(serve: Any, quick: Any) -> None:
    chosen = []
    for can in (
        ("completions", "logprobs", "echo"),
        ("completions", "chat", "structured", "systemone"),
        ("chat", "systemone"),
        ("completions", "logprobs"),
        ("chat",),
    ):
        strategy, why = choose_strategy(found(serve(can=can), quick))
        chosen.append(strategy)
    assert chosen == ["echo", "structured", "systemone", "text", "text"]
    assert "no echo (needs log-probabilities); no structured (no form is supported: " in why
    with pytest.raises(EndpointError, match="supports no strategy of the actor"):
        choose_strategy(found(serve(can=("models",)), quick))
    with pytest.raises(
        EndpointError, match="strategy='echo' was requested, and the server does not support it: needs log-prob"
    ):
        choose_strategy(found(serve(can=("chat",)), quick), "echo")


def test_an_outage_is_an_error(serve: Any, quick: Any) -> None:
    server = serve()
    server.close()
    with pytest.raises(EndpointError, match="the connection failed"):
        found(server, {**quick, "retries": 0})
    silent = serve(fault=lambda count, path: "hang" if "chat" in path else None, hang=0.5)
    with pytest.raises(EndpointError, match="no answer within"):
        found(silent, {**quick, "retries": 0, "timeout": 0.1})


@pytest.mark.parametrize("fault", ["reset", "500", "hang"])
def test_an_argument_that_breaks_the_connection_is_not_used(serve: Any, quick: Any, fault: str) -> None:
    server = serve(can=("completions",), hang=0.4)
    server.fault = lambda count, path: fault if "stop" in server.requests[-1][1] else None
    capabilities = found(server, {**quick, "timeout": 0.2})
    assert works(capabilities) == {"completions"}
    assert choose_strategy(capabilities)[0] == "text"


def test_transient_faults_change_no_finding(serve: Any, quick: Any) -> None:
    calm = found(serve(), quick)
    disturbed = found(serve(fault=random_faults(0.2, seed=3), hang=0.3), {**quick, "timeout": 0.2, "load_timeout": 0.2})
    assert works(disturbed) == works(calm)


def test_only_the_named_api_is_tested(serve: Any, quick: Any) -> None:
    server = serve()
    capabilities = probe(Connection(Server.of(server.url, **quick)), api="chat")
    assert works(capabilities) == {"models", "chat", "structured", "systemone"}
    assert not server.count("/v1/completions")


@pytest.mark.parametrize("odd", ["order", "twice the first", "no index and reversed", "too few", "values of the first"])
def test_lists_with_wrong_answers_are_not_used(serve: Any, quick: Any, odd: str) -> None:
    server = serve(can=("completions", "lists", "logprobs", "echo"))
    original = server.answer

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, value = original(path, body)
        choices = value.get("choices", [])
        if isinstance(body.get("prompt"), list):
            if odd == "order":
                value["choices"] = [{**choice, "index": i} for i, choice in enumerate(choices)]
            elif odd == "twice the first":
                value["choices"] = [{**choices[-1], "index": i} for i in range(len(choices))]
            elif odd == "no index and reversed":
                value["choices"] = [{k: v for k, v in choice.items() if k != "index"} for choice in choices]
            elif odd == "too few":
                value["choices"] = choices[1:]
            else:
                for choice in choices:
                    values = choice["logprobs"]["token_logprobs"]
                    choice["logprobs"]["token_logprobs"] = [None, *(v - 1 for v in values[1:])]
        return status, value

    server.answer = answer
    actor = EndpointActor(server.url, **{**quick, "retries": 1})
    offered = ("heads", "tails")
    acts = actor.act([Decision(f"Coin {i}.", offered, key=(i,)) for i in range(3)])
    assert actor.chosen[0] == "echo"
    assert not actor.capabilities.works("prompt_lists"), actor.capabilities.why("prompt_lists")
    calm = EndpointActor(serve(can=("completions", "lists", "logprobs", "echo")).url, **quick)
    assert [act.text for act in acts] == [
        act.text for act in calm.act([Decision(f"Coin {i}.", offered, key=(i,)) for i in range(3)])
    ]
    assert [act.error for act in acts] == [None] * 3
