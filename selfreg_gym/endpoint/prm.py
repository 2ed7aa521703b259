"""``EndpointPRM``: a process reward model behind ``/v1/systemone``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.server import Server, keyword_names
from selfreg_gym.endpoint.systemone import Question, shares

__all__ = ["EndpointPRM"]


class EndpointPRM:
    """p(s) from a server: what ``PRMReward``, ``PRMObservation`` and the helper ``prm-threshold`` take as ``prm``.

    Args:
        base_url: of the API, ``/v1`` included; None is the one that ``$OPENAI_BASE_URL`` names.
        instructions: the question, as the served model's template expects it.
        levels: None asks yes or no; else the levels of a score, lowest first.
        cache: file in which answers are kept; one per model.
        **server: of :class:`selfreg_gym.endpoint.Server`.

    Raises:
        InvalidArgumentError, UnknownNameError: as for :meth:`selfreg_gym.endpoint.Server.of`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        instructions: str = "Will the task be done if nobody helps?",
        levels: Sequence[str] | None = None,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        self.question = Question(instructions, levels)
        self.connection = Connection(Server.of(base_url, beside=keyword_names(EndpointPRM), **server), cache=cache)

    def score(self, observations: Sequence[str]) -> np.ndarray:
        """``(N,)`` probabilities of success.

        Raises:
            EndpointError: the server failed for good.
        """
        return shares(self.connection, self.question, observations)[:, 1]

    def __deepcopy__(self, memo: dict[int, Any]) -> EndpointPRM:
        return self

    def __repr__(self) -> str:
        return f"EndpointPRM({self.connection!r}, {self.question.instructions!r})"
