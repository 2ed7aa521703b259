"""What the wrappers share: one name for the single and the vector version, and observations built row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.infos import row_info
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv

__all__ = [
    "ObservationRule",
    "RowObservation",
    "Twin",
    "VectorRowObservation",
    "VectorTwin",
    "check_wrapped",
    "ended_rows",
    "find_attr",
]


def check_wrapped(env: Any, wrapper: str, *, reads_text: bool = False) -> None:
    """Check that a wrapper of this package is around an intervention env.

    Args:
        env: what the wrapper was given.
        wrapper: its name, for the message.
        reads_text: it needs observations that are still text.

    Raises:
        InvalidArgumentError: another env, something that is not an env, or observations that are not text.
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
            f"{wrapper} reads observations that are text, and {env} has the observation space {space}: put {wrapper} "
            "inside the wrapper that changes the observation."
        )


class Twin(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """A wrapper of a single env whose constructor, given a vector env, makes its vector twin instead."""

    vector: ClassVar[type[VectorTwin]]

    def __new__(cls, env: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(env, gym.vector.VectorEnv):
            return cls.vector(env, *args, **kwargs)  # no Twin, so that __init__ is not called on it
        return super().__new__(cls)


class VectorTwin(gym.vector.VectorWrapper[Any, Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """The vector version of a :class:`Twin`. Attributes of the envs below are reached by ``get_wrapper_attr``."""

    @property
    def autoreset_mode(self) -> gym.vector.AutoresetMode:
        """The autoreset mode of the env below, as ``metadata["autoreset_mode"]`` says it too."""
        return find_attr(self.env, "metadata")["autoreset_mode"]

    def get_inner(self, name: str) -> Any:
        """The attribute of the nearest env below this wrapper that has it."""
        return find_attr(self.env, name)

    def get_wrapper_attr(self, name: str) -> Any:
        """This wrapper's attribute, or that of the nearest env below that has it."""
        return getattr(self, name) if hasattr(self, name) else find_attr(self.env, name)


def find_attr(env: Any, name: str) -> Any:
    """The attribute of the outermost wrapper (single or vector) that has it.

    Raises:
        AttributeError: no layer has it.
    """
    while not hasattr(env, name):
        if not hasattr(env, "env"):
            raise AttributeError(f"{env} and the envs below it have no attribute {name!r}.")
        env = env.env
    return getattr(env, name)


def ended_rows(infos: Mapping[str, Any]) -> np.ndarray:
    """Rows whose end is in ``infos["final_info"]`` (SAME_STEP mode); empty in the other modes."""
    mask = infos.get("_final_info")
    return np.flatnonzero(mask) if mask is not None else np.empty(0, dtype=np.intp)


class ObservationRule(Protocol):
    """How the observation of a row follows from its text and info."""

    @property
    def space(self) -> gym.Space[Any]:
        """The space of one row's observation."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of info that ``observe`` looks at."""
        ...

    def observe(self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]]) -> list[Any]:
        """One observation per row."""
        ...

    def blank(self) -> Any:
        """The observation of a row that never began."""
        ...

    def stack(self, observations: Sequence[Any]) -> Any:
        """N observations as a vector env returns them."""
        ...


class RowObservation(Twin):
    """A single env whose observation is replaced by what a rule says."""

    def __init__(self, env: gym.Env[Any, Any], rule: ObservationRule) -> None:
        check_wrapped(env, type(self).__name__, reads_text=True)
        gym.Wrapper.__init__(self, env)
        self.observation_space = rule.space
        self._rule = rule

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env; the observation is the rule's."""
        text, info = self.env.reset(seed=seed, options=options)
        return self._rule.observe([text], [info])[0], info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env; the observation is the rule's."""
        text, reward, terminated, truncated, info = self.env.step(action)
        return self._rule.observe([text], [info])[0], reward, terminated, truncated, info


class VectorRowObservation(VectorTwin):
    """A vector env whose observations are replaced by what a rule says; ``final_obs`` as well.

    A row without infos (finished, in DISABLED mode) keeps the observation that it had.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], rule: ObservationRule) -> None:
        check_wrapped(env, type(self).__name__.removeprefix("Vector"), reads_text=True)
        gym.vector.VectorWrapper.__init__(self, env)
        self.single_observation_space = rule.space
        self.observation_space = gym.vector.utils.batch_space(rule.space, env.num_envs)
        self._rule = rule
        self._current = [rule.blank() for _ in range(env.num_envs)]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env; the observations are the rule's."""
        texts, infos = self.env.reset(seed=seed, options=options)
        return self._see(texts, infos), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the env; the observations are the rule's."""
        texts, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = ended_rows(infos)
        if len(ended):
            last = [row_info(infos["final_info"], i, self._rule.reads) for i in ended]
            final = np.full(self.num_envs, None, dtype=object)
            seen = self._rule.observe([infos["final_obs"][i] for i in ended], last)
            for i, observation in zip(ended, seen, strict=True):
                final[i] = observation
            infos = {**infos, "final_obs": final}
        return self._see(texts, infos), rewards, terminations, truncations, infos

    def snapshot(self) -> object:
        """The snapshots of the rows, and the observations that finished rows keep."""
        return self.get_inner("snapshot")(), list(self._current)

    def restore(self, snapshot: Any) -> None:
        """Go back to a state that :meth:`snapshot` returned."""
        moment, current = snapshot
        self.get_inner("restore")(moment)
        self._current = list(current)

    def _see(self, texts: Sequence[str], infos: Mapping[str, Any]) -> Any:
        present = np.flatnonzero(infos.get("_state_key", np.zeros(self.num_envs, dtype=np.bool_))).tolist()
        seen = self._rule.observe([texts[i] for i in present], [row_info(infos, i, self._rule.reads) for i in present])
        for i, observation in zip(present, seen, strict=True):
            self._current[i] = observation
        return self._rule.stack(self._current)
