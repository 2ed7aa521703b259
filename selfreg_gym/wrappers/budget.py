"""``HelpBudget``: a hard cap on the cost units of an episode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.intervention_env.building import check_action, check_actions, check_budget
from selfreg_gym.wrappers.base import VectorAware, VectorCounterpart, check_wrapped, ended_indices

__all__ = ["HelpBudget", "VectorHelpBudget"]

_ROUNDING = 1e-9  # ten calls that cost 0.1 each fit into a budget of 1


class _Cap:
    """The rule: a call is allowed while its expected cost is at most the budget left."""

    def __init__(self, env: Any, budget: float) -> None:
        base = env.unwrapped
        self.budget = check_budget(budget)
        self.slots = base.slots
        self.interventions = base.interventions
        self.costs = (0.0, *(intervention.cost for intervention in base.interventions))

    def left(self, usage: np.ndarray) -> np.ndarray:
        """``(N,)`` cost units left after ``usage`` (N, K), at least 0."""
        return np.maximum(self.budget - usage.sum(axis=-1), 0.0)

    def left_of_one(self, usage: np.ndarray) -> float:
        """Cost units left after ``usage`` (K,): as :meth:`left`, and ten times faster for a single env."""
        return max(self.budget - sum(usage.tolist()), 0.0)

    def masks(self) -> np.ndarray:
        """``(N, 1 + K)`` bool: True where the action is allowed, read from the counters of the env."""
        left = self.left(np.stack([episode.usage for episode in self.slots]))
        return np.array(self.costs) <= left[:, None] + _ROUNDING


class VectorHelpBudget(VectorCounterpart):
    """:class:`HelpBudget` of a vector env."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], budget: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, budget=budget)
        check_wrapped(env, "HelpBudget")
        gym.vector.VectorWrapper.__init__(self, env)
        self._cap = _Cap(env, budget)
        self.budget = self._cap.budget

    def action_masks(self) -> np.ndarray:
        """``(N, 1 + K)`` bool: True where the action is allowed."""
        return self._cap.masks()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observations, infos = self.env.reset(seed=seed, options=options)
        return observations, self._add_budget(infos, np.zeros(self.num_envs, dtype=np.bool_))

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        allowed = self._cap.masks()
        wanted = check_actions(actions, self.num_envs).astype(np.int64, copy=False)
        in_range = (wanted >= 0) & (wanted < allowed.shape[1])  # the env raises for the others
        denied = in_range & ~allowed[np.arange(len(wanted)), np.where(in_range, wanted, 0)]
        running = np.array([not episode.over for episode in self._cap.slots])
        observations, rewards, terminations, truncations, infos = self.env.step(np.where(denied, 0, wanted))
        return observations, rewards, terminations, truncations, self._add_budget(infos, denied & running)

    def _add_budget(self, infos: dict[str, Any], denied: np.ndarray) -> dict[str, Any]:
        if "usage" not in infos:
            return infos
        ended = ended_indices(infos)
        if not len(ended):
            return self._with_budget(infos, denied)
        current = denied.copy()
        current[ended] = False  # their infos belong to the reset; the denial belongs to final_info
        final = self._with_budget(infos["final_info"], denied)
        return self._with_budget({**infos, "final_info": final}, current)

    def _with_budget(self, infos: dict[str, Any], denied: np.ndarray) -> dict[str, Any]:
        mask = infos["_usage"]
        left = np.where(mask, self._cap.left(infos["usage"]), 0.0)
        masks = {"_budget_left": mask.copy(), "_denied": mask.copy()}
        return {**infos, "budget_left": left, "denied": denied & mask, **masks}


class HelpBudget(VectorAware):
    """Cap the cost units of every episode (single or vector env).

    A call is allowed while the *expected* cost of its intervention is at most the budget left. ``action_masks()``
    (the method that MaskablePPO reads) returns bool ``(1 + K,)`` or ``(N, 1 + K)``, True where an action is allowed. If
    a helper without masks chooses a denied call, the actor acts instead and ``info["denied"]`` is True.
    ``info["budget_left"]`` is the number of cost units left. A call that costs more than expected (``Act.cost``) can
    exceed the budget once.

    Args:
        env: an intervention env, possibly wrapped.
        budget: C, in cost units per episode (not negative).

    Raises:
        InvalidArgumentError: a negative budget.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import HelpBudget, Intervention
        >>> help = Intervention(lambda text: "heads", name="friend")
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "heads",
        ...                interventions=[help], task_kwargs={"heads": 0.999})
        >>> _ = env.reset(seed=0, options={"episode": 3})
        >>> [env.step(1)[4]["intervention"] for _ in range(3)]
        ['friend', 'friend', 'friend']
        >>> env = HelpBudget(env, budget=1)
        >>> _ = env.reset(seed=0, options={"episode": 3})
        >>> [env.step(1)[4]["intervention"] for _ in range(3)]
        ['friend', None, None]
        >>> env.action_masks()
        array([ True, False])
    """

    vector = VectorHelpBudget

    def __init__(self, env: gym.Env[Any, Any], budget: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, budget=budget)
        check_wrapped(env, "HelpBudget")
        gym.Wrapper.__init__(self, env)
        self._cap = _Cap(env, budget)
        self.budget = self._cap.budget

    def action_masks(self) -> np.ndarray:
        """``(1 + K,)`` bool: True where the action is allowed."""
        return self._cap.masks()[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and add ``budget_left`` and ``denied`` to ``info``."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._add_budget(info, False)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env; a call that exceeds the budget is executed as nohelp."""
        if type(action) is not int or not 0 <= action < len(self._cap.costs):
            action = check_action(action, self._cap.interventions)
        denied = action > 0 and self._cap.costs[action] > self._cap.left_of_one(self._cap.slots[0].usage) + _ROUNDING
        observation, reward, terminated, truncated, info = self.env.step(0 if denied else action)
        return observation, reward, terminated, truncated, self._add_budget(info, denied)

    def _add_budget(self, info: dict[str, Any], denied: bool) -> dict[str, Any]:
        return {**info, "budget_left": self._cap.left_of_one(info["usage"]), "denied": denied}
