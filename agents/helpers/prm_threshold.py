"""Ask for help where the process reward model says that the actor will probably fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.agents.helpers._choice import AsksOne, checked_intervention
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError

if TYPE_CHECKING:
    from selfreg_gym.prm.model import ProcessRewardModel

__all__ = ["PRMThreshold"]

_SCOPES = ("state", "task")


class PRMThreshold(AsksOne):
    """Help where p(s) < threshold.

    Per state (the default) this toggles: help raises p(s) above the threshold, so help stops, p(s) falls again. Per
    task p is read once, at the first observation, and the whole episode is helped or not ("self-regulation").

    Args:
        prm: anything with ``score(observations) -> (N,)``.
        threshold: 0 never asks, above 1 always does.
        scope: "state" or "task".
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument is out of range.
    """

    takes_budget = False
    knob_bounds = (0.0, 1.0001)  # p(s) = 1 is helped at the upper end

    def __init__(
        self, prm: ProcessRewardModel, threshold: float = 0.5, *, scope: str = "state", intervention: int | str = 1
    ) -> None:
        if not callable(getattr(prm, "score", None)):
            raise InvalidArgumentError(
                f"PRMThreshold needs a process reward model (score(observations)), received {type(prm).__name__}."
            )
        if scope not in _SCOPES:
            raise UnknownNameError("scope of a threshold", scope, _SCOPES)
        if isinstance(threshold, bool | str) or not np.isfinite(threshold):
            raise InvalidArgumentError(f"the threshold must be a number, received threshold={threshold!r}.")
        self.prm = prm
        self.threshold = float(threshold)
        self.scope = scope
        self.intervention = checked_intervention(intervention)  # type: ignore[assignment]

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, intervention: int | str = 1
    ) -> PRMThreshold:
        """The run's process reward model at threshold 0.5; calibrate it to meet a budget."""
        from selfreg_gym.prm.model import ProcessRewardModel

        return cls(ProcessRewardModel.from_pretrained(Path(run) / "prm"), intervention=intervention)

    @property
    def knob(self) -> float:
        """The threshold; usage does not fall when it rises."""
        return self.threshold

    def with_knob(self, x: float) -> PRMThreshold:
        """The same helper at another threshold."""
        return type(self)(self.prm, x, scope=self.scope, intervention=self.intervention)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """See :class:`selfreg_gym.types.HelperPolicy`; the rule is deterministic in any case.

        ``state`` is None per state. Per task it is the bool ``(N,)`` of who is helped, decided where ``episode_start``
        is True (or where there is no state yet).
        """
        single = isinstance(observation, str)
        texts = [observation] if single else list(observation)
        if self.scope == "state":
            helped = self.prm.score(texts) < self.threshold
        else:
            begun = np.ones(len(texts), dtype=bool)
            if state is not None and episode_start is not None:
                begun = np.asarray(episode_start, dtype=bool).reshape(len(texts))
            elif state is not None:
                begun[:] = False
            helped = np.zeros(len(texts), dtype=bool) if state is None else np.array(state, dtype=bool)
            if begun.any():
                helped[begun] = self.prm.score([texts[i] for i in np.flatnonzero(begun)]) < self.threshold
            state = helped
        actions = np.where(helped, self.action, 0).astype(np.int64)
        return (actions[0] if single else actions), state

    def wrap(self, env: Any) -> Any:
        """It reads what the actor reads."""
        return env

    def __deepcopy__(self, memo: dict[int, Any]) -> PRMThreshold:
        return self

    def __repr__(self) -> str:
        asked = f"scope={self.scope!r}, intervention={self.intervention!r}"
        return f"PRMThreshold({self.prm!r}, {self.threshold:g}, {asked})"
