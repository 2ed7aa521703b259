"""Typed questions to a decision model behind ``/v1/systemone``: yes or no, and scores.

The format is that of ``transformers serve`` (``transformers.decision``): a ``state``, and named questions of the types
``noul`` (yes or no), ``choice`` and ``score``; each answer carries probabilities and no text is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.endpoint.answers import no_answer
from selfreg_gym.endpoint.connection import SYSTEMONE, Connection, Request
from selfreg_gym.errors import EndpointError, InvalidArgumentError

__all__ = ["Question", "probabilities"]

_NAME = "answer"


@dataclass(frozen=True, slots=True)
class Question:
    """One question with a number in [0, 1] as its answer.

    Attributes:
        instructions: the question itself, as the served model's template expects it.
        levels: None asks yes or no, and the number is the probability of yes; else at least two levels, lowest first,
            and the number is the expected level, the lowest being 0 and the highest 1.
    """

    instructions: str
    levels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.levels is not None and len(self.levels) < 2:
            raise InvalidArgumentError(f"a score has at least two levels, lowest first; received {self.levels!r}.")

    def body(self, state: str) -> dict[str, Any]:
        """The request about one state."""
        question: dict[str, Any] = {"type": "noul", "instructions": self.instructions}
        if self.levels is not None:
            question = {"type": "score", "instructions": self.instructions, "criteria": list(self.levels)}
        return {"state": state, "questions": {_NAME: question}}

    def read(self, answers: dict[str, Any]) -> float:
        """The number.

        Raises:
            EndpointError: there is none.
        """
        answer = answers.get(_NAME, {})
        value = answer.get("noul") if self.levels is None else answer.get("score")
        top = 1 if self.levels is None else len(self.levels) - 1
        if not isinstance(value, int | float) or not math.isfinite(value) or not -1e-6 <= value <= top + 1e-6:
            raise no_answer(f"{'noul' if self.levels is None else 'score'} is {value!r}, not a number from 0 to {top}")
        return min(1.0, max(0.0, value / top))


def probabilities(connection: Connection, question: Question, states: Sequence[str]) -> np.ndarray:
    """``(N,)`` the answers about N states.

    Raises:
        EndpointError: one of them failed for good. There is no number that could stand for it.
    """
    if not len(states):
        return np.empty(0)
    found = connection.ask([Request(SYSTEMONE, question.body(state)) for state in states])
    values = []
    for answer in found:
        if isinstance(answer, EndpointError):
            raise answer
        values.append(question.read(answer[0]))
    return np.array(values)
