"""A Gymnasium vector env as a Stable-Baselines3 ``VecEnv``. ``to_sb3`` imports this module lazily: SB3 loads torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from selfreg_gym.errors import FailedEpisodesError, InvalidArgumentError
from selfreg_gym.intervention_env.infos import info_at
from selfreg_gym.optional_members import find_member
from selfreg_gym.utils.arguments import check_count

__all__ = ["SB3VecEnv"]


class SB3VecEnv(VecEnv):
    """A ``VecEnv`` around a vector env in SAME_STEP mode.

    Where an episode ended, ``info`` is that of its last step, with the last observation in
    ``info["terminal_observation"]`` and whether it was only truncated in ``info["TimeLimit.truncated"]``.

    An episode in which an actor fails is excluded from all statistics, but Stable-Baselines3 would learn from it as
    from a time-out. So a failed call is repeated with the same random stream before the step is executed, unseen by the
    algorithm. If it still fails, the step raises ``FailedEpisodesError``.

    Args:
        env: an intervention vector env in SAME_STEP mode with numeric observations.
        retries: how often a failed call is repeated.

    Raises:
        InvalidArgumentError: another env, another autoreset mode, or observations that are text.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], *, retries: int = 2) -> None:
        if not isinstance(env, gym.vector.VectorEnv):
            raise InvalidArgumentError(
                f"to_sb3 takes a vector env, received {env}: make one with gym.make_vec('selfreg/Intervention-v0', "
                "num_envs=..., autoreset_mode='SameStep', ...)."
            )
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise InvalidArgumentError(
                "Stable-Baselines3 needs a vector env that resets in the step in which an episode ends: make it with "
                f"autoreset_mode='SameStep', received {mode}."
            )
        if isinstance(env.single_observation_space, gym.spaces.Text):
            raise InvalidArgumentError(
                "Stable-Baselines3 learns from numbers, and the observations of this env are text: use "
                f"to_sb3(FeatureObservation(env)). Received {env}."
            )
        self.env = env
        if hasattr(env.unwrapped, "act_retries"):
            env.unwrapped.act_retries = check_count("retries", retries, low=0)
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Reset all environments with the seeds and options set by ``seed`` and ``set_options``."""
        options = self._options[0] if self._options else {}
        if any(other != options for other in self._options):
            raise InvalidArgumentError("all environments take the same options: pass one dict to set_options.")
        observations, infos = self.env.reset(seed=self._seeds, options=options or None)  # type: ignore[arg-type]
        self.reset_infos = [info_at(infos, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step and return ``(observations, rewards, dones, infos)`` as SB3 defines them.

        Raises:
            FailedEpisodesError: an actor failed, also after all retries.
        """
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        listed = []
        for i in range(self.num_envs):
            if dones[i]:
                info = info_at(infos["final_info"], i)
                if info.get("error") is not None:
                    raise FailedEpisodesError(
                        f"an actor failed in environment {i} of {self.num_envs}, also after all retries: "
                        f"{info['error']}. Stable-Baselines3 cannot exclude this episode, so training stops: repair "
                        "the actor, or allow more retries with to_sb3(env, retries=...)."
                    )
                info["terminal_observation"] = infos["final_obs"][i]
                info["TimeLimit.truncated"] = bool(truncations[i] and not terminations[i])
            else:
                info = info_at(infos, i)
            listed.append(info)
        return observations, rewards.astype(np.float32), dones, listed

    def close(self) -> None:
        """Close the vector env."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The vector env's attribute, once per environment."""
        value = self._find(attr_name)
        return [value for _ in self._indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector env, which all environments share."""
        if len(self._indices(indices)) != self.num_envs:
            raise InvalidArgumentError("all environments share their attributes: set_attr needs indices=None.")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector env that returns N values (``action_masks``), and return them as a list."""
        values = self._find(method_name)(*method_args, **method_kwargs)
        return [None if values is None else values[i] for i in self._indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """False: single-env wrappers (Monitor, ...) cannot wrap a vector env."""
        return [False for _ in self._indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Rendered frames, one per environment."""
        return list(self.env.render() or [])  # type: ignore[arg-type]

    def _find(self, name: str) -> Any:
        """An attribute of the env or of the nearest inner env that has it (``action_masks`` inside another wrapper)."""
        return find_member(self.env, name)

    def _indices(self, indices: int | Iterable[int] | None) -> list[int]:
        if indices is None:
            return list(range(self.num_envs))
        return [indices] if isinstance(indices, int) else list(indices)
