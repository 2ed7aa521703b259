"""Base classes of the wrappers: a wrapper has one name for single and vector envs; observations by a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.infos import info_at
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv

__all__ = [
    "ObservationRule",
    "RuleObservation",
    "VectorAware",
    "VectorCounterpart",
    "VectorRuleObservation",
    "check_wrapped",
    "ended_indices",
    "find_attr",
]


def check_wrapped(env: Any, wrapper: str, *, reads_text: bool = False) -> None:
    """Check that ``env`` is an intervention env, possibly inside other wrappers.

    Args:
        env: the argument of the wrapper.
        wrapper: name of the wrapper, for the message.
        reads_text: also check that the observations are text; Gymnasium's ``SyncVectorEnv`` of intervention envs and
            its other vector envs are then accepted.

    Raises:
        InvalidArgumentError: another env, a value that is not an env, or observations that are not text.
    """
    if not isinstance(env, gym.Env | gym.vector.VectorEnv):
        raise InvalidArgumentError(
            f"{wrapper} wraps an intervention env, received {type(env).__name__}: make one with "
            "gym.make('selfreg/Intervention-v0', ...)."
        )
    base = env.unwrapped
    several = getattr(base, "envs", None)  # Gymnasium's SyncVectorEnv
    known = isinstance(base, InterventionEnv | InterventionVectorEnv)
    if reads_text and isinstance(base, gym.vector.VectorEnv) and not known:
        known = several is None or all(isinstance(one.unwrapped, InterventionEnv) for one in several)
    if not known:
        raise InvalidArgumentError(
            f"{wrapper} wraps an intervention env (gym.make or gym.make_vec of 'selfreg/Intervention-v0'), received "
            f"{env}, whose innermost env is {type(base).__name__}."
        )
    space = env.single_observation_space if isinstance(env, gym.vector.VectorEnv) else env.observation_space
    if reads_text and not isinstance(space, gym.spaces.Text):
        raise InvalidArgumentError(
            f"{wrapper} reads text observations, and {env} has the observation space {space}: put {wrapper} "
            "inside the wrapper that changes the observation."
        )


class VectorAware(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """A wrapper of a single env whose constructor returns its vector counterpart when it is given a vector env."""

    vector: ClassVar[type[VectorCounterpart]]

    def __new__(cls, env: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(env, gym.vector.VectorEnv):
            return cls.vector(env, *args, **kwargs)  # not an instance of cls, so Python does not call __init__
        return super().__new__(cls)


class VectorCounterpart(gym.vector.VectorWrapper[Any, Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """The vector version of a :class:`VectorAware` wrapper; ``get_wrapper_attr`` finds attributes of inner envs."""

    @property
    def autoreset_mode(self) -> gym.vector.AutoresetMode:
        """The autoreset mode of the wrapped env, ``metadata["autoreset_mode"]``."""
        return find_attr(self.env, "metadata")["autoreset_mode"]

    def get_wrapper_attr(self, name: str) -> Any:
        """This wrapper's attribute, or that of the outermost inner env that has it."""
        return getattr(self, name) if hasattr(self, name) else find_attr(self.env, name)


def find_attr(env: Any, name: str) -> Any:
    """The attribute of the outermost wrapper or env (single or vector) that has it.

    Raises:
        AttributeError: none has it.
    """
    while not hasattr(env, name):
        if not hasattr(env, "env"):
            raise AttributeError(f"{env} and the envs inside it have no attribute {name!r}.")
        env = env.env
    return getattr(env, name)


def ended_indices(infos: Mapping[str, Any]) -> np.ndarray:
    """Indices of the environments with a ``infos["final_info"]`` (SAME_STEP mode); empty in the other modes."""
    mask = infos.get("_final_info")
    return np.flatnonzero(mask) if mask is not None else np.empty(0, dtype=np.intp)


class ObservationRule(Protocol):
    """Computes observations from texts and infos."""

    space: gym.Space[Any]
    """The space of one observation."""
    reads: tuple[str, ...]
    """Keys of info that ``observe`` reads."""

    def observe(self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]]) -> list[Any]:
        """N observations from N texts and infos."""

    def empty(self) -> Any:
        """The observation of an environment in which no episode has begun."""

    def stack(self, observations: Sequence[Any]) -> Any:
        """N observations in the form that a vector env returns."""


class RuleObservation(VectorAware):
    """Replaces the observation of a single env by the observation that a rule computes."""

    def __init__(self, env: gym.Env[Any, Any], rule: ObservationRule) -> None:
        check_wrapped(env, type(self).__name__, reads_text=True)
        gym.Wrapper.__init__(self, env)
        self.observation_space = rule.space
        self._rule = rule

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and observe by the rule."""
        text, info = self.env.reset(seed=seed, options=options)
        return self._rule.observe([text], [info])[0], info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env and observe by the rule."""
        text, reward, terminated, truncated, info = self.env.step(action)
        return self._rule.observe([text], [info])[0], reward, terminated, truncated, info


class VectorRuleObservation(VectorCounterpart):
    """Replaces the observations of a vector env, and ``final_obs``, by the observations that a rule computes.

    An environment without info (finished, in DISABLED mode) keeps its previous observation.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], rule: ObservationRule) -> None:
        check_wrapped(env, type(self).__name__.removeprefix("Vector"), reads_text=True)
        gym.vector.VectorWrapper.__init__(self, env)
        self.single_observation_space = rule.space
        self.observation_space = gym.vector.utils.batch_space(rule.space, env.num_envs)
        self._rule = rule
        self._current = [rule.empty() for _ in range(env.num_envs)]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        texts, infos = self.env.reset(seed=seed, options=options)
        return self._observe(texts, infos), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        texts, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = ended_indices(infos)
        if len(ended):
            last = [info_at(infos["final_info"], i, self._rule.reads) for i in ended]
            final = np.full(self.num_envs, None, dtype=object)
            observed = self._rule.observe([infos["final_obs"][i] for i in ended], last)
            for i, observation in zip(ended, observed, strict=True):
                final[i] = observation
            infos = {**infos, "final_obs": final}
        return self._observe(texts, infos), rewards, terminations, truncations, infos

    def snapshot(self) -> object:
        """The snapshot of the env, and the current observations."""
        return find_attr(self.env, "snapshot")(), list(self._current)

    def restore(self, snapshot: Any) -> None:
        """Restore the state in ``snapshot``, which :meth:`snapshot` returned."""
        state, current = snapshot
        find_attr(self.env, "restore")(state)
        self._current = list(current)

    def _observe(self, texts: Sequence[str], infos: Mapping[str, Any]) -> Any:
        present = np.flatnonzero(infos.get("_state_key", np.zeros(self.num_envs, dtype=np.bool_))).tolist()
        read = [info_at(infos, i, self._rule.reads) for i in present]
        for i, observation in zip(present, self._rule.observe([texts[i] for i in present], read), strict=True):
            self._current[i] = observation
        return self._rule.stack(self._current)
