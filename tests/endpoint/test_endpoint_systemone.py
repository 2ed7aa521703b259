"""Typed questions: malformed answers are retried and not stored; errors do not show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback

from selfreg_gym.agents.helpers.endpoint import EndpointHelper
from selfreg_gym.endpoint.cache import AnswerCache, request_key
from selfreg_gym.endpoint.connection import SYSTEMONE
from selfreg_gym.endpoint.prm import EndpointPRM
from selfreg_gym.endpoint.systemone import Question
from selfreg_gym.errors import EndpointError, InvalidArgumentError

_NUMBERS = ["yes", 10**400, -(10**400), float("nan"), float("inf"), True, None, [1], -1]


def _answer_first(server: Loopback, answers: Any, times: int) -> None:
    """Answer the first ``times`` typed questions with ``answers``."""
    original, asked = server.answer, []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, value = original(path, body)
        if path.endswith("/systemone"):
            asked.append(path)
            value = {**value, "answers": answers} if len(asked) <= times else value
        return status, value

    server.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("value", _NUMBERS, ids=lambda value: f"{str(value)[:5]}")
def test_a_malformed_answer_is_retried_and_not_stored(serve: Any, quick: Any, tmp_path: Path, value: Any) -> None:
    server = serve()
    calm = EndpointPRM(server.url, **quick).score(["text"])
    _answer_first(server, {"answer": {"noul": value}}, times=3)
    path = tmp_path / "answers.sqlite"
    with pytest.raises(EndpointError, match="tried 2 times"):
        EndpointPRM(server.url, cache=path, retries=1, **quick).score(["text"])
    assert len(AnswerCache(path)) == 0
    assert EndpointPRM(server.url, cache=path, retries=1, **quick).score(["text"]) == calm
    assert server.count("/systemone") == 1 + 2 + 2


@pytest.mark.parametrize("stored", [[{"answer": {"noul": "yes"}}, {"prompt": 1, "completion": 0}], [{}], {}, "?"])
def test_a_malformed_answer_in_the_cache_is_replaced(serve: Any, quick: Any, tmp_path: Path, stored: Any) -> None:
    server, path = serve(), tmp_path / "answers.sqlite"
    prm = EndpointPRM(server.url, cache=path, **quick)
    key = request_key(SYSTEMONE, {"model": "rule", **prm.question.body("text")}, None)
    file = AnswerCache(path)
    file.put(key, stored)
    [score] = prm.score(["text"])
    assert server.count("/systemone") == 1
    assert EndpointPRM("http://127.0.0.1:9/v1", cache=path, **quick).score(["text"]) == [score]
    assert file.get(key) != stored


@pytest.mark.parametrize("value", _NUMBERS, ids=lambda value: f"{str(value)[:5]}")
def test_an_invalid_probability_is_an_error(value: Any) -> None:
    with pytest.raises(EndpointError, match="no probability for each of the 2 options"):
        Question("?", options=("a", "b")).read({"answer": {"probabilities": {"a": value, "b": 0.5}}})


@pytest.mark.parametrize("value", ["secretive " * 10_000, ["secretive"], {"secretive": 1}, 10**400])
def test_an_error_names_the_type_of_the_answer_and_does_not_show_it(serve: Any, quick: Any, value: Any) -> None:
    server = serve()
    _answer_first(server, {"answer": {"noul": value}}, times=1)
    with pytest.raises(
        EndpointError, match=r"noul must be a number from 0 to 1, received (str|list|dict|a number out of range)$"
    ) as caught:
        EndpointPRM(server.url, retries=0, **quick).score(["text"])
    assert "secretive" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("instructions", ["Budget {budget}", "{budget!r}?", "Budget {budget:.2f}. Help?"])
def test_a_question_with_a_budget_needs_one(instructions: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"without one: pass budget=\.$"):
        EndpointHelper("http://x/v1", instructions=instructions)
    assert "3" in EndpointHelper("http://x/v1", instructions=instructions, budget=3).question.instructions
    assert EndpointHelper("http://x/v1", instructions="{{budget}}").question.instructions == "{budget}"
