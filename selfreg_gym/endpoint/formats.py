"""The routes of a server, the readers of their answers, and answers as plain JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.answers import Answer, no_answer, read_chat, read_completions, read_tokens, readable

__all__ = ["CHAT", "COMPLETIONS", "MODELS", "READERS", "SYSTEMONE", "freeze", "thaw"]

CHAT, COMPLETIONS, MODELS, SYSTEMONE = "/chat/completions", "/completions", "/models", "/systemone"


def _read_systemone(data: dict[str, Any], count: int) -> list[Any]:
    answers = data.get("answers")
    if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
        raise no_answer("no answers")
    # Only numbers under the names of the request; anything else in the response is dropped.
    kept = {
        name: {part: answer[part] for part in ("noul", "score", "probabilities") if part in answer}
        for name, answer in answers.items()
    }
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return [(kept, Tokens(*(read_tokens(usage.get(name)) or 0 for name in ("input_tokens", "output_tokens"))))]


READERS: dict[str, Callable[[dict[str, Any], int], list[Any]]] = {
    COMPLETIONS: read_completions,
    CHAT: lambda data, count: [read_chat(data)],
    SYSTEMONE: _read_systemone,
}
"""From a response and the number of prompts to the answers, by route."""


def freeze(answer: Any) -> Any:
    """An answer as plain JSON."""
    if isinstance(answer, Answer):
        return asdict(answer)
    answers, tokens = answer
    return [answers, asdict(tokens)]


def thaw(path: str, value: Any) -> Any:
    """The answer that :func:`freeze` made plain, checked as one of a server is.

    Raises:
        LookupError, TypeError, ValueError: it is something else.
    """
    if path == SYSTEMONE:
        answers, tokens = value
        if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
            raise TypeError("no answers")
        return answers, _thaw_tokens(tokens) or Tokens()
    text, pieces, logprobs = value["text"], value["pieces"], value["logprobs"]
    if not isinstance(text, str) or len(pieces) != len(logprobs) or not all(isinstance(p, str) for p in pieces):
        raise TypeError("no answer")
    numbers = tuple(None if x is None else float(x) for x in logprobs)
    cut, instead = value.get("cut", False) is True, str(value.get("instead") or "")
    return Answer(readable(text), _thaw_tokens(value["tokens"]), tuple(pieces), numbers, cut, instead)


def _thaw_tokens(value: Any) -> Tokens | None:
    """Counts of tokens; None where the file of an earlier version holds impossible ones."""
    if value is None:
        return None
    counts = read_tokens(value["prompt"]), read_tokens(value["completion"])
    return None if counts[0] is None or counts[1] is None else Tokens(counts[0], counts[1])
