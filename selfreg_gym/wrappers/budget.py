"""``HelpBudget``: a hard cap on the cost units of an episode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.intervention_env.building import check_action, check_actions, check_budget
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.wrappers.base import VectorAware, VectorCounterpart, check_wrapped, ended_indices

__all__ = ["HelpBudget", "VectorHelpBudget"]

_ROUNDING = 1e-9  # tolerance: a budget of 1 pays for ten calls that cost 0.1 each


class _Cap:
    """The rule: a step of help is allowed while its expected cost is at most the budget left."""

    def __init__(self, env: Any, budget: float) -> None:
        base = env.unwrapped
        self.budget = check_budget(budget)
        self.slots: tuple[EpisodeState, ...] = base.slots
        self.interventions = base.interventions
        self.abort: bool = base.abort
        self.actions = 1 + len(base.interventions) + base.abort
        self._first_costs = np.array([0.0, *(one.cost for one in base.interventions), *[0.0] * base.abort])

    def left(self, usage: np.ndarray) -> np.ndarray:
        """``(N,)`` cost units left after ``usage`` (N, K), at least 0."""
        return np.maximum(self.budget - usage.sum(axis=-1), 0.0)

    def left_of_one(self, usage: np.ndarray) -> float:
        """Cost units left after ``usage`` (K,): as :meth:`left`, and ten times faster for a single env."""
        return max(self.budget - sum(usage.tolist()), 0.0)

    def end_calls(self) -> None:
        """End the calls whose next step costs more than the budget left."""
        for episode in self.slots:
            if episode.calling and self._exceeds(episode, episode.calling):
                episode.end_call()

    def denies(self, episode: EpisodeState, action: int) -> bool:
        """Whether the action costs more than the budget left of the episode."""
        return action > 0 and self._exceeds(episode, action)

    def masks(self) -> np.ndarray:
        """``(N, A)`` bool: True where the action is possible and allowed, read from the counters of the env."""
        left = self.left(np.stack([episode.usage for episode in self.slots]))
        allowed = self._first_costs <= left[:, None] + _ROUNDING
        for i, episode in enumerate(self.slots):
            if episode.calling:  # the next step of this call can be paid, else the call would have ended
                allowed[i] = episode.mask
        return allowed

    def _exceeds(self, episode: EpisodeState, action: int) -> bool:
        return episode.next_cost(action) > self.left_of_one(episode.usage) + _ROUNDING


class VectorHelpBudget(VectorCounterpart):
    """:class:`HelpBudget` of a vector env."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], budget: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, budget=budget)
        check_wrapped(env, "HelpBudget")
        gym.vector.VectorWrapper.__init__(self, env)
        self._cap = _Cap(env, budget)
        self.budget = self._cap.budget

    def action_masks(self) -> np.ndarray:
        """``(N, A)`` bool: True where the action is possible and allowed."""
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
        calling = np.array([episode.calling > 0 for episode in self._cap.slots])
        denied &= ~calling  # the env raises for another action than that of the call
        observations, rewards, terminations, truncations, infos = self.env.step(np.where(denied, 0, wanted))
        self._cap.end_calls()
        return observations, rewards, terminations, truncations, self._add_budget(infos, denied & running)

    def _add_budget(self, infos: dict[str, Any], denied: np.ndarray) -> dict[str, Any]:
        if "usage" not in infos:
            return infos
        given = infos["_action_mask"]
        infos = {**infos, "action_mask": (self._cap.masks() & given[:, None]).astype(np.int8)}
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

    A call is allowed while the *expected* cost of its first step is at most the budget left. A call of several steps
    (``Intervention.duration``) with a cost per step ends early, before the first step that the budget does not pay; the
    next step is then a decision. ``action_masks()`` (the method that MaskablePPO reads) returns bool ``(A,)`` or ``(N,
    A)``, True where an action is possible and allowed, and ``info["action_mask"]`` is the same. If a helper without
    masks chooses a denied call, the actor acts instead and ``info["denied"]`` is True. ``info["budget_left"]`` is the
    number of cost units left. A call that costs more than expected (``Act.cost``) can exceed the budget once.

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
        """``(A,)`` bool: True where the action is possible and allowed."""
        return self._cap.masks()[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and add ``budget_left`` and ``denied`` to ``info``."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._add_budget(info, False)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env; a call that exceeds the budget is executed as nohelp."""
        if type(action) is not int or not 0 <= action < self._cap.actions:
            action = check_action(action, self._cap.interventions, abort=self._cap.abort)
        episode = self._cap.slots[0]
        denied = not episode.calling and self._cap.denies(episode, action)
        observation, reward, terminated, truncated, info = self.env.step(0 if denied else action)
        self._cap.end_calls()
        return observation, reward, terminated, truncated, self._add_budget(info, denied)

    def _add_budget(self, info: dict[str, Any], denied: bool) -> dict[str, Any]:
        left = self._cap.left_of_one(info["usage"])
        return {**info, "budget_left": left, "denied": denied, "action_mask": self._cap.masks()[0].astype(np.int8)}
