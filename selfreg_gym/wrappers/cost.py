"""``HelpCost``: the same env with another help cost r."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from selfreg_gym.intervention_env.building import check_help_cost
from selfreg_gym.wrappers.base import VectorAware, VectorCounterpart, check_wrapped, ended_indices, find_attr

__all__ = ["HelpCost", "VectorHelpCost"]


class VectorHelpCost(VectorCounterpart):
    """:class:`HelpCost` of a vector env."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], help_cost: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, help_cost=help_cost)
        check_wrapped(env, "HelpCost")
        gym.vector.VectorWrapper.__init__(self, env)
        self.help_cost = check_help_cost(help_cost)
        self._difference = float(find_attr(env, "help_cost")) - self.help_cost

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if "cost" in infos:
            cost = infos["cost"].copy()
            for i in ended_indices(infos):
                cost[i] = infos["final_info"]["cost"][i]
            rewards = rewards + self._difference * cost
        return observations, rewards, terminations, truncations, infos


class HelpCost(VectorAware):
    """Change the help cost r, the reward subtracted per cost unit (single or vector env).

    Args:
        env: an intervention env, possibly wrapped.
        help_cost: the new r (not negative).

    Raises:
        InvalidArgumentError: a negative ``help_cost``.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import HelpCost, Intervention
        >>> help = Intervention(lambda text: "heads", name="friend", cost=2.0)
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "tails",
        ...                interventions=[help], help_cost=0.1)
        >>> _ = env.reset(seed=0, options={"episode": 3})
        >>> env.step(1)[1]
        -0.2
        >>> env = HelpCost(env, help_cost=0.5)
        >>> _ = env.reset(seed=0, options={"episode": 3})
        >>> env.step(1)[1]
        -1.0
    """

    vector = VectorHelpCost

    def __init__(self, env: gym.Env[Any, Any], help_cost: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, help_cost=help_cost)
        check_wrapped(env, "HelpCost")
        gym.Wrapper.__init__(self, env)
        self.help_cost = check_help_cost(help_cost)
        self._difference = float(find_attr(env, "help_cost")) - self.help_cost

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env; the reward counts the new help cost."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward) + self._difference * info["cost"], terminated, truncated, info
