"""Log-probabilities of texts, read off prompts that a server echoes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from selfreg_gym.endpoint.answers import Answer, no_answer, read_tokens
from selfreg_gym.errors import EndpointError

__all__ = ["are_scores", "echo_body", "own_part", "scores_of"]

_LEAST = 1e-12  # of a probability, before its logarithm
_LARGEST = 1e15  # of a sum of log-probabilities, which are cut to 1e9 each


def echo_body(text: str) -> dict[str, Any]:
    """The request for the log-probabilities of a text: it is echoed, and one token, which is dropped, is written.

    ``max_tokens=0`` would do on some servers and means "as many as fit" on others.
    """
    return {"prompt": text, "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "seed": 0, "logprobs": 1, "echo": True}


def scores_of(texts: Sequence[str], answers: Sequence[Any]) -> list[Any]:
    """``[scores, [tokens read, written]]`` of the texts, each the sum of what follows their common beginning.

    Their common beginning (the prompt and the first tokens of the actions) has the same log-probability in each, so the
    place where the prompt ends need not be known: no tokenizer is needed, and a token across the border is counted
    correctly.

    Where one action begins with another ("look", "look at"), the shorter one counts only if the model does not continue
    as the longer one. The local scorer uses its end-of-text token for this; no server says which token that is, and a
    line break replaces it in some models only. Both agree for a model that writes an offered action and then ends.

    Raises:
        EndpointError: an answer failed.
    """
    for answer in answers:
        if isinstance(answer, EndpointError):
            raise answer
    rows = [own_part(text, answer) for text, answer in zip(texts, answers, strict=True)]
    shared = sum(
        1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*(row[0] for row in rows), strict=False))
    )
    ends = [_log_ending(pieces, rows) for pieces, _ in rows]
    scores = [
        float(sum(value or 0.0 for value in values[shared:])) + end  # no None is among these
        for (_, values), end in zip(rows, ends, strict=True)
    ]
    read = sum(len(pieces) for pieces, _ in rows)
    return [scores, [read, sum(len(answer.pieces) for answer in answers) - read]]


def _log_ending(pieces: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], tuple[float | None, ...]]]) -> float:
    """Logarithm of the probability that what begins with ``pieces`` does not continue as another of ``rows``."""
    n = len(pieces)
    onward = {other[n]: values[n] or 0.0 for other, values in rows if len(other) > n and other[:n] == pieces}
    return math.log(max(_LEAST, 1.0 - sum(map(math.exp, onward.values())))) if onward else 0.0


def own_part(text: str, answer: Answer) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """Pieces and values of the echoed text, without the one token that was written after it.

    Raises:
        EndpointError: they did not come.
    """
    pieces = answer.pieces
    if not pieces or not answer.text.startswith(text):
        raise no_answer("an echo without the prompt and its log-probabilities")
    if answer.text == text:  # nothing more, or an end mark, which may or may not be listed
        last = pieces[-1].replace("\u2581", " ").replace("\u0120", " ")
        extra = 0 if last and text.endswith(last) else 1
    else:
        extra = 1
    end = len(pieces) - extra
    if any(value is None for value in answer.logprobs[1:end]):  # the first token has none
        raise no_answer("an echoed token without a log-probability")
    return pieces[:end], answer.logprobs[:end]


def are_scores(value: Any, count: int) -> bool:
    """Whether a remembered value is ``[scores, [tokens read, written]]`` of ``count`` actions."""
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, list) for part in value)):
        return False
    scores, tokens = value
    numbers = all(isinstance(x, int | float) and abs(x) <= _LARGEST for x in scores)  # neither NaN nor infinite
    return numbers and len(scores) == count and len(tokens) == 2 and all(read_tokens(n) is not None for n in tokens)
