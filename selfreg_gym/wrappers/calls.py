"""``ContinuedCalls``: any action continues a call of several steps while it goes on."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.intervention_env.building import check_actions
from selfreg_gym.wrappers.base import VectorAware, VectorCounterpart, check_wrapped, find_attr

__all__ = ["ContinuedCalls", "VectorContinuedCalls"]


class VectorContinuedCalls(VectorCounterpart):
    """:class:`ContinuedCalls` of a vector env."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        check_wrapped(env, "ContinuedCalls")
        gym.vector.VectorWrapper.__init__(self, env)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        calling = np.array([episode.calling for episode in find_attr(self.env, "slots")])
        return self.env.step(np.where(calling > 0, calling, check_actions(actions, self.num_envs)))


class ContinuedCalls(VectorAware):
    """While a call of several steps goes on, any action continues it (single or vector env).

    Without this wrapper, another action is an error. It is for learners that do not read action masks
    (:meth:`InterventionEnv.action_masks`): their actions have no effect while a call goes on.

    Args:
        env: an intervention env, possibly wrapped.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import ContinuedCalls, Intervention
        >>> help = Intervention(lambda text: "heads", name="friend", duration=2)
        >>> env = ContinuedCalls(gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0",
        ...     actor=lambda text: "heads", interventions=[help], task_kwargs={"heads": 0.999}))
        >>> _ = env.reset(seed=0, options={"episode": 3})
        >>> [env.step(action)[4]["intervention"] for action in (1, 0, 0)]
        ['friend', 'friend', None]
    """

    vector = VectorContinuedCalls

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        check_wrapped(env, "ContinuedCalls")
        gym.Wrapper.__init__(self, env)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env; while a call goes on, with the action that continues it."""
        return self.env.step(find_attr(self.env, "slots")[0].calling or action)
