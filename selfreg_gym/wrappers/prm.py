"""A process reward model in the env: ``PRMReward`` shapes the reward, ``PRMObservation`` adds p(s) to ``info``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, SelfRegError, TaskContractError, shown
from selfreg_gym.intervention_env.snapshots import restore_snapshot, take_snapshot
from selfreg_gym.utils.arguments import check_number
from selfreg_gym.wrappers.base import VectorAware, VectorCounterpart, check_wrapped, ended_indices, find_attr

__all__ = ["PRM", "PRMObservation", "PRMReward", "VectorPRMObservation", "VectorPRMReward", "check_prm", "scores_of"]

_ROUNDING = 1e-6  # a score of float32 arithmetic may leave [0, 1] by that much


@runtime_checkable
class PRM(Protocol):
    """An estimator of p(s), the probability of success from a state.

    Its optional member ``source`` (:func:`selfreg_gym.optional_members.optional_member`) is the ``Path`` of the
    directory from which it was loaded; the helpers of a run share one object per directory.
    """

    def score(self, observations: Sequence[str]) -> np.ndarray:
        """``(N,)`` numbers in [0, 1] for N observation texts."""


def check_prm(prm: Any) -> PRM:
    """Return ``prm``, or raise ``InvalidArgumentError`` if it has no method ``score``."""
    if not callable(getattr(prm, "score", None)):
        raise InvalidArgumentError(
            f"a process reward model must have score(observations) -> (N,), received {type(prm).__name__}."
        )
    return prm


def scores_of(prm: PRM, texts: Sequence[str]) -> np.ndarray:
    """Scores of N texts, float64 ``(N,)`` in [0, 1]; without texts the model is not called.

    Raises:
        InvalidArgumentError: another shape, or a score outside [0, 1] or NaN, which would become the reward.
        TaskContractError: ``score`` raised.
    """
    if not len(texts):
        return np.empty(0)
    rule = (
        f"score(observations) of a process reward model returns N numbers in [0, 1] for N texts (here N = {len(texts)})"
    )
    try:
        scored = prm.score(list(texts))
    except SelfRegError:
        raise
    except Exception as error:
        raise TaskContractError(
            f"{rule}; {type(prm).__name__} raised {type(error).__name__}: {shown(str(error))}."
        ) from error
    try:
        scores = np.asarray(scored, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{rule}, received {shown(scored)}.") from None
    if scores.shape != (len(texts),):
        raise InvalidArgumentError(f"{rule} in an array of shape ({len(texts)},), received {scores.shape}.")
    if not ((scores >= -_ROUNDING) & (scores <= 1.0 + _ROUNDING)).all():  # also where a score is NaN
        raise InvalidArgumentError(f"{rule}, received {shown(scores.tolist())}.")
    return scores


def _check_gamma(gamma: float) -> float:
    return check_number("gamma must be in (0, 1]: it", gamma, above=True, high=1.0)


class VectorPRMReward(VectorCounterpart):
    """:class:`PRMReward` of a vector env; one batched call of the model per step."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], prm: PRM, gamma: float = 1.0) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, prm=prm, gamma=gamma)
        check_wrapped(env, "PRMReward")
        check_wrapped(env, "PRMReward", reads_text=True)
        gym.vector.VectorWrapper.__init__(self, env)
        self.prm, self.gamma = check_prm(prm), _check_gamma(gamma)
        self._potential = np.zeros(env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        texts, infos = self.env.reset(seed=seed, options=options)
        self._set_potential(texts, np.flatnonzero(infos["_state_key"]))
        return texts, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the env and add ``gamma * p(s') - p(s)``, except where an environment is reset or stays finished."""
        acting = np.array([not episode.over for episode in find_attr(self.env, "slots")])
        before = self._potential.copy()
        texts, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = terminations | truncations
        failed = acting & ended & _failed(infos, self.num_envs)
        present = infos.get("_state_key", np.zeros(self.num_envs, dtype=np.bool_))
        begun = np.zeros(self.num_envs, dtype=np.bool_)
        begun[ended_indices(infos)] = True
        self._potential[ended] = 0.0
        self._set_potential(texts, np.flatnonzero(present & (~ended | begun)))
        after = np.where(ended, 0.0, self._potential)
        shaped = rewards + np.where(acting & ~failed, self.gamma * after - before, 0.0)
        return texts, shaped, terminations, truncations, infos

    def snapshot(self) -> object:
        """The snapshot of the env, and the potentials ``(N,)``."""
        return find_attr(self.env, "snapshot")(), self._potential.copy()

    def restore(self, snapshot: Any) -> None:
        """Restore the state in ``snapshot``, which :meth:`snapshot` returned."""
        state, potential = snapshot
        find_attr(self.env, "restore")(state)
        self._potential = potential.copy()

    def _set_potential(self, texts: Sequence[str], indices: np.ndarray) -> None:
        self._potential[indices] = scores_of(self.prm, [texts[i] for i in indices.tolist()])


def _failed(infos: dict[str, Any], n: int) -> np.ndarray:
    """bool ``(N,)``: True where the episode ended because an actor failed."""
    failed = np.zeros(n, dtype=np.bool_)
    for source in (infos, infos.get("final_info", {})):
        for i in np.flatnonzero(source.get("_error", ())):
            failed[i] |= source["error"][i] is not None
    return failed


class PRMReward(VectorAware):
    """Add ``gamma * p(s') - p(s)`` to the reward (single or vector env).

    Potential-based shaping (Ng, Harada and Russell 1999) with the process reward model as potential. The potential of
    a finished episode is 0, so with ``gamma = 1`` the shaping rewards of an episode sum to ``-p(s0)`` for every
    policy, and the optimal policy does not change. An episode in which an actor failed keeps its reward of 0. Put this
    wrapper inside wrappers that change the observation: the model reads the text.

    Args:
        env: an intervention env with text observations.
        prm: an object with ``score(observations) -> (N,)``.
        gamma: discount factor of the learner, in (0, 1].

    Raises:
        InvalidArgumentError: ``prm`` has no ``score``, or ``gamma`` is outside (0, 1].

    Examples:
        >>> import gymnasium as gym, numpy as np
        >>> from selfreg_gym import PRMReward
        >>> class Half:
        ...     def score(self, observations):
        ...         return np.full(len(observations), 0.5)
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "neither",
        ...                interventions=[])
        >>> _ = env.reset(seed=0)
        >>> env.step(0)[1]
        0.0
        >>> env = PRMReward(env, Half())
        >>> _ = env.reset(seed=0)
        >>> env.step(0)[1]
        -0.5
    """

    vector = VectorPRMReward

    def __init__(self, env: gym.Env[Any, Any], prm: PRM, gamma: float = 1.0) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, prm=prm, gamma=gamma)
        check_wrapped(env, "PRMReward")
        check_wrapped(env, "PRMReward", reads_text=True)
        gym.Wrapper.__init__(self, env)
        self.prm, self.gamma = check_prm(prm), _check_gamma(gamma)
        self._potential = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and score its observation, the first potential."""
        text, info = self.env.reset(seed=seed, options=options)
        self._potential = float(scores_of(self.prm, [text])[0])
        return text, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env and add ``gamma * p(s') - p(s)`` to the reward."""
        text, reward, terminated, truncated, info = self.env.step(action)
        before = self._potential
        self._potential = 0.0 if terminated or truncated else float(scores_of(self.prm, [text])[0])
        if info.get("error") is None:
            reward = float(reward) + self.gamma * self._potential - before
        return text, reward, terminated, truncated, info

    def snapshot(self) -> object:
        """The env's snapshot and the current potential."""
        return take_snapshot(self.env), self._potential

    def restore(self, snapshot: Any) -> None:
        """Restore the state in ``snapshot``, which :meth:`snapshot` returned."""
        state, self._potential = snapshot
        restore_snapshot(self.env, state)


class VectorPRMObservation(VectorCounterpart):
    """:class:`PRMObservation` of a vector env; one batched call of the model per step."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], prm: PRM) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, prm=prm)
        check_wrapped(env, "PRMObservation", reads_text=True)
        gym.vector.VectorWrapper.__init__(self, env)
        self.prm = check_prm(prm)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        texts, infos = self.env.reset(seed=seed, options=options)
        return texts, self._add_scores(texts, infos)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the env and score every environment with an info, and the texts of ``final_obs``."""
        texts, rewards, terminations, truncations, infos = self.env.step(actions)
        return texts, rewards, terminations, truncations, self._add_scores(texts, infos)

    def _add_scores(self, texts: Sequence[str], infos: dict[str, Any]) -> dict[str, Any]:
        present = infos.get("_state_key")
        if present is None:
            return infos
        present_indices, ended = np.flatnonzero(present).tolist(), ended_indices(infos).tolist()
        wanted = [texts[i] for i in present_indices] + [infos["final_obs"][i] for i in ended]
        scores = scores_of(self.prm, wanted)
        found = {**infos, "prm_score": np.zeros(self.num_envs), "_prm_score": present.copy()}
        found["prm_score"][present_indices] = scores[: len(present_indices)]
        if len(ended):
            last = np.zeros(self.num_envs)
            last[ended] = scores[len(present_indices) :]
            found["final_info"] = {**infos["final_info"], "prm_score": last, "_prm_score": infos["_final_info"].copy()}
        return found


class PRMObservation(VectorAware):
    """Put p(s) into ``info["prm_score"]`` (single or vector env); the observation stays the text.

    A ``FeatureObservation`` around it reads the score there. Put this wrapper inside wrappers that change the
    observation: the model reads the text.

    Args:
        env: an intervention env with text observations.
        prm: an object with ``score(observations) -> (N,)``.

    Raises:
        InvalidArgumentError: ``prm`` has no ``score``.

    Examples:
        >>> import gymnasium as gym, numpy as np
        >>> from selfreg_gym import PRMObservation
        >>> class Half:
        ...     def score(self, observations):
        ...         return np.full(len(observations), 0.5)
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "heads",
        ...                interventions=[])
        >>> "prm_score" in env.reset(seed=0)[1]
        False
        >>> env = PRMObservation(env, Half())
        >>> env.reset(seed=0)[1]["prm_score"]
        0.5
    """

    vector = VectorPRMObservation

    def __init__(self, env: gym.Env[Any, Any], prm: PRM) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, prm=prm)
        check_wrapped(env, "PRMObservation", reads_text=True)
        gym.Wrapper.__init__(self, env)
        self.prm = check_prm(prm)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and add ``prm_score`` to ``info``."""
        text, info = self.env.reset(seed=seed, options=options)
        return text, {**info, "prm_score": float(scores_of(self.prm, [text])[0])}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env and add ``prm_score`` to ``info``."""
        text, reward, terminated, truncated, info = self.env.step(action)
        return text, reward, terminated, truncated, {**info, "prm_score": float(scores_of(self.prm, [text])[0])}
