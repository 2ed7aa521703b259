"""Making a helper of what there is: a Stable-Baselines3 model, or a function of the observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import HelperPolicy

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
        """Call the function on each observation; ``state`` is handed through."""
        n = batch_size(observation, episode_start)
        if n is None:
            return int(self.function(observation)), state
        if isinstance(observation, Mapping):
            rows: Any = [{name: value[i] for name, value in observation.items()} for i in range(n)]
        else:
            rows = observation
        return np.array([int(self.function(row)) for row in rows], dtype=np.int64), state

    def wrap(self, env: Any) -> Any:
        """The env whose observations the function reads."""
        return env if self._wrap is None else self._wrap(env)


class ModelHelper:
    """An object with ``predict`` (a Stable-Baselines3 model), as a helper.

    ``state`` and ``episode_start`` are handed through, so that a recurrent model keeps its memory within an episode and
    loses it between episodes.

    Args:
        model: has ``predict(observation, state=, episode_start=, deterministic=) -> (actions, state)``.
        wrap: ``env -> env`` whose observations the model reads (``FeatureObservation``).
    """

    def __init__(self, model: Any, *, wrap: Callable[[Any], Any] | None = None) -> None:
        self.model, self._wrap = model, wrap

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """The model's answer."""
        return self.model.predict(observation, state=state, episode_start=episode_start, deterministic=deterministic)

    def wrap(self, env: Any) -> Any:
        """The env whose observations the model reads."""
        return env if self._wrap is None else self._wrap(env)


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
