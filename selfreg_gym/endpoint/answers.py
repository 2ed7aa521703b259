"""Parsing of responses. A response without an answer is an error, never an empty text.

Formats: OpenAI's ``/completions`` (``choices[i].text``, ``logprobs.tokens``, ``logprobs.token_logprobs``) and
``/chat/completions`` (``choices[0].message.content``), as vLLM, llama.cpp, TGI, SGLang, ``transformers serve`` and
gateways to other APIs write them.

``finish_reason`` of a choice is the reason for its end. "stop", "length" and their synonyms, "tool_calls" and null are
answers; all other values are errors. An abort or a failure is transient; a filter or a refusal is permanent.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.redaction import LONGEST, readable
from selfreg_gym.errors import EndpointError

__all__ = [
    "LONGEST",
    "Answer",
    "check_errors",
    "no_answer",
    "read_chat",
    "read_completions",
    "read_tokens",
    "readable",
    "require_text",
    "token_limit_error",
    "type_of",
]

MOST_TOKENS = 10**9
"""Largest credible number of tokens of one answer; a larger one is ignored."""

_LEAST = -sys.float_info.max  # excludes minus infinity and integers of hundreds of digits
_LOWEST = -1e9  # log-probabilities are clipped to it, so that their sums are finite
_TRANSIENT = frozenset({408, 409, 425, 429})  # codes of an error object that are transient, besides 500 and above

# Values of finish_reason, in lower case without punctuation: of OpenAI, vLLM, SGLang, TGI, llama.cpp, Anthropic,
# Gemini and Cohere.
_COMPLETE = frozenset(
    "stop stopsequence stoptoken eos eostoken endturn endofturn endoftext end complete completed done finished "
    "toolcalls toolcall tooluse functioncall none null stopstr stopword word eog imend eotid".split()
)
_TRUNCATED = frozenset(
    "length maxtokens maxoutputtokens maxcompletiontokens maxnewtokens maxlength modellength tokenlimit contextlength "
    "modelcontextwindowexceeded limit".split()
)
_FILTERED = re.compile(
    "filter|safety|refus|block|prohibit|guardrail|recitation|spii|moderat|toxic|policy|sensitive|violat|disallow"
)
_TOOLS, _REASONING = ("tool_calls", "function_call"), ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True, slots=True)
class Answer:
    """One text from a model.

    Attributes:
        text: at most ``LONGEST`` characters.
        tokens: numbers of tokens, or None if the server does not report them.
        pieces: the tokens as texts, if the response has log-probabilities.
        logprobs: one per piece; None where the server gives none (the first token of an echoed prompt).
        truncated: whether the answer ends at the token limit.
        other_content: content of a response without text ("tool calls", "reasoning"), or "".
    """

    text: str
    tokens: Tokens | None = None
    pieces: tuple[str, ...] = ()
    logprobs: tuple[float | None, ...] = ()
    truncated: bool = False
    other_content: str = ""


def no_answer(what: str, *, transient: bool = True) -> EndpointError:
    """The error of a response without an answer; a ``transient`` one is retried."""
    return EndpointError(f"the response has no answer: {what}", transient=transient, reached=True)


def type_of(value: Any) -> str:
    """The type of an invalid value, for an error; the value itself may be long or contain a key."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "a number out of range" if number else type(value).__name__


def token_limit_error(limit: Any) -> EndpointError:
    """The error of an answer that has no text at the token limit."""
    number = f" of {limit}" if isinstance(limit, int) else ""
    return no_answer(
        f"the token limit{number} was reached before any text (finish_reason 'length'): increase max_tokens of the "
        "actor",
        transient=False,
    )


def require_text(answer: Answer, limit: Any = None) -> None:
    """Raise if ``answer`` has no text.

    Args:
        answer: the parsed answer.
        limit: ``max_tokens`` of the request, for the error.

    Raises:
        EndpointError: no text; transient, unless the token limit is the reason.
    """
    if answer.text.strip():
        return
    if answer.truncated:
        raise token_limit_error(limit)
    raise no_answer(f"{answer.other_content} and no text" if answer.other_content else "its text is empty")


def check_errors(data: dict[str, Any]) -> None:
    """Raise if a response, or one of its choices, reports an error or a content filter.

    Raises:
        EndpointError: an error object or a filter; transient, unless it is a filter or an error of the request.
    """
    error = data.get("error") or data.get("errors")
    if error:
        raise _reported_error(error[0] if isinstance(error, list) else data if error is True else error)
    if data.get("object") == "error":  # older servers of vLLM and FastChat, with HTTP 200
        raise _reported_error(data)
    for name in ("content_filter_results", "content_filter_result", "prompt_filter_results"):
        if _filtered(data.get(name)):
            raise no_answer(f"a content filter removed it ({name})", transient=False)


