"""Ask at random with probability p at each step: the baseline at equal usage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_intervention, checked_seed, deprecated_k
from selfreg_gym.agents.helpers._choice import number_of, resolve
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helper import Helper
from selfreg_gym.playing.random_help import checked_shares
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Intervention
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["Random"]


class Random(Helper):
    """Ask with probability ``p`` at each step, for any observation.

    The draws of a step depend on the helper's seed, the episode and the step, and never on the batch or on
    ``deterministic``. A step that is helped at some p is helped at every larger p (common random numbers).

    Args:
        p: probability of help, in [0, 1]; the knob that calibration moves.
        seed: seed of the draws, at least 0.
        intervention: which one is asked: a number from 1, its name, or None to draw one of all K with equal
            probability or by ``shares``. (Where the interventions of the env are not known, as in a ``predict``
            outside ``run_episodes``, None asks the first.)
        shares: ``(K,)`` shares of the interventions in the calls, with the sum 1, if ``intervention`` is None; in a run
            by default those of its collection (``collect.help_shares``). None: equal shares.
        k: deprecated name of ``intervention``.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    role, reference, label, marker, colour = "baseline", "random", "random help", "x", "grey"
    takes_budget = True
    knob_bounds = (0.0, 1.0)
    seed: int

    def __init__(
        self, p: float = 0.5, seed: int = 0, *, intervention: int | str | None = None,
        shares: Sequence[float] | None = None, k: int | None = None,
    ) -> None:  # fmt: skip
        if isinstance(p, bool | str) or not 0 <= p <= 1:
            raise InvalidArgumentError(f"p must be a probability in [0, 1], received {p!r}.")
        self.p, self.seed = float(p), checked_seed(seed)
        intervention = deprecated_k(intervention, k, None)
        self.intervention = None if intervention is None else checked_intervention(intervention)
        self.shares = checked_shares(shares)
        if self.shares is not None and self.intervention is not None:
            raise InvalidArgumentError("random help takes shares of all interventions or one intervention, not both.")
        self._count: int | None = None  # K, where it is known

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, intervention: int | str | None = None,
        shares: Sequence[float] | None = None,
    ) -> Random:  # fmt: skip
        """Random help with the shares of the run's collection; calibration of the knob meets a budget."""
        if intervention is None and shares is None and (run / "rollouts.sqlite").is_file():
            with Rollouts.open(run / "rollouts.sqlite", check=False) as rollouts:
                shares = rollouts.spec.get("help_shares")
        return cls(seed=seed, intervention=intervention, shares=shares)

    @property
    def knob(self) -> float:
        """The probability p."""
        return self.p

    def with_knob(self, knob: float) -> Random:
        """The same helper, with the same draws, at another p."""
        return self._replaced(p=float(knob))

    def for_interventions(self, interventions: Sequence[Intervention]) -> Random:
        """The helper with K known, and the number of its intervention in place of its name.

        Raises:
            InvalidArgumentError: another number of shares than interventions.
        """
        if self.shares is not None:
            checked_shares(self.shares, len(interventions))
        asked = None if self.intervention is None else resolve(self, self.intervention, interventions)
        return self._replaced(_count=len(interventions), intervention=asked)

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> EpisodeDraws:
        """Set the random streams of the episodes that begin (:meth:`selfreg_gym.Helper.begin_episodes`)."""
        return EpisodeDraws.begin(state, starts, keys, seed=self.seed)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Draw for every observation whether to ask, and which intervention; ``state`` holds the random streams."""
        uniform, draws = EpisodeDraws.at(state, len(start), start, seed=self.seed).of_step(2)
        asked: Any
        if self.intervention is None and self.shares is not None:
            asked = 1 + np.searchsorted(np.cumsum(self.shares)[:-1], uniform[:, 1], side="right")
        elif self.intervention is None:
            asked = 1 + np.floor(uniform[:, 1] * (1 if self._count is None else self._count)).astype(np.int64)
        else:
            asked = number_of(self, self.intervention)
        return np.where((uniform[:, 0] < self.p) & (self._count != 0), asked, 0), draws

    def __repr__(self) -> str:
        return f"Random({self.p:g}, seed={self.seed}, intervention={self.intervention!r})"
