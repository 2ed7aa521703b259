"""Adapters that make a helper of a Stable-Baselines3 model or of a function of the observation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.types import HelperPolicy
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["FunctionHelper", "ModelHelper", "as_helper", "batch_size"]


def batch_size(observation: Any, episode_start: np.ndarray | None = None) -> int | None:
    """Number of observations in a batch, or None when it is one single observation.

    A tuple, a list and an object array are batches (of texts), a ``str`` is single. A dict of arrays is a batch when
    ``episode_start`` is given and all its arrays have as many rows as that has entries.
    """
    if isinstance(observation, str):
        return None
    if isinstance(observation, Mapping):
        rows = {np.shape(value)[:1] for value in observation.values()}
        n = None if episode_start is None else len(episode_start)
        return n if rows == {(n,)} else None
    if isinstance(observation, np.ndarray) and observation.dtype.kind not in "OU":
        n = None if episode_start is None else len(episode_start)
        return n if observation.shape[:1] == (n,) else None
    return len(observation)


class FunctionHelper:
    """A function ``observation -> action`` (0 nohelp, k help), as a helper.

    Args:
        function: called once per observation.
        wrap: ``env -> env`` whose observations the function reads; None for the text itself.
    """

    def __init__(self, function: Callable[[Any], int], *, wrap: Callable[[Any], Any] | None = None) -> None:
        self.function, self._wrap = function, wrap

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Call the function on each observation; ``state`` is handed through.

        Raises:
            TaskContractError: an answer is not a whole number.
        """
        n = batch_size(observation, episode_start)
        if n is None:
            return self._ask(observation), state
        if isinstance(observation, Mapping):
            rows: Any = [{name: value[i] for name, value in observation.items()} for i in range(n)]
        else:
            rows = observation
        return np.array([self._ask(row) for row in rows], dtype=np.int64), state

    def _ask(self, observation: Any) -> int:
        """The function's answer to one observation; what is no whole number is an error, and never rounded."""
        answer = self.function(observation)
        plain = answer.item() if isinstance(answer, np.ndarray | np.generic) and answer.size == 1 else answer
        if isinstance(plain, int) or (isinstance(plain, float) and plain.is_integer()):
            return int(plain)
        name = getattr(self.function, "__name__", type(self.function).__name__)
        raise TaskContractError(
            f"a helper's function answers an observation with an integer: 0 (nohelp) or k (help from the k-th "
            f"intervention). {name} answered {shown(answer)} of type {type(answer).__name__}."
        )

    def wrap(self, env: Any) -> Any:
        """The env whose observations the function reads."""
        return env if self._wrap is None else self._wrap(env)


class ModelHelper:
    """An object with ``predict`` (a Stable-Baselines3 model), as a helper.

    ``state`` and ``episode_start`` are handed through, so that a recurrent model keeps its memory within an episode and
    loses it between episodes. A model of Stable-Baselines3 samples from the global generators of torch and NumPy. Where
    it samples (``deterministic=False``) in episodes that ``play`` begins, each row is predicted alone, with those
    generators seeded by ``seed``, the episode and the step, and put back afterwards: the batch size changes nothing.

    Args:
        model: has ``predict(observation, state=, episode_start=, deterministic=) -> (actions, state)``.
        wrap: ``env -> env`` whose observations the model reads (``FeatureObservation``).
        seed: of sampled actions.
    """

    def __init__(self, model: Any, *, wrap: Callable[[Any], Any] | None = None, seed: int = 0) -> None:
        self.model, self._wrap, self.seed = model, wrap, int(seed)

    def begin_episodes(self, state: Any, starts: np.ndarray, keys: np.ndarray) -> Any:
        """Set the random streams of the episodes that begin (:class:`selfreg_gym.types.HelperPolicy`)."""
        if not _is_sb3(self.model):
            return state
        keyed = state if isinstance(state, _Keyed) else _Keyed(None, state, None)
        return replace(keyed, draws=EpisodeDraws.begin(keyed.draws, starts, keys, seed=self.seed))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """The model's answer."""
        if not isinstance(state, _Keyed):
            return self.model.predict(
                observation, state=state, episode_start=episode_start, deterministic=deterministic
            )
        if deterministic:
            actions, memory = self.model.predict(
                observation, state=state.memory, episode_start=episode_start, deterministic=True
            )
            return actions, replace(state, memory=memory)
        return self._sample(observation, state, episode_start)

    def _sample(self, observation: Any, state: _Keyed, episode_start: np.ndarray | None) -> tuple[Any, Any]:
        """One row at a time, each with generators of its own."""
        assert state.draws is not None
        n = len(state.draws.streams)
        numbers, draws = EpisodeDraws.at(state.draws, n, episode_start, seed=self.seed).of_step()
        starts = np.zeros(n, bool) if episode_start is None else np.atleast_1d(episode_start)
        memories, actions = list(state.memories or [None] * n), []
        single = batch_size(observation, episode_start) is None
        for i in range(n):
            row = observation if single else _row(observation, i)
            with _seeded(int(numbers[i, 0] * 2**32)):
                action, memories[i] = self.model.predict(
                    row, state=memories[i], episode_start=starts[i : i + 1], deterministic=False
                )
            actions.append(np.atleast_1d(action)[0])
        chosen = np.asarray(actions)
        return (chosen[0] if single else chosen), replace(state, draws=draws, memories=tuple(memories))

    def wrap(self, env: Any) -> Any:
        """The env whose observations the model reads."""
        return env if self._wrap is None else self._wrap(env)


@dataclass(frozen=True, eq=False)
class _Keyed:
    """State of a sampling model: the streams of the rows, and its memory, for the batch or by row."""

    draws: EpisodeDraws | None
    memory: Any
    memories: tuple[Any, ...] | None


def _is_sb3(model: Any) -> bool:
    """Whether a model samples as those of Stable-Baselines3 do."""
    return hasattr(model, "policy") and hasattr(model, "learn")


def _row(observation: Any, i: int) -> Any:
    """The i-th observation, as a batch of one."""
    if isinstance(observation, Mapping):
        return {name: value[i : i + 1] for name, value in observation.items()}
    return observation[i : i + 1]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch for the time of the block."""
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - SB3 draws from it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def as_helper(helper: Any, wrap: Callable[[Any], Any] | None = None) -> HelperPolicy:
    """Make a helper of a Stable-Baselines3 model or of a function; a helper is returned unchanged if ``wrap`` is None.

    Args:
        helper: a helper, an object with ``predict``, or a function ``observation -> action``.
        wrap: the wrapper of its observations, single and vector: ``StateKeyObservation``, ``FeatureObservation``, or
        any
            ``env -> env``.

    Raises:
        InvalidArgumentError: ``helper`` has no ``predict`` and cannot be called.

    Example:
        >>> from selfreg_gym import StateKeyObservation, as_helper
        >>> helper = as_helper(lambda key: int(key.endswith("/1")), wrap=StateKeyObservation)
        >>> helper.predict(("coin-0/2", "coin-0/1"))[0]
        array([0, 1])
    """
    if wrap is not None and not callable(wrap):
        raise InvalidArgumentError(f"wrap is a wrapper class or a function env -> env, received {wrap!r}.")
    if callable(getattr(helper, "predict", None)):
        if wrap is None and callable(getattr(helper, "wrap", None)):
            return helper
        return ModelHelper(helper, wrap=wrap)
    if callable(helper):
        return FunctionHelper(helper, wrap=wrap)
    raise InvalidArgumentError(
        f"a helper has predict(observation, ...) or is a function of the observation, received {type(helper).__name__}."
    )
