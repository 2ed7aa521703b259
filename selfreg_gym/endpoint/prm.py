"""``EndpointPRM``: a process reward model behind ``/v1/systemone``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.server import Server, keyword_names
from selfreg_gym.endpoint.systemone import Question, probabilities

__all__ = ["EndpointPRM"]


class EndpointPRM:
    """p(s) from a server, for everything with an argument ``prm`` (``PRMReward``, ``PRMObservation``, helpers).

    Args:
        base_url: address of the API, including ``/v1``; default ``$OPENAI_BASE_URL``.
        instructions: the question, in the form of the served model's template.
        levels: levels of a score, lowest first; None asks yes or no.
        cache: path of the answer cache; one file per model.
        **server: fields of :class:`selfreg_gym.endpoint.Server`.

    Raises:
        InvalidArgumentError, UnknownNameError: as :meth:`selfreg_gym.endpoint.Server.of`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        instructions: str = "Will the task be done if nobody helps?",  # in keys of the cache: do not change
        levels: Sequence[str] | None = None,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        self.question = Question(instructions, levels)
        self.connection = Connection(Server.of(base_url, also_known=keyword_names(EndpointPRM), **server), cache=cache)

    def score(self, observations: Sequence[str]) -> np.ndarray:
        """P(success) of N observations, ``(N,)``.

        Raises:
            EndpointError: a request failed at every attempt.
        """
        return probabilities(self.connection, self.question, observations)[:, 1]

    def __deepcopy__(self, memo: dict[int, Any]) -> EndpointPRM:
        return self

    def __repr__(self) -> str:
        return f"EndpointPRM({self.connection!r}, {self.question.instructions!r})"
