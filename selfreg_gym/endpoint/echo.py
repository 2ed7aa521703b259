"""Log-probabilities of texts, from prompts that a server echoes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from selfreg_gym.endpoint.answers import Answer, no_answer, read_tokens
from selfreg_gym.errors import EndpointError

__all__ = ["action_scores", "echo_body", "echoed_tokens", "valid_scores"]

_LEAST = 1e-12  # lower bound of a probability, for its logarithm
_LARGEST = 1e15  # bound on a sum of log-probabilities, which are clipped to 1e9 each


def echo_body(text: str) -> dict[str, Any]:
    """The request for the log-probabilities of ``text``: an echo, and one written token, which is dropped.

    On some servers ``max_tokens=0`` means "as many as fit".
    """
    return {"prompt": text, "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "seed": 0, "logprobs": 1, "echo": True}


def action_scores(texts: Sequence[str], answers: Sequence[Any]) -> list[Any]:
    """``[scores, [tokens read, tokens written]]`` of A texts, each a prompt with one action.

    A score is the sum of the log-probabilities after the common prefix of all texts. The prefix (the prompt and the
    first tokens of the actions) has the same log-probability in each text, so no tokenizer is needed
    to find the end of the prompt, and a token that spans it is counted correctly.

    If one action is the beginning of another ("look", "look at"), the score of the shorter one includes the
    log-probability that the model does not continue as a longer one. The local scorer uses the end-of-text token
    instead, which servers do not name. Both agree for a model that writes an offered action and then ends.

    Raises:
        EndpointError: one of the answers is an error.
    """
    for answer in answers:
        if isinstance(answer, EndpointError):
            raise answer
    rows = [echoed_tokens(text, answer) for text, answer in zip(texts, answers, strict=True)]
    columns = zip(*(pieces for pieces, _ in rows), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    scores = [
        float(sum(value or 0.0 for value in values[shared:])) + _log_ending(pieces, rows)  # only the first is None
        for pieces, values in rows
    ]
    read = sum(len(pieces) for pieces, _ in rows)
    return [scores, [read, sum(len(answer.pieces) for answer in answers) - read]]


def _log_ending(pieces: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], tuple[float | None, ...]]]) -> float:
    """Log-probability that the model, after ``pieces``, does not continue as another of ``rows``."""
    n = len(pieces)
    continuations = {other[n]: values[n] or 0.0 for other, values in rows if len(other) > n and other[:n] == pieces}
    return math.log(max(_LEAST, 1.0 - sum(map(math.exp, continuations.values())))) if continuations else 0.0


def echoed_tokens(text: str, answer: Answer) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """Tokens of the echoed text and their log-probabilities, without the one token written after it.

    Raises:
        EndpointError: they are missing.
    """
    pieces = answer.pieces
    if not pieces or not answer.text.startswith(text):
        raise no_answer("an echo without the prompt and its log-probabilities")
    last = pieces[-1].replace("\u2581", " ").replace("\u0120", " ")
    # Without a new text there is no token, or an end token, which may or may not be listed.
    end = len(pieces) - (0 if answer.text == text and last and text.endswith(last) else 1)
    if any(value is None for value in answer.logprobs[1:end]):  # the first token has none
        raise no_answer("an echoed token without a log-probability")
    return pieces[:end], answer.logprobs[:end]


def valid_scores(value: Any, count: int) -> bool:
    """Whether a cached value is ``[scores, [tokens read, tokens written]]`` of ``count`` actions."""
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, list) for part in value)):
        return False
    scores, tokens = value
    numbers = all(isinstance(x, int | float) and abs(x) <= _LARGEST for x in scores)  # neither NaN nor infinite
    return numbers and len(scores) == count and len(tokens) == 2 and all(read_tokens(n) is not None for n in tokens)
