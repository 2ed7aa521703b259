"""The result of a calibration: the helper at another knob, or a mixture of two knobs; and ``calibration.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.evaluation.playing import reseeded
from selfreg_gym.helper import Helper, HelperDescription
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.episode_draws import EpisodeDraws
from selfreg_gym.utils.json_text import read_object

__all__ = ["CoinMixture", "apply_calibration", "load_calibrations"]


class CoinMixture(Helper):
    """Two helpers and a coin per episode: ``high`` with probability ``weight``, else ``low``.

    It reaches any usage on the line between the two, which no fixed threshold does inside a jump. Both helpers see
    every step, so that their memory is complete. The coin is a function of ``seed`` and the episode
    (:meth:`begin_episodes`), for any batch size.

    Args:
        low, high: helpers that read the same observations.
        weight: probability of ``high``, in [0, 1].
        seed: of the coins.

    Raises:
        InvalidArgumentError: the weight is out of range.
    """

    seed: int

    def __init__(self, low: Helper, high: Helper, *, weight: float, seed: int = 0) -> None:
        if not 0.0 <= weight <= 1.0:
            raise InvalidArgumentError(f"the weight of a mixture must be in [0, 1], received {weight!r}.")
        self.low, self.high, self.weight = as_helper(low), as_helper(high), float(weight)
        self.seed = int(seed)
        self.intervention, self.knows_tasks = self.low.intervention, self.low.knows_tasks

    @property
    def description(self) -> HelperDescription:
        """That of its parts, which are the same helper at two knobs."""
        return self.low.description

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the coins of the episodes that begin (:meth:`selfreg_gym.Helper.begin_episodes`)."""
        draws, low_state, high_state = (None, None, None) if state is None else state
        low_state = self.low.begin_episodes(low_state, starts, keys)
        high_state = self.high.begin_episodes(high_state, starts, keys)
        return EpisodeDraws.begin(draws, starts, keys, seed=self.seed), low_state, high_state

    def for_interventions(self, interventions: Sequence[Intervention]) -> CoinMixture:
        """The mixture for an env with these interventions."""
        low, high = (helper.for_interventions(interventions) for helper in (self.low, self.high))
        return CoinMixture(low, high, weight=self.weight, seed=self.seed)

    def episode_mixture(self) -> list[tuple[float, Helper]]:
        """The two helpers with their probabilities."""
        return [(1.0 - self.weight, self.low), (self.weight, self.high)]

    def predict(
        self, observation: Any, state: Any = None, episode_start: np.ndarray | None = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Follow the coin of each episode; it is drawn also when ``deterministic``."""
        draws, low_state, high_state = (None, None, None) if state is None else state
        low, low_state = self.low.predict(observation, low_state, episode_start, deterministic)
        high, high_state = self.high.predict(observation, high_state, episode_start, deterministic)
        draws = EpisodeDraws.at(draws, np.atleast_1d(low).shape[0], episode_start, seed=self.seed)
        coins = draws.of_episode() < self.weight
        if self.low.last_unseen is not None and self.high.last_unseen is not None:
            self.last_unseen = np.where(coins, self.high.last_unseen, self.low.last_unseen)
        actions = np.where(coins, high, low)
        return (actions if np.ndim(low) else int(actions[0])), (draws, low_state, high_state)

    def wrap(self, env: Any) -> Any:
        """Both helpers read the same observations."""
        return self.low.wrap(env)

    @property
    def expected_usage(self) -> float | None:
        """That of the two parts, weighted; None if one of them does not say."""
        return self._weighted(self.low.expected_usage, self.high.expected_usage)

    @property
    def expected_success(self) -> float | None:
        """That of the two parts, weighted; None if one of them does not say."""
        return self._weighted(self.low.expected_success, self.high.expected_success)

    def _weighted(self, low: float | None, high: float | None) -> float | None:
        return None if low is None or high is None else (1 - self.weight) * low + self.weight * high

    def with_seed(self, seed: int) -> CoinMixture:
        """The same mixture with the coins, and the draws of its parts, from another seed."""
        low, high = (reseeded(helper, seed, i) for i, helper in enumerate((self.low, self.high)))
        return CoinMixture(low, high, weight=self.weight, seed=seed)

    def __repr__(self) -> str:
        return f"CoinMixture({self.low!r}, {self.high!r}, weight={self.weight:.3f})"


def apply_calibration(helper: Helper, calibration: Mapping[str, Any]) -> Helper:
    """The helper at the knob, or the mixture, that a calibration (``helper.calibration``) found for it."""
    if "weight" in calibration:
        low, high = (helper.with_knob(x) for x in calibration["knobs"])
        result: Helper = CoinMixture(low, high, weight=calibration["weight"])
    else:
        result = helper.with_knob(calibration["knob"])
    result.calibration = dict(calibration)
    return result


def load_calibrations(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a run's ``calibration.json``, also of earlier versions: a calibration by helper key.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    remedy = "calibrate again with selfreg evaluate --redo --out RUN"
    found = read_object(path, what="calibrations by helper key", remedy=remedy)
    for key, one in found.items():
        numbers = one if isinstance(one, dict) else {}
        knobs = numbers.get("knobs", [numbers.get("knob")]) if "weight" in numbers else [numbers.get("knob")]
        needed = [*(knobs if isinstance(knobs, list) and len(knobs) == 1 + ("weight" in numbers) else [None])]
        needed += [numbers.get("usage"), numbers.get("weight", 0.0)]
        if not all(map(is_number, needed)):
            raise CheckpointError(
                f"{str(path)!r}: calibration {key!r} needs a finite usage and a knob, or two knobs and a weight, "
                f"received {one!r:.200}: {remedy}."
            )
    return found
