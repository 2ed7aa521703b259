"""Ask for help where a decision model behind ``/v1/systemone`` answers yes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._choice import AsksOne, best_action, check_costs
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.server import IMMATERIAL, Server, keyword_names
from selfreg_gym.endpoint.systemone import Question, probabilities
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.intervention_env.building import check_budget
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import is_number

__all__ = ["EndpointHelper"]

_LEAST = 1e-12  # lower bound of a probability, for its logarithm
_PLAIN = "Should somebody be asked for help now?"  # in keys of the cache: do not change
_WITH_BUDGET = "Budget {budget:.2f}. Help?"  # the last line of selfreg_gym.lm.prompts.helper_prompt


class EndpointHelper(AsksOne):
    """Help if the served model's probability of "yes" is above ``1 - threshold``.

    With ``options`` for K interventions, the action is the k in 0 .. K that maximises

        log(p_k / p_0) + logit(threshold) * cost_k / min cost    (0 for nohelp, k = 0),

    which for K = 1 is the rule above. The question is asked about every observation; calibration changes the threshold
    until usage meets a budget. A trained helper that was exported as a decision model reads the budget itself: pass
    ``budget``, and for several interventions ``options=("nohelp", "help", "help2", ...)``.

    Args:
        base_url: address of the API, including ``/v1``; default ``$OPENAI_BASE_URL``.
        threshold: in [0, 1]: 0 never asks for help, 1 asks unless "yes" has probability 0.
        instructions: the question, in the form of the served model's template; ``{budget}`` is replaced. Default:
            "Budget C. Help?" if there is a budget, else a question without one.
        budget: C, cost units per episode, for the question.
        levels: levels of a score ("how much is help needed"), lowest first; None asks yes or no.
        options: options of a choice: nohelp first, then one per intervention.
        costs: ``(K,)`` cost units per call, with ``options``; default: those of the env, without an env 1.
        intervention: the intervention to ask after "yes", a high level or the only help option: its number (from 1) or
            name.
        cache: path of the answer cache; one file per model.
        **server: fields of :class:`selfreg_gym.endpoint.Server`.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument out of range, or an unknown one.
    """

    label, marker, colour = "endpoint helper", "d", "indigo"
    asks_one = False  # a run compares it once, with the intervention of its config
    immaterial = IMMATERIAL
    knob_bounds = (0.0, 1.0001)  # help everywhere (also at p = 0) at the upper bound, nowhere at the lower one

    def __init__(
        self,
        base_url: str | None = None,
        *,
        threshold: float = 0.5,
        instructions: str | None = None,
        budget: float | None = None,
        levels: Sequence[str] | None = None,
        options: Sequence[str] | None = None,
        costs: Sequence[float] | None = None,
        intervention: int | str = 1,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        super().__init__(intervention)
        if not is_number(threshold) or not self.knob_bounds[0] <= threshold <= self.knob_bounds[1]:
            raise InvalidArgumentError(f"threshold must be a number in [0, 1], received {shown(threshold)}.")
        budget = None if budget is None else check_budget(budget)
        if instructions is not None and not isinstance(instructions, str):
            raise InvalidArgumentError(f"instructions must be a text or None, received {type(instructions).__name__}.")
        if instructions is None:
            instructions = _PLAIN if budget is None else _WITH_BUDGET
        if budget is None and "{budget" in instructions.replace("{{", ""):
            raise InvalidArgumentError(
                f"instructions with {{budget}} need a budget, received {instructions!r} without one: pass budget=."
            )
        try:
            asked = instructions.format(budget=budget)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InvalidArgumentError(
                f"instructions may contain {{budget}} (with budget=) and no other braces, received {instructions!r} "
                f"with budget={budget!r}: {error}."
            ) from None
        self.threshold = float(threshold)
        self.question = Question(asked, levels, options)
        self.costs = None if costs is None else checked_costs(costs, self._count)
        self._weights = self.costs or (1.0,) * self._count
        self.connection = Connection(
            Server.of(base_url, also_known=keyword_names(EndpointHelper), **server), cache=cache
        )

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """False: a helper that needs a server is compared only if the config names it."""
        return False

    @property
    def _count(self) -> int:
        """K, the number of interventions in the question."""
        return 1 if self.question.options is None else len(self.question.options) - 1

    def for_interventions(self, interventions: Sequence[Intervention]) -> EndpointHelper:
        """The helper with the costs of these interventions, unless ``costs`` was given.

        Raises:
            InvalidArgumentError: the options or the given costs do not fit these interventions.
        """
        if self._count == 1:
            return super().for_interventions(interventions)
        check_costs(self, self._count, self.costs, interventions)
        return self._replaced(_weights=tuple(one.cost for one in interventions))

    @property
    def knob(self) -> float:
        """The threshold."""
        return self.threshold

    def with_knob(self, x: float) -> EndpointHelper:
        """The same helper at another threshold, with the same cache of answers."""
        return self._replaced(threshold=float(x))

    def decide(
        self, observations: Sequence[str], state: Any, start: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], Any]:
        """Actions for N observations; the server is asked about each.

        Raises:
            EndpointError: a request failed at every attempt. No default action replaces the answer.
        """
        found = probabilities(self.connection, self.question, observations)
        if self._count == 1:
            return self.ask_where(found[:, 1] > 1.0 - self.threshold), state
        if self.threshold <= 0.0:
            return np.zeros(len(start), dtype=np.int64), state
        odds = np.log(np.maximum(found, _LEAST))
        knob = _logit(self.threshold) / min(self._weights)
        return best_action(odds[:, 1:] - odds[:, :1], knob, self._weights), state

    def __repr__(self) -> str:
        return f"EndpointHelper({self.connection!r}, {self.threshold:g}, {self.question.instructions!r})"


def _logit(threshold: float) -> float:
    """``log(t / (1 - t))``; from 1 on, larger than any difference of log-probabilities."""
    return float(np.log(threshold / (1.0 - threshold))) if threshold < 1.0 else 1e6
