"""Reading what a server answered. An answer that is none is an error that may pass, never an empty text.

Formats: OpenAI's ``/completions`` (``choices[i].text``, ``logprobs.tokens``, ``logprobs.token_logprobs``) and
``/chat/completions`` (``choices[0].message.content``), as vLLM, llama.cpp, TGI, SGLang and ``transformers serve`` write
them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.errors import EndpointError

__all__ = ["LONGEST", "Answer", "named", "no_answer", "read_chat", "read_completions", "readable"]

LONGEST = 200_000
"""Characters of an answer that are looked at. A server that ignores ``max_tokens`` may send a megabyte."""

_LEAST = -sys.float_info.max  # below that are minus infinity, and whole numbers of hundreds of digits


@dataclass(frozen=True, slots=True)
class Answer:
    """One text from a model.

    Attributes:
        text: what was written, at most ``LONGEST`` characters of it.
        tokens: read and written, or None if the server does not count.
        pieces: the tokens as texts, if log-probabilities came.
        logprobs: one number per piece; None where the server gives none (the first token of an echoed prompt).
    """

    text: str
    tokens: Tokens | None = None
    pieces: tuple[str, ...] = ()
    logprobs: tuple[float | None, ...] = ()


def no_answer(what: str) -> EndpointError:
    """The error of an answer that is none; asking again may help."""
    return EndpointError(f"an answer that is none: {what}", transient=True, reached=True)


def named(value: Any) -> str:
    """What a value is, for an error: never the value, which may be of any length and hold anything."""
    return (
        "one out of range" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def readable(text: str) -> str:
    """A text without lone surrogates, which can be neither sent nor stored, cut to ``LONGEST`` characters."""
    return text[:LONGEST].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_completions(data: dict[str, Any], count: int = 1) -> list[Answer]:
    """The ``count`` answers to as many prompts, in their order.

    With several prompts the server counts tokens of all together; then no answer has ``tokens`` of its own, and the
    first has those of all.

    Raises:
        EndpointError: not so many choices, or one without a text.
    """
    choices = _choices(data)
    if len(choices) != count:
        raise no_answer(f"{len(choices)} choices for {count} prompts")
    ordered = sorted(enumerate(choices), key=lambda item: _index(item[1], item[0]))
    if [_index(choice, place) for place, choice in ordered] != list(range(count)):
        raise no_answer("choices whose index is not 0, 1, 2, ...")
    total = _usage(data)
    answers = []
    for place, (_, choice) in enumerate(ordered):
        text = choice.get("text")
        if not isinstance(text, str):
            raise no_answer(f"a choice whose text is {type(text).__name__}")
        pieces, logprobs = _logprobs(choice.get("logprobs"))
        answers.append(Answer(readable(text), total if place == 0 else None, pieces, logprobs))
    return answers


def read_chat(data: dict[str, Any]) -> Answer:
    """The one answer of a chat; a model that only thought (no content) has said nothing, ``""``.

    Raises:
        EndpointError: no choices, or one without a message.
    """
    message = _choices(data)[0].get("message")
    if not isinstance(message, dict) or "content" not in message:
        raise no_answer("a choice without message.content")
    content = message["content"]
    if isinstance(content, list):  # parts, of which only the texts are for us
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise no_answer(f"a message whose content is {type(content).__name__}")
    return Answer(readable(content or ""), _usage(data))


def _choices(data: dict[str, Any]) -> list[dict[str, Any]]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise no_answer("no choices")
    return choices


def _index(choice: dict[str, Any], place: int) -> int:
    index = choice.get("index", place)
    return index if isinstance(index, int) else -1


def _usage(data: dict[str, Any]) -> Tokens | None:
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (read, written)):
        return None
    return Tokens(read, written)  # type: ignore[arg-type]  # checked in the line above


def _logprobs(found: Any) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """Pieces and log-probabilities, or nothing at all if they do not fit together."""
    if not isinstance(found, dict):
        return (), ()
    pieces, values = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(pieces, list) or not isinstance(values, list) or len(pieces) != len(values):
        return (), ()
    numbers = [value if _is_logprob(value) else None for value in values]
    return tuple(map(str, pieces)), tuple(None if x is None else float(x) for x in numbers)


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _LEAST <= value <= 1e-6
