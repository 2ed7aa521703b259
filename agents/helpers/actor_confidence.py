"""Ask where the actor itself is unsure: its most likely action has little probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from selfreg_gym.agents.helpers import _rows
from selfreg_gym.agents.helpers._choice import AsksOne, checked_intervention
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Act, HelperPolicy

__all__ = ["ActorConfidence"]


class ActorConfidence(AsksOne, HelperPolicy):
    """Help where the probability of the actor's most likely action is below the threshold.

    The actor is asked what it would do before the helper decides, so each step costs one call of the
    actor more (an actor with a memo answers the second call from it). An actor that gives no log-probabilities
    (``Act.logprobs``) counts as sure of itself and is never helped.

    Args:
        threshold: in [0, 1].
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    takes_budget = False
    knob_bounds = (0.0, 1.0 + 1e-9)  # a confidence of 1 is below the top, where every row is helped

    def __init__(self, threshold: float = 0.5, *, intervention: int | str = 1) -> None:
        if isinstance(threshold, bool | str) or not 0.0 <= threshold <= self.knob_bounds[1]:
            raise InvalidArgumentError(f"a threshold on a probability lies in [0, 1], received {threshold!r}.")
        self.threshold = float(threshold)
        self.intervention = checked_intervention(intervention)  # type: ignore[assignment]

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

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Compare each confidence with the threshold."""
        n = None if np.ndim(observation) == 0 else len(observation)
        if isinstance(observation, str) or (n and isinstance(observation[0], str)):
            raise InvalidArgumentError("actor-confidence reads confidences, not text: play it in wrap(env).")
        return _rows.answer(np.where(np.atleast_1d(observation) < self.threshold, self.action, 0), n), None

    def __repr__(self) -> str:
        return f"ActorConfidence({self.threshold:g}, intervention={self.intervention!r})"


def confidences(actor: Any, rows: Sequence[Any]) -> np.ndarray:
    """``(N,)`` the actor's top probability in each row; 1 where it is finished or the actor gives none."""
    result = np.ones(len(rows))
    live = [i for i, row in enumerate(rows) if not row.over]
    if live:
        # The very decisions that the actor will get: same text, same random stream, so its answer will be the same.
        for i, act in zip(live, actor.act([rows[i].decision(0) for i in live]), strict=True):
            if isinstance(act, Act) and act.logprobs:
                result[i] = min(1.0, float(np.exp(max(act.logprobs))))
    return result


class _Confidence(gym.ObservationWrapper):  # type: ignore[type-arg]
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0.0, 1.0, shape=(), dtype=np.float64)

    def observation(self, observation: Any) -> Any:
        base: Any = self.unwrapped
        return confidences(base.actor, base.slots)[0]


class _VectorConfidence(gym.vector.VectorObservationWrapper):  # type: ignore[type-arg]
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.single_observation_space = spaces.Box(0.0, 1.0, shape=(), dtype=np.float64)
        self.observation_space = spaces.Box(0.0, 1.0, shape=(env.num_envs,), dtype=np.float64)

    def observations(self, observations: Any) -> Any:
        base: Any = self.unwrapped
        return confidences(base.actor, base.slots)
