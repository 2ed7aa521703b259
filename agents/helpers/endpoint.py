"""Ask for help where a decision model behind ``/v1/systemone`` says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.agents.helpers import _rows
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.server import IMMATERIAL, Server
from selfreg_gym.endpoint.systemone import Question, probabilities
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import HelperPolicy

__all__ = ["EndpointHelper"]


class EndpointHelper(HelperPolicy):
    """Help where the served model answers yes with a probability above ``1 - threshold``.

    The question is asked about every observation; ``calibrate`` moves the threshold until usage meets a budget. A model
    that reads the budget itself is told it in the question (``instructions="Budget {budget:.2f}. Help?"``).

    Args:
        base_url: of the API, ``/v1`` included; None is the one that ``$OPENAI_BASE_URL`` names.
        threshold: in [0, 1]: 0 never asks, 1 asks wherever yes is not impossible.
        instructions: the question, as the served model's template expects it; ``{budget}`` is replaced.
        budget: cost units per episode, for a question that names it.
        levels: None asks yes or no; else the levels of a score ("how much is help needed"), lowest first.
        intervention: which intervention is asked, from 1.
        cache: file in which answers are kept; one per model.
        **server: of :class:`selfreg_gym.endpoint.Server`.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument out of range, or one that does not exist.
    """

    takes_budget = False
    only_if_named = True  # it needs a server, so a run that names no helpers goes without it
    immaterial = IMMATERIAL
    knob_bounds = (0.0, 1.0001)  # p = 0 is helped at the upper end, p = 1 is not at the lower one

    def __init__(
        self,
        base_url: str | None = None,
        *,
        threshold: float = 0.5,
        instructions: str = "Should somebody be asked for help now?",
        budget: float | None = None,
        levels: Sequence[str] | None = None,
        intervention: int = 1,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        if not self.knob_bounds[0] <= threshold <= self.knob_bounds[1]:
            raise InvalidArgumentError(f"a threshold on a probability lies in [0, 1], received {threshold!r}.")
        if intervention < 1:
            raise InvalidArgumentError(f"the first intervention is 1, received intervention={intervention!r}.")
        try:
            asked = instructions.format(budget=budget)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InvalidArgumentError(
                f"instructions may hold {{budget}} (with budget=) and no other braces, received {instructions!r} "
                f"with budget={budget!r}: {error}."
            ) from None
        self.threshold, self.intervention = float(threshold), int(intervention)
        self.question = Question(asked, None if levels is None else tuple(levels))
        self.connection = Connection(Server.of(base_url, **server), cache=cache)

    @property
    def knob(self) -> float:
        """The threshold; usage does not fall when it rises."""
        return self.threshold

    def with_knob(self, x: float) -> EndpointHelper:
        """The same helper at another threshold; what the server answered is shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.threshold = float(x)
        return other

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """See :class:`selfreg_gym.types.HelperPolicy`; the rule is deterministic in any case.

        Raises:
            EndpointError: the server failed for good; that is neither help nor nohelp.
        """
        n = None if isinstance(observation, str) else len(observation)
        texts = [observation] if n is None else list(observation)
        helped = probabilities(self.connection, self.question, texts) > 1.0 - self.threshold
        return _rows.answer(np.where(helped, self.intervention, 0), n), state

    def wrap(self, env: Any) -> Any:
        """It reads what the actor reads."""
        return env

    def __deepcopy__(self, memo: dict[int, Any]) -> EndpointHelper:
        return self

    def __repr__(self) -> str:
        return f"EndpointHelper({self.connection!r}, {self.threshold:g}, {self.question.instructions!r})"
