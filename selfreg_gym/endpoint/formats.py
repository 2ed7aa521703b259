"""Routes of the API, the parser of each, and the JSON form of answers in the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.answers import Answer, no_answer, read_chat, read_completions, read_tokens, readable

__all__ = ["CHAT", "COMPLETIONS", "MODELS", "READERS", "SYSTEMONE", "from_json", "to_json"]

CHAT, COMPLETIONS, MODELS, SYSTEMONE = "/chat/completions", "/completions", "/models", "/systemone"


def _read_systemone(data: dict[str, Any], count: int) -> list[Any]:
    answers = data.get("answers")
    if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
        raise no_answer("no answers")
    # Only the probabilities are kept: other content of the response could be of any size.
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
"""By route: from a response and the number of prompts to the answers."""


def to_json(answer: Any) -> Any:
    """An answer as JSON values."""
    if isinstance(answer, Answer):
        return asdict(answer)
    answers, tokens = answer
    return [answers, asdict(tokens)]


def from_json(path: str, value: Any) -> Any:
    """The answer written by :func:`to_json`, validated like a response.

    Raises:
        LookupError, TypeError, ValueError: ``value`` is malformed.
    """
    if path == SYSTEMONE:
        answers, tokens = value
        if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
            raise TypeError("no answers")
        return answers, _tokens_from_json(tokens) or Tokens()
    text, pieces, logprobs = value["text"], value["pieces"], value["logprobs"]
    if not isinstance(text, str) or len(pieces) != len(logprobs) or not all(isinstance(p, str) for p in pieces):
        raise TypeError("no answer")
    numbers = tuple(None if x is None else float(x) for x in logprobs)
    truncated = value.get("truncated", value.get("cut")) is True  # "cut" and "instead" are former names
    other = str(value.get("other_content") or value.get("instead") or "")
    return Answer(readable(text), _tokens_from_json(value["tokens"]), tuple(pieces), numbers, truncated, other)


def _tokens_from_json(value: Any) -> Tokens | None:
    """Numbers of tokens; None if they are missing or impossible."""
    if value is None:
        return None
    counts = read_tokens(value["prompt"]), read_tokens(value["completion"])
    return None if counts[0] is None or counts[1] is None else Tokens(counts[0], counts[1])
