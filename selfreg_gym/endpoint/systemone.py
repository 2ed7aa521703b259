"""Typed questions to a decision model behind ``/v1/systemone``: yes or no, a score, a choice.

The format is that of ``transformers serve`` (``transformers.decision``): a ``state``, and questions by name, of the
types ``noul`` (yes or no), ``score`` and ``choice``. The answers are probabilities; no text is generated. The process
reward model and the trained helper of this package are exported in this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.endpoint.answers import no_answer, type_of
from selfreg_gym.endpoint.connection import SYSTEMONE, Connection, Request
from selfreg_gym.errors import EndpointError, InvalidArgumentError, shown

__all__ = ["Question", "in_range", "probabilities"]

_NAME = "answer"


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is a probability for each of R outcomes.

    Without levels and options the outcomes are no and yes.

    Attributes:
        instructions: the question, in the form of the served model's template.
        levels: of a score, lowest first. The outcomes are the lowest and the highest level, with the probabilities
            that give the expected level.
        options: of a choice; they are the outcomes.
    """

    instructions: str
    levels: Sequence[str] | None = None
    options: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.instructions, str) or not self.instructions.strip():
            raise InvalidArgumentError(f"instructions must be a non-empty text, received {shown(self.instructions)}.")
        if self.levels is not None and self.options is not None:
            raise InvalidArgumentError(
                "a question has levels (a score), options (a choice) or neither; received both: leave out one of them."
            )
        for name, several in (("levels", self.levels), ("options", self.options)):
            if several is None:
                continue
            valid = isinstance(several, Sequence) and not isinstance(several, str | bytes)
            valid = valid and all(isinstance(text, str) and text for text in several)
            if not valid or len(set(several)) < max(2, len(several)):
                rule = "a list of at least two different texts"
                raise InvalidArgumentError(f"{name} must be {rule}, received {shown(several)}.")
            object.__setattr__(self, name, tuple(several))

    def body(self, state: str) -> dict[str, Any]:
        """The request for one state."""
        question: dict[str, Any] = {"type": "noul", "instructions": self.instructions}
        if self.levels is not None:
            question |= {"type": "score", "criteria": list(self.levels)}
        elif self.options is not None:
            question |= {"type": "choice", "criteria": dict.fromkeys(self.options)}
        return {"state": state, "questions": {_NAME: question}}

    def read(self, answers: dict[str, Any]) -> list[float]:
        """R probabilities, which sum to 1.

        Raises:
            EndpointError: a probability is missing or invalid.
        """
        answer = answers.get(_NAME, {})
        if self.options is not None:
            found = answer.get("probabilities")
            values: list[Any] = [found.get(option) for option in self.options] if isinstance(found, dict) else []
            if not values or not all(in_range(value, 1) for value in values) or not sum(values) > 0:
                raise no_answer(f"no probability for each of the {len(self.options)} options")
            return [value / sum(values) for value in values]
        kind, top = ("noul", 1) if self.levels is None else ("score", len(self.levels) - 1)
        value = answer.get(kind)
        if not in_range(value, top):
            raise no_answer(f"{kind} must be a number from 0 to {top}, received {type_of(value)}")
        share = min(1.0, max(0.0, value / top))
        return [1.0 - share, share]


def in_range(value: Any, top: int) -> bool:
    """Whether a value from a server is a number in [0, top], up to rounding; False for NaN and bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e-6 <= value <= top + 1e-6


def probabilities(connection: Connection, question: Question, states: Sequence[str]) -> np.ndarray:
    """Probabilities of R outcomes for N states, ``(N, R)``.

    Raises:
        EndpointError: one of the requests failed at every attempt.
    """
    requests = [Request(SYSTEMONE, question.body(one), check=lambda answer: question.read(answer[0])) for one in states]
    rows = []
    for answer in connection.ask(requests) if requests else ():
        if isinstance(answer, EndpointError):
            raise answer
        rows.append(question.read(answer[0]))
    return np.array(rows).reshape(len(states), len(question.options or (0, 1)))
