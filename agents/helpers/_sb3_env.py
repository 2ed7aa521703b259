"""The env of the Stable-Baselines3 helpers: what they observe, and the tasks of their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.utils.random_streams import TRAINING_TASKS, stream

__all__ = ["DrawnTasks", "budget_left", "observation_space", "wrapped"]


class _WithBudget:
    """The inputs of an encoder and, as the last column, the rest of the hard cap (cost units; 0 without one)."""

    def __init__(self, encoder: Any, cap: float | None) -> None:
        self._encoder, self._cap = encoder, cap
        self.width, self.needs_actor = encoder.width + 1, encoder.needs_actor

    def observe(
        self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]], acts: Sequence[Any] | None = None
    ) -> np.ndarray:
        """float32 ``(n, width)``."""
        left = [0.0 if self._cap is None else max(self._cap - float(info["usage"].sum()), 0.0) for info in infos]
        return np.column_stack([self._encoder.observe(texts, infos, acts), np.array(left, np.float32)])


def wrapped(env: Any, cap: float | None, encoder: Any = None) -> Any:
    """The env with features as observations, or with the inputs of an encoder, under the hard cap ``cap``."""
    from selfreg_gym.wrappers import ContinuedCalls, EncodedObservation, FeatureObservation, HelpBudget

    if any(intervention.duration != 1 for intervention in env.unwrapped.interventions):
        env = ContinuedCalls(env)  # the algorithms choose an action at every step
    env = env if cap is None else HelpBudget(env, cap)
    return FeatureObservation(env) if encoder is None else EncodedObservation(env, _WithBudget(encoder, cap))


def observation_space(encoder: Any = None) -> gym.spaces.Space[Any]:
    """The space of one observation of :func:`wrapped`."""
    from selfreg_gym.wrappers.features import feature_space

    if encoder is None:
        return feature_space()
    return gym.spaces.Box(-np.inf, np.inf, (encoder.width + 1,), np.float32)


def budget_left(observations: Any) -> np.ndarray:
    """``(N, 1)`` cost units left of the hard cap, from N observations."""
    return observations["scalars"][:, 2:3] if isinstance(observations, Mapping) else observations[:, -1:]


class DrawnTasks(gym.Wrapper):  # type: ignore[type-arg]
    """Draws the task of an episode from ``tasks``, by the episode's seed, where ``reset`` does not choose it."""

    def __init__(self, env: Any, tasks: Sequence[int] | None) -> None:
        super().__init__(env)
        self._tasks = tasks

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self._tasks is not None and (options is None or "episode" not in options):
            drawn = int(stream(TRAINING_TASKS, 0 if seed is None else seed).integers(len(self._tasks)))
            options = {**(options or {}), "episode": int(self._tasks[drawn])}
        return self.env.reset(seed=seed, options=options)
