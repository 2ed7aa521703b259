"""Ask in states where the actor is unsure: its most likely action has a low probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import AsksOne
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Act

__all__ = ["ActorConfidence"]


class ActorConfidence(AsksOne):
    """Help where the probability of the actor's most likely action is below the threshold.

    The actor is called before the helper decides (``InterventionEnv.actor_acts``); without help the env executes its
    act, so only the steps with help take one more call of the actor. An actor that gives no log-probabilities
    (``Act.logprobs``), or fails, has confidence 1, so the helper does not ask.

    Args:
        threshold: in [0, 1].
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    role, minor, label, marker, colour = "baseline", True, "actor confidence", "P", "green"
    knob_bounds = (0.0, 1.0 + 1e-9)  # at the upper end every observation is helped, those of confidence 1 too

    def __init__(self, threshold: float = 0.5, *, intervention: int | str = 1) -> None:
        super().__init__(intervention)
        if isinstance(threshold, bool | str) or not 0.0 <= threshold <= self.knob_bounds[1]:
            raise InvalidArgumentError(f"a threshold on a probability must be in [0, 1], received {threshold!r}.")
        self.threshold = float(threshold)

    @property
    def knob(self) -> float:
        """The threshold."""
        return self.threshold

    def with_knob(self, x: float) -> ActorConfidence:
        """The same helper with another threshold."""
        return ActorConfidence(x, intervention=self.intervention)

    def wrap(self, env: Any) -> Any:
        """The env whose observation is the actor's confidence in [0, 1] (a batch: ``(N,)``)."""
        return _VectorConfidence(env) if isinstance(env, gym.vector.VectorEnv) else _Confidence(env)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Compare each confidence with the threshold."""
        confidence = np.asarray(observations)
        if confidence.dtype.kind not in "fiu":
            raise InvalidArgumentError("actor-confidence reads confidences, not text: use it on wrap(env).")
        return self.ask_where(confidence < self.threshold), None

    def batch_size(self, observation: Any, episode_start: NDArray[np.bool_] | None) -> int | None:
        """A single observation is a number."""
        return None if np.ndim(observation) == 0 else len(observation)

    def __repr__(self) -> str:
        return f"ActorConfidence({self.threshold:g}, intervention={self.intervention!r})"


def confidences(acts: Sequence[Act | None]) -> np.ndarray:
    """``(N,)`` the probability of the actor's most likely action; 1 where the episode is over or it gives none."""
    return np.array([
        min(1.0, float(np.exp(max(act.logprobs)))) if act is not None and act.logprobs else 1.0 for act in acts
    ])  # fmt: skip


class _Confidence(gym.ObservationWrapper):  # type: ignore[type-arg]
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0.0, 1.0, shape=(), dtype=np.float64)

    def observation(self, observation: Any) -> Any:
        base: Any = self.unwrapped
        return confidences([base.actor_acts()])[0]


class _VectorConfidence(gym.vector.VectorObservationWrapper):  # type: ignore[type-arg]
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.single_observation_space = spaces.Box(0.0, 1.0, shape=(), dtype=np.float64)
        self.observation_space = spaces.Box(0.0, 1.0, shape=(env.num_envs,), dtype=np.float64)

    def observations(self, observations: Any) -> Any:
        base: Any = self.unwrapped
        return confidences(base.actor_acts())
