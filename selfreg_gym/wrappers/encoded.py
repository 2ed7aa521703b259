"""``EncodedObservation``: the inputs of an encoder instead of text, for policies that read numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.intervention_env.infos import info_at
from selfreg_gym.wrappers.base import VectorAware, VectorCounterpart, check_wrapped, ended_indices, find_attr

__all__ = ["EncodedObservation", "Encoder", "VectorEncodedObservation"]


class Encoder(Protocol):
    """Maps decisions in progress to numbers; :class:`selfreg_gym.inputs.InputEncoder` is one."""

    @property
    def width(self) -> int:
        """Number of columns."""

    @property
    def needs_actor(self) -> bool:
        """Whether it reads the acts that the actor would take."""

    def observe(
        self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]], acts: Sequence[Any] | None = None
    ) -> np.ndarray:
        """float32 ``(n, width)`` of n observations, their infos, and the acts that the actor would take."""


def _check(env: Any, encoder: Any) -> Encoder:
    check_wrapped(env, "EncodedObservation")
    missing = [name for name in ("width", "needs_actor", "observe") if not hasattr(encoder, name)]
    if missing:
        raise InvalidArgumentError(
            "EncodedObservation needs an encoder with width, needs_actor and observe "
            f"(selfreg_gym.inputs.InputEncoder), received {type(encoder).__name__}, which lacks {', '.join(missing)}."
        )
    return encoder


def _encoded(env: Any, encoder: Encoder) -> np.ndarray:
    """float32 ``(N, width)`` of all environments; zero where no episode has begun."""
    slots = find_attr(env, "slots")
    acts = find_attr(env, "actor_acts")() if encoder.needs_actor else None
    acts = acts if acts is None or isinstance(acts, list) else [acts]  # a single env returns one act
    begun = [i for i, slot in enumerate(slots) if slot.seed is not None]
    found = np.zeros((len(slots), encoder.width), np.float32)
    found[begun] = encoder.observe(
        [slots[i].observation for i in begun],
        [slots[i].info for i in begun],
        None if acts is None else [acts[i] for i in begun],
    )
    return found


def _space(encoder: Encoder) -> gym.spaces.Box:
    return gym.spaces.Box(-np.inf, np.inf, (encoder.width,), np.float32)


class VectorEncodedObservation(VectorCounterpart):
    """:class:`EncodedObservation` of a vector env; one batched call of the actor and of each model per step."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], encoder: Encoder) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, encoder=encoder)
        self.encoder = _check(env, encoder)
        gym.vector.VectorWrapper.__init__(self, env)
        self.single_observation_space = _space(encoder)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        _, infos = self.env.reset(seed=seed, options=options)
        return _encoded(self.env, self.encoder), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        _, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = ended_indices(infos)
        if len(ended):
            final = np.full(self.num_envs, None, dtype=object)
            observed = self.encoder.observe(
                [infos["final_obs"][i] for i in ended],
                [info_at(infos["final_info"], i) for i in ended],
                [None] * len(ended),
            )
            for i, observation in zip(ended, observed, strict=True):
                final[i] = observation
            infos = {**infos, "final_obs": final}
        return _encoded(self.env, self.encoder), rewards, terminations, truncations, infos


class EncodedObservation(VectorAware):
    """Observe the inputs of an encoder, float32 ``(width,)`` (single or vector env).

    If the encoder has the input ``actor``, the actor answers once per step before the decision. If the decision is
    nohelp, this act is executed. At the end of an episode the actor is not asked, and its columns are zero.

    Args:
        env: an intervention env, possibly wrapped.
        encoder: a :class:`selfreg_gym.inputs.InputEncoder`.

    Raises:
        InvalidArgumentError: ``encoder`` is not an encoder, or ``env`` is not an intervention env.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import EncodedObservation
        >>> from selfreg_gym.inputs import DecisionTable, InputEncoder
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "heads",
        ...                interventions=[])
        >>> _ = env.reset(seed=0, options={"episode": 1})
        >>> encoder = InputEncoder.fit(DecisionTable.from_slots(env.unwrapped.slots), ["steps_left"])
        >>> env = EncodedObservation(env, encoder)
        >>> env.reset(seed=0, options={"episode": 1})[0].tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0]
    """

    vector = VectorEncodedObservation

    def __init__(self, env: gym.Env[Any, Any], encoder: Encoder) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, encoder=encoder)
        self.encoder = _check(env, encoder)
        gym.Wrapper.__init__(self, env)
        self.observation_space = _space(encoder)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env; the observation is the array of inputs."""
        _, info = self.env.reset(seed=seed, options=options)
        return _encoded(self.env, self.encoder)[0], info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env; the observation is the array of inputs."""
        _, reward, terminated, truncated, info = self.env.step(action)
        return _encoded(self.env, self.encoder)[0], reward, terminated, truncated, info
