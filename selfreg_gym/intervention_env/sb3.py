"""A Gymnasium vector env as a Stable-Baselines3 ``VecEnv``; imported by ``to_sb3`` when called, for SB3 loads torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from selfreg_gym.errors import FailedEpisodesError, InvalidArgumentError
from selfreg_gym.intervention_env.infos import row_info
from selfreg_gym.utils.arguments import check_count

__all__ = ["SB3VecEnv"]


class SB3VecEnv(VecEnv):
    """Steps a vector env in SAME_STEP mode for SB3's algorithms.

    ``info["terminal_observation"]`` is the last observation of an episode that ended, ``info["TimeLimit.truncated"]``
    says that it was cut off, and the rest of ``info`` is that of the step which ended it.

    An episode in which an actor fails is excluded from all statistics, and Stable-Baselines3 cannot leave one out: it
    would learn from it as from a time-out. So a failed act is asked for again, with the same random stream, before the
    step is executed; the algorithm does not notice. If it still fails, the step raises ``FailedEpisodesError``.

    Args:
        env: an intervention vector env in SAME_STEP mode whose observations are numbers.
        retries: how often a failed act is asked for again.

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
                "Stable-Baselines3 resets in the same step: make the vector env with autoreset_mode='SameStep', "
                f"received {mode}."
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
        """Reset all rows with the seeds and options that ``seed`` and ``set_options`` left."""
        options = self._options[0] if self._options else {}
        if any(other != options for other in self._options):
            raise InvalidArgumentError("all rows of this env take the same options: pass one dict to set_options.")
        observations, infos = self.env.reset(seed=self._seeds, options=options or None)  # type: ignore[arg-type]
        self.reset_infos = [row_info(infos, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step, and return ``(observations, rewards, dones, infos)`` as SB3 wants them.

        Raises:
            FailedEpisodesError: an actor failed, also when it was asked again.
        """
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        rows = []
        for i in range(self.num_envs):
            if dones[i]:
                info = row_info(infos["final_info"], i)
                if info.get("error") is not None:
                    raise FailedEpisodesError(
                        f"an actor failed in environment {i} of {self.num_envs}, also when it was asked again: "
                        f"{info['error']}. Stable-Baselines3 cannot leave this episode out, so training stops here: "
                        "repair the actor, or allow more attempts with to_sb3(env, retries=...)."
                    )
                info["terminal_observation"] = infos["final_obs"][i]
                info["TimeLimit.truncated"] = bool(truncations[i] and not terminations[i])
            else:
                info = row_info(infos, i)
            rows.append(info)
        return observations, rewards.astype(np.float32), dones, rows

    def close(self) -> None:
        """Close the vector env."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The vector env's attribute, once per row."""
        value = self._find(attr_name)
        return [value for _ in self._rows(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector env (for all rows: they share it)."""
        if len(self._rows(indices)) != self.num_envs:
            raise InvalidArgumentError("the rows share their attributes: set_attr needs indices=None.")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method that answers for all rows (``action_masks``), and return one answer per row."""
        answers = self._find(method_name)(*method_args, **method_kwargs)
        return [None if answers is None else answers[i] for i in self._rows(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Whether each row is wrapped: a single-env wrapper (Monitor, ...) never is around a vector env."""
        return [False for _ in self._rows(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Rendered frames, one per row."""
        return list(self.env.render() or [])  # type: ignore[arg-type]

    def _find(self, name: str) -> Any:
        """An attribute of the env or of one below it (``action_masks`` under another wrapper)."""
        finder = getattr(self.env, "get_wrapper_attr", None)
        return getattr(self.env, name) if finder is None else finder(name)

    def _rows(self, indices: int | Iterable[int] | None) -> list[int]:
        if indices is None:
            return list(range(self.num_envs))
        return [indices] if isinstance(indices, int) else list(indices)
