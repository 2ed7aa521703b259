"""Ask for help where a decision model behind ``/v1/systemone`` says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.agents.helpers import _rows
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.server import IMMATERIAL, Server
from selfreg_gym.endpoint.systemone import Question, shares
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import HelperPolicy

__all__ = ["EndpointHelper"]

_PLAIN = "Should somebody be asked for help now?"
_WITH_BUDGET = "Budget {budget:.2f}. Help?"  # the last line of selfreg_gym.lm.prompts.helper_prompt


class EndpointHelper(HelperPolicy):
    """Help where the served model answers yes with a probability above ``1 - threshold``.

    The question is asked about every observation; ``calibrate`` moves the threshold until usage meets a budget. A
    helper of this project that was exported as a decision model reads the budget itself: give it ``budget``, and with
    several interventions ``options=("nohelp", "help", "help2", ...)``.

    Args:
        base_url: of the API, ``/v1`` included; None is the one that ``$OPENAI_BASE_URL`` names.
        threshold: in [0, 1]: 0 never asks, 1 asks wherever yes is not impossible.
        instructions: the question, as the served model's template expects it; ``{budget}`` is replaced. By default
            "Budget C. Help?" where there is a budget, else a plain question.
        budget: cost units per episode, for a question that names it.
        levels: of a score ("how much is help needed"), lowest first; None asks yes or no.
        options: of a choice: nohelp first, then one per intervention, of which the likeliest is asked.
        cache: file in which answers are kept; one per model.
        **server: of :class:`selfreg_gym.endpoint.Server`.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument out of range, or one that does not exist.
    """

    takes_budget = False
    immaterial = IMMATERIAL
    knob_bounds = (0.0, 1.0001)  # p = 0 is helped at the upper end, p = 1 is not at the lower one

    def __init__(
        self,
        base_url: str | None = None,
        *,
        threshold: float = 0.5,
        instructions: str | None = None,
        budget: float | None = None,
        levels: Sequence[str] | None = None,
        options: Sequence[str] | None = None,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        if not number or not self.knob_bounds[0] <= threshold <= self.knob_bounds[1]:
            raise InvalidArgumentError(f"threshold must be a number in [0, 1], received {repr(threshold)[:100]}.")
        if budget is not None and not (
            isinstance(budget, int | float) and not isinstance(budget, bool) and 0 <= budget <= 1e12
        ):
            raise InvalidArgumentError(
                "budget must be a number of at least 0 (cost units per episode), or None; received "
                f"{repr(budget)[:100]}."
            )
        if instructions is not None and not isinstance(instructions, str):
            raise InvalidArgumentError(f"instructions must be a text or None, received {type(instructions).__name__}.")
        if instructions is None:
            instructions = _PLAIN if budget is None else _WITH_BUDGET
        if budget is None and "{budget" in instructions.replace("{{", ""):
            raise InvalidArgumentError(
                f"instructions name a budget, received {instructions!r} without one: give budget=."
            )
        try:
            asked = instructions.format(budget=budget)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InvalidArgumentError(
                f"instructions may hold {{budget}} (with budget=) and no other braces, received {instructions!r} "
                f"with budget={budget!r}: {error}."
            ) from None
        self.threshold = float(threshold)
        self.question = Question(asked, levels, options)
        self.connection = Connection(Server.of(base_url, **server), cache=cache)

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """No run makes a server: it takes part only where the config names it."""
        return False

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
            EndpointError: the server failed for good, which is neither help nor nohelp.
        """
        n = None if isinstance(observation, str) else len(observation)
        texts = [observation] if n is None else list(observation)
        found = shares(self.connection, self.question, texts)
        helped = found[:, 1:].sum(axis=1) > 1.0 - self.threshold
        return _rows.answer(np.where(helped, 1 + found[:, 1:].argmax(axis=1), 0), n), state

    def wrap(self, env: Any) -> Any:
        """It reads what the actor reads."""
        return env

    def __deepcopy__(self, memo: dict[int, Any]) -> EndpointHelper:
        return self

    def __repr__(self) -> str:
        return f"EndpointHelper({self.connection!r}, {self.threshold:g}, {self.question.instructions!r})"
