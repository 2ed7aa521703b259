"""The result of a calibration: the helper at another knob, or a coin between two knobs; and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.evaluation.playing import reseeded
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.episode_draws import EpisodeDraws
from selfreg_gym.utils.json_text import read_object

__all__ = ["CoinMixture", "apply_calibration", "load_calibrations"]


class CoinMixture:
    """Two helpers and a coin per episode: ``high`` with probability ``weight``, else ``low``.

    Any usage and success on the line between the two is reached, which no fixed threshold can do inside a jump. Both
    see every step, so that a helper with memory is not interrupted. The coin is a function of ``seed`` and the episode
    (:meth:`begin_episodes`), so it is the same whatever the batch.

    Args:
        low, high: helpers that read the same observations.
        weight: probability of ``high``, in [0, 1].
        seed: of the coins.

    Raises:
        InvalidArgumentError: the weight is out of range.
    """

    def __init__(self, low: Any, high: Any, *, weight: float, seed: int = 0) -> None:
        if not 0.0 <= weight <= 1.0:
            raise InvalidArgumentError(f"the weight of a mixture lies in [0, 1], received {weight!r}.")
        self.low, self.high, self.weight = low, high, float(weight)
        self.last_unseen: np.ndarray | None = None
        self.seed = int(seed)

    def begin_episodes(self, state: Any, starts: np.ndarray, keys: np.ndarray) -> Any:
        """Set the coins of the episodes that begin (:class:`selfreg_gym.types.HelperPolicy`)."""
        draws, low_state, high_state = (None, None, None) if state is None else state
        low_state, high_state = (
            helper.begin_episodes(part, starts, keys) if hasattr(helper, "begin_episodes") else part
            for helper, part in ((self.low, low_state), (self.high, high_state))
        )
        return EpisodeDraws.begin(draws, starts, keys, seed=self.seed), low_state, high_state

    def for_interventions(self, interventions: Sequence[Any]) -> CoinMixture:
        """The mixture for an env with these interventions (:class:`selfreg_gym.types.HelperPolicy`)."""
        low, high = (
            helper.for_interventions(interventions) if hasattr(helper, "for_interventions") else helper
            for helper in (self.low, self.high)
        )
        return CoinMixture(low, high, weight=self.weight, seed=self.seed)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Follow each episode's coin; the coin is drawn where an episode begins, also when ``deterministic``."""
        draws, low_state, high_state = (None, None, None) if state is None else state
        low, low_state = self.low.predict(observation, low_state, episode_start, deterministic)
        high, high_state = self.high.predict(observation, high_state, episode_start, deterministic)
        draws = EpisodeDraws.at(draws, np.atleast_1d(low).shape[0], episode_start, seed=self.seed)
        coins = draws.of_episode() < self.weight
        low_unseen, high_unseen = (getattr(helper, "last_unseen", None) for helper in (self.low, self.high))
        if low_unseen is not None and high_unseen is not None:
            self.last_unseen = np.where(coins, high_unseen, low_unseen)
        actions = np.where(coins, high, low)
        return (actions if np.ndim(low) else int(actions[0])), (draws, low_state, high_state)

    def wrap(self, env: Any) -> Any:
        """Both helpers read the same observations."""
        return self.low.wrap(env) if hasattr(self.low, "wrap") else env

    @property
    def intervention(self) -> Any:
        """Which intervention its parts ask, where they always ask the same one; else None."""
        return getattr(self.low, "intervention", None)

    @property
    def knows_tasks(self) -> bool:
        """Whether its parts are privileged."""
        return bool(getattr(self.low, "knows_tasks", False))

    @property
    def expected_usage(self) -> float | None:
        """What the two parts promise, mixed; None if one of them promises nothing."""
        return self._promise("expected_usage")

    @property
    def expected_success(self) -> float | None:
        """What the two parts promise, mixed; None if one of them promises nothing."""
        return self._promise("expected_success")

    def _promise(self, name: str) -> float | None:
        # A helper that follows a solved policy leaves the promise to the policy.
        low, high = (
            getattr(part, name, getattr(getattr(part, "policy", None), name, None)) for part in (self.low, self.high)
        )
        return None if low is None or high is None else (1 - self.weight) * low + self.weight * high

    def with_seed(self, seed: int) -> CoinMixture:
        """The same mixture, its coins and those of its parts drawn from ``seed``."""
        low, high = (reseeded(helper, seed, i) for i, helper in enumerate((self.low, self.high)))
        return CoinMixture(low, high, weight=self.weight, seed=seed)

    def __repr__(self) -> str:
        return f"CoinMixture({self.low!r}, {self.high!r}, weight={self.weight:.3f})"


def apply_calibration(helper: Any, calibration: Mapping[str, Any]) -> Any:
    """Set a helper to what a calibration of it (``helper.calibration``, ``calibration.json``) found."""
    if "weight" in calibration:
        low, high = (helper.with_knob(x) for x in calibration["knobs"])
        result: Any = CoinMixture(low, high, weight=calibration["weight"])
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