def read_completions(data: dict[str, Any], count: int = 1) -> list[Answer]:
    """The answers to ``count`` prompts, in order. The first answer has the tokens of all of them.

    Raises:
        EndpointError: another number of choices, or a choice without text or with an error.
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
        truncated = _is_truncated(choice)
        text = choice.get("text")
        if not isinstance(text, str):
            raise no_answer(f"a choice whose text is {type(text).__name__}")
        pieces, logprobs = _logprobs(choice.get("logprobs"))
        answers.append(Answer(readable(text), total if place == 0 else None, pieces, logprobs, truncated))
    return answers


def read_chat(data: dict[str, Any]) -> Answer:
    """The answer of a chat. Its text is ``""`` if the message has none; see :func:`require_text`.

    Raises:
        EndpointError: no choices, a choice without a message or with an error, or a refusal.
    """
    choices = _choices(data)
    choice = next((choice for choice in choices if _index(choice, 0) == 0), choices[0])
    truncated = _is_truncated(choice)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise no_answer("a choice without a message")
    check_errors(message)
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list):
        refusal = refusal or next((part.get("refusal") for part in content if isinstance(part, dict)), None)
    if refusal:
        raise no_answer("the model refused", transient=False)
    other = "tool calls" if any(message.get(name) for name in _TOOLS) else ""
    other = other or ("reasoning" if any(message.get(name) for name in _REASONING) else "")
    if "content" not in message and not other:
        raise no_answer("a choice without message.content")
    if content is not None and not isinstance(content, str | list):
        raise no_answer(f"a message whose content is {type(content).__name__}")
    text = _joined_parts(content) if isinstance(content, list) else content or ""
    return Answer(readable(text), _usage(data), truncated=truncated, other_content=other)


def _joined_parts(content: list[Any]) -> str:
    """The text parts of a message, one per line. Reasoning, images and null are left out."""
    texts = []
    for part in content:
        text = part
        if isinstance(part, dict):
            text = part.get("text") if part.get("type") in (None, "text", "output_text") else None
            text = text.get("value") if isinstance(text, dict) else text
        if isinstance(text, str):
            texts.append(text)
    return "\n".join(texts)


def _choices(data: dict[str, Any]) -> list[dict[str, Any]]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise no_answer("no choices")
    return choices


def _index(choice: dict[str, Any], place: int) -> int:
    index = choice.get("index")
    if index is None:
        return place
    return index if isinstance(index, int) and not isinstance(index, bool) else -1


def _is_truncated(choice: dict[str, Any]) -> bool:
    """Whether a choice ends at the token limit; raise for an error, a filter, a refusal or an unknown reason."""
    check_errors(choice)
    reason = choice.get("finish_reason")
    if isinstance(reason, dict):  # SGLang: {"type": "length", "length": 64}
        reason = reason.get("type")
    if reason is None:
        return False
    if not isinstance(reason, str):
        raise no_answer(f"its finish_reason is {type(reason).__name__}")
    plain = re.sub("[^a-z]", "", reason.lower().removeprefix("finish_reason_"))
    if plain in _TRUNCATED:
        return True
    if plain and plain not in _COMPLETE:
        raise no_answer(f"it ends with finish_reason {reason[:60]!r}", transient=not _FILTERED.search(plain))
    return False


def _reported_error(error: Any) -> EndpointError:
    """The error of an error object in a response."""
    fields = error if isinstance(error, dict) else {"message": error}
    code = next((fields[name] for name in ("code", "status", "type") if fields.get(name) is not None), None)
    message = next((fields[name] for name in ("message", "detail", "error") if isinstance(fields.get(name), str)), "")
    metadata = fields.get("metadata")
    texts = [message, *(text for text in (code, fields.get("type")) if isinstance(text, str))]
    number = code if isinstance(code, int) else int(code) if isinstance(code, str) and code.isdecimal() else None
    request_error = number is not None and 400 <= number < 500 and number not in _TRANSIENT
    request_error = request_error or any("invalid_request" in text for text in texts)
    filtered = any(_FILTERED.search(text.lower()) for text in texts[1:]) or (
        isinstance(metadata, dict) and bool(metadata.get("flagged_input"))
    )
    shown = f" {code!r}" if isinstance(code, int | str) and len(str(code)) <= 60 else ""
    text = f"the server reports the error{shown}{': ' if message else ''}{message}"
    return no_answer(text, transient=not (request_error or filtered))


def _filtered(found: Any, depth: int = 5) -> bool:
    """Whether the results of a content filter (Azure's format, also in lists) report removed content."""
    if depth and isinstance(found, list):
        return any(_filtered(item, depth) for item in found[:100] if isinstance(item, dict))
    if depth and isinstance(found, dict):
        return found.get("filtered") is True or any(_filtered(item, depth - 1) for item in found.values())
    return False


def read_tokens(found: Any) -> int | None:
    """A number of tokens from 0 to ``MOST_TOKENS``; None for any other value."""
    whole = isinstance(found, int) and not isinstance(found, bool)
    return found if whole and 0 <= found <= MOST_TOKENS else None


def _usage(data: dict[str, Any]) -> Tokens | None:
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return None
    written = usage.get("completion_tokens")
    counts = read_tokens(usage.get("prompt_tokens")), 0 if written is None else read_tokens(written)
    return None if counts[0] is None or counts[1] is None else Tokens(counts[0], counts[1])


def _logprobs(found: Any) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """Pieces and log-probabilities; empty if they are malformed."""
    if not isinstance(found, dict):
        return (), ()
    pieces, values = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(pieces, list) or not isinstance(values, list) or len(pieces) != len(values):
        return (), ()
    if not all(isinstance(piece, str) for piece in pieces):
        return (), ()
    return tuple(map(readable, pieces)), tuple(max(_LOWEST, float(x)) if _is_logprob(x) else None for x in values)


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _LEAST <= value <= 1e-6
