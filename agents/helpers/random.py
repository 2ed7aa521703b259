"""Ask at random: at each step with probability p. What a helper must beat at equal usage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.adapters import batch_size
from selfreg_gym.agents.helpers import _rows
from selfreg_gym.agents.helpers._choice import checked_intervention, deprecated_k, number_of, resolve
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Intervention
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["Random"]


class Random:
    """Help with probability ``p`` at each step, whatever is observed.

    The draws of a step depend on the helper's seed, the episode and the step, and never on the batch or on
    ``deterministic``. A step that is helped at some p is helped at every larger p (common random numbers).

    Args:
        p: probability of help, in [0, 1]. It is the knob that calibration turns.
        seed: seed of the draws, at least 0.
        intervention: which one is asked: a number from 1, its name, or None to draw one of all K with equal
            probability at each call. (Where the env's interventions are not known, as in a ``predict`` outside
            ``play``, None asks the first.)
        k: deprecated name of ``intervention``.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    takes_budget = True
    knob_bounds = (0.0, 1.0)

    def __init__(
        self, p: float = 0.5, seed: int = 0, *, intervention: int | str | None = None, k: int | None = None
    ) -> None:
        if isinstance(p, bool | str) or not 0 <= p <= 1:
            raise InvalidArgumentError(f"p is a probability in [0, 1], received {p!r}.")
        self.p, self.seed = float(p), _rows.checked_seed(seed)
        self.intervention = checked_intervention(deprecated_k(intervention, k, None), none=True)
        self._count: int | None = None  # K, where it is known

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, intervention: int | str | None = None
    ) -> Random:
        """The same helper for every run; a budget is met by calibrating ``knob``."""
        return cls(seed=seed, intervention=intervention)

    @property
    def knob(self) -> float:
        """What calibration turns: p. Usage does not decrease in it."""
        return self.p

    def with_knob(self, knob: float) -> Random:
        """The same helper, with the same draws, at another p."""
        other = copy.copy(self)
        other.p = float(knob)
        return other

    def for_interventions(self, interventions: Sequence[Intervention]) -> Random:
        """The helper for an env with these interventions (:class:`selfreg_gym.types.HelperPolicy`)."""
        bound = copy.copy(self)
        bound._count = len(interventions)
        if self.intervention is not None:
            bound.intervention = resolve(self, self.intervention, interventions)
        return bound

    def begin_episodes(self, state: Any, starts: np.ndarray, keys: np.ndarray) -> Any:
        """Set the random streams of the episodes that begin (:class:`selfreg_gym.types.HelperPolicy`)."""
        return EpisodeDraws.begin(state, starts, keys, seed=self.seed)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Draw for every row whether to ask, and which intervention; ``state`` holds the streams."""
        n = batch_size(observation, episode_start)
        draws = EpisodeDraws.at(state, 1 if n is None else n, episode_start, seed=self.seed)
        uniform, draws = draws.of_step(2)
        if self.intervention is None:
            asked: Any = 1 + np.floor(uniform[:, 1] * (1 if self._count is None else self._count)).astype(np.int64)
        else:
            asked = number_of(self, self.intervention)
        return _rows.answer(np.where((uniform[:, 0] < self.p) & (self._count != 0), asked, 0), n), draws

    def wrap(self, env: Any) -> Any:
        """Return the env itself: nothing is read."""
        return env

    def __repr__(self) -> str:
        return f"Random({self.p:g}, seed={self.seed}, intervention={self.intervention!r})"
