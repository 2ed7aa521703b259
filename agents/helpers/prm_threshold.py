"""Ask for help in states where the process reward model p(s) is below a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import AsksOne
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helper import Reference
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import check_name, check_number

if TYPE_CHECKING:
    from selfreg_gym.prm.model import ProcessRewardModel

__all__ = ["PRMThreshold"]

_SCOPES = ("state", "task")


class PRMThreshold(AsksOne):
    """Help where p(s) < threshold.

    With scope "state" (the default) it toggles: help raises p(s) above the threshold, so help stops, and p(s) falls
    again. With scope "task", p is read once, at the first observation, and the whole episode is helped or not.

    Args:
        prm: anything with ``score(observations) -> (N,)``.
        threshold: 0 never asks, above 1 always does.
        scope: "state" or "task".
        intervention: which one is asked: a number from 1, or its name.
        abort_below: abort where p(s) is below it, in an env with ``abort=True``; 0 never aborts.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument is out of range.
    """

    role, label, marker, colour = "baseline", "PRM threshold", "s", "pink"
    reference: Reference | None = "threshold"
    knob_bounds = (0.0, 1.0001)  # p(s) = 1 is helped at the upper end

    def __init__(
        self,
        prm: ProcessRewardModel,
        threshold: float = 0.5,
        *,
        scope: str = "state",
        intervention: int | str = 1,
        abort_below: float = 0.0,
    ) -> None:
        super().__init__(intervention)
        if not callable(getattr(prm, "score", None)):
            raise InvalidArgumentError(
                f"PRMThreshold needs a process reward model (score(observations)), received {type(prm).__name__}."
            )
        check_name("scope of a threshold", scope, _SCOPES)
        if isinstance(threshold, bool | str) or not np.isfinite(threshold):
            raise InvalidArgumentError(f"the threshold must be a number, received threshold={threshold!r}.")
        self.prm = prm
        self.threshold = float(threshold)
        self.scope = scope
        self.abort_below = check_number("abort_below, a probability of success,", abort_below, high=1.0)
        if self.abort_below and scope == "task":
            raise InvalidArgumentError("abort_below needs p(s) at every state: use scope='state'.")
        self._abort = 0  # the action that aborts

    def for_interventions(self, interventions: Sequence[Intervention]) -> Self:
        """The helper for these interventions; the action after theirs aborts."""
        return super().for_interventions(interventions)._replaced(_abort=len(interventions) + 1)

    @classmethod
    def from_run(
        cls,
        run: Path,
        *,
        budget: float | None = None,
        seed: int = 0,
        intervention: int | str = 1,
        abort_below: float = 0.0,
    ) -> PRMThreshold:
        """The run's process reward model at threshold 0.5; calibrate it to meet a budget."""
        from selfreg_gym.prm.model import ProcessRewardModel

        more: Any = {"abort_below": abort_below} if abort_below else {}
        return cls(ProcessRewardModel.from_pretrained(Path(run) / "prm"), intervention=intervention, **more)

    @property
    def knob(self) -> float:
        """The threshold; usage does not fall when it rises."""
        return self.threshold

    def with_knob(self, x: float) -> PRMThreshold:
        """The same helper at another threshold."""
        arguments: Any = {"scope": self.scope, "intervention": self.intervention, "abort_below": self.abort_below}
        return type(self)(self.prm, x, **arguments)._replaced(_abort=self._abort)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Compare p(s) with the threshold.

        ``state``: per task, ``(N,)`` whether the episode is helped, decided at its first observation; otherwise unused.
        """
        if self.scope == "state":
            p = np.asarray(self.prm.score(observations))
            actions = self.ask_where(p < self.threshold)
            return np.where(p < self.abort_below, self._abort, actions) if self.abort_below else actions, state
        helped = np.zeros(len(start), dtype=bool) if state is None else np.array(state, dtype=bool)
        if start.any():
            helped[start] = self.prm.score([observations[i] for i in np.flatnonzero(start)]) < self.threshold
        return self.ask_where(helped), helped

    def __repr__(self) -> str:
        asked = f"scope={self.scope!r}, intervention={self.intervention!r}"
        return f"PRMThreshold({self.prm!r}, {self.threshold:g}, {asked})"
