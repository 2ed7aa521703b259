"""``as_helper``: adapters for Stable-Baselines3 models, other objects with ``predict``, and functions."""

from __future__ import annotations

import copy
import functools
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.helper import Helper, batch_size
from selfreg_gym.types import HelperPolicy, Intervention
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["FunctionHelper", "ModelHelper", "as_helper", "as_helper_class", "global_generators"]

_OWN = ("seed", "prm", "calibration", "last_unseen", "has_knob", "draws_per_episode")
_COPIED = tuple(name for name in Helper.__annotations__ if name not in _OWN)
"""Members of :class:`Helper` that an adapter copies from the object where that has them; the adapter has its own values
of the others."""


class FunctionHelper(Helper):
    """A function ``observation -> action`` (0 nohelp, k help), as a helper.

    Args:
        function: called once per observation.
        wrap: ``env -> env`` whose observations the function reads; None for the text itself.
    """

    def __init__(self, function: Callable[[Any], int], *, wrap: Callable[[Any], Any] | None = None) -> None:
        self.function, self._wrap = function, wrap

    @property
    def type_name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Call the function on each observation; ``state`` is returned unchanged.

        Raises:
            TaskContractError: an answer is not an integer.
        """
        if isinstance(observations, Mapping):
            observations = [{name: value[i] for name, value in observations.items()} for i in range(len(start))]
        return np.array([self._action(observation) for observation in observations], dtype=np.int64), state

    def _action(self, observation: Any) -> int:
        """The function's answer to one observation, without rounding."""
        answer = self.function(observation)
        plain = answer.item() if isinstance(answer, np.ndarray | np.generic) and answer.size == 1 else answer
        if isinstance(plain, int) or (isinstance(plain, float) and plain.is_integer()):
            return int(plain)
        raise TaskContractError(
            f"a helper's function must return an integer: 0 (nohelp) or k (help from the k-th "
            f"intervention). {self.type_name} returned {shown(answer)} of type {type(answer).__name__}."
        )

    def wrap(self, env: Any) -> Any:
        """The env whose observations the function reads."""
        return env if self._wrap is None else self._wrap(env)


class ModelHelper(Helper):
    """An object with ``predict``, as a helper: a Stable-Baselines3 model, or a helper without the base class.

    Members of :class:`Helper` that the object has (``knob``, ``with_knob``, ``wrap``, ...) are used.

    ``state`` and ``episode_start`` are passed on, so that a recurrent model keeps its memory within an episode and
    loses it between episodes. A model of Stable-Baselines3 samples from the global generators of torch and NumPy. If
    it samples (``deterministic=False``) in episodes with a key (:meth:`begin_episodes`), observations are
    answered one by one, with these generators seeded by ``seed``, the episode and the step, and restored afterwards.
    So results do not depend on the batch size.

    Args:
        model: has ``predict(observation, state=, episode_start=, deterministic=) -> (actions, state)``.
        wrap: ``env -> env`` whose observations the model reads (``FeatureObservation``); None: the model's own ``wrap``
            if it has one, otherwise the env itself.
        seed: seed of sampled actions.
    """

    def __init__(self, model: Any, *, wrap: Callable[[Any], Any] | None = None, seed: int = 0) -> None:
        self.model, self._wrap, self.seed = model, wrap, int(seed)
        self._sb3 = hasattr(model, "policy") and hasattr(model, "learn")
        for name in () if self._sb3 else _COPIED:
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        self.has_knob = all(hasattr(model, name) for name in ("knob", "knob_bounds", "with_knob"))
        self.draws_per_episode = self._sb3 or getattr(model, "draws_per_episode", hasattr(model, "begin_episodes"))

    @property
    def type_name(self) -> str:
        """The name of the model's class."""
        return type(self.model).__name__

    @property
    def prm(self) -> Any:
        """The process reward model of the model."""
        return getattr(self.model, "prm", None)

    @prm.setter
    def prm(self, prm: Any) -> None:
        self.model.prm = prm

    @property
    def info(self) -> dict[str, Any]:
        """The facts about the training of a trained model."""
        info: dict[str, Any] = self.model.info
        return info

    def save_pretrained(self, path: str | Path) -> None:
        """Save a trained model, so that its ``from_run`` can load it."""
        self.model.save_pretrained(path)

    @property
    def knob(self) -> float:
        """The model's knob."""
        return self.model.knob

    @property
    def expected_usage(self) -> float | None:
        """The expected usage of the model or of its ``policy``."""
        return self._expected("expected_usage")

    @property
    def expected_success(self) -> float | None:
        """The expected success of the model or of its ``policy``."""
        return self._expected("expected_success")

    def _expected(self, name: str) -> float | None:
        own = getattr(self.model, name, None)
        return getattr(getattr(self.model, "policy", None), name, None) if own is None else own

    def for_budgets(self, budgets: Sequence[float]) -> Mapping[float, Helper] | None:
        """The model's helpers for several budgets, if it has ``for_budgets``."""
        made = self.model.for_budgets(budgets) if hasattr(self.model, "for_budgets") else None
        return made and {budget: self._around(model) for budget, model in made.items()}

    def for_interventions(self, interventions: Sequence[Intervention]) -> ModelHelper:
        """The model for an env with these interventions."""
        bind = getattr(self.model, "for_interventions", None)
        return self if bind is None else self._around(bind(interventions))

    def with_knob(self, knob: float, /) -> ModelHelper:
        """The model at another knob."""
        return self._around(self.model.with_knob(knob))

    def with_seed(self, seed: int) -> ModelHelper:
        """The same helper with another seed."""
        if hasattr(self.model, "with_seed"):
            return self._around(self.model.with_seed(seed))
        model = self.model
        if not self._sb3 and isinstance(getattr(model, "seed", None), int):
            model = copy.copy(model)
            model.seed = seed
        return ModelHelper(model, wrap=self._wrap, seed=seed)

    def _around(self, model: Any) -> ModelHelper:
        """The same helper around another model."""
        return self if model is self.model else ModelHelper(model, wrap=self._wrap, seed=self.seed or 0)

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the random streams of starting episodes (:meth:`Helper.begin_episodes`)."""
        if hasattr(self.model, "begin_episodes"):
            return self.model.begin_episodes(state, starts, keys)
        if not self._sb3:
            return state
        keyed = state if isinstance(state, _Keyed) else _Keyed(None, state, None)
        return replace(keyed, draws=EpisodeDraws.begin(keyed.draws, starts, keys, seed=self.seed or 0))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """The model's answer."""
        memory = state.memory if isinstance(state, _Keyed) else state
        if isinstance(state, _Keyed) and not deterministic:
            return self._sample(observation, state, episode_start)
        answer = self.model.predict(observation, state=memory, episode_start=episode_start, deterministic=deterministic)
        self.last_unseen = getattr(self.model, "last_unseen", None)
        return (answer[0], replace(state, memory=answer[1])) if isinstance(state, _Keyed) else answer

    def _sample(self, observation: Any, state: _Keyed, episode_start: NDArray[np.bool_] | None) -> tuple[Any, _Keyed]:
        """Sample each action alone, with the generators seeded by its episode and step."""
        assert state.draws is not None
        n = len(state.draws.streams)
        numbers, draws = EpisodeDraws.at(state.draws, n, episode_start, seed=self.seed or 0).of_step()
        starts = np.zeros(n, bool) if episode_start is None else np.atleast_1d(episode_start)
        memories, actions = list(state.memories or [None] * n), []
        single = batch_size(observation, episode_start) is None
        for i in range(n):
            one = observation if single else _slice(observation, i)
            with global_generators(int(numbers[i, 0] * 2**32)):
                action, memories[i] = self.model.predict(
                    one, state=memories[i], episode_start=starts[i : i + 1], deterministic=False
                )
            actions.append(np.atleast_1d(action)[0])
        chosen = np.asarray(actions)
        return (chosen[0] if single else chosen), replace(state, draws=draws, memories=tuple(memories))

    def wrap(self, env: Any) -> Any:
        """The env whose observations the model reads."""
        wrap = getattr(self.model, "wrap", None) if self._wrap is None else self._wrap
        return wrap(env) if callable(wrap) else env


@dataclass(frozen=True, eq=False)
class _Keyed:
    """State of a sampling model: the random streams, and its memory, for the batch or for each index."""

    draws: EpisodeDraws | None
    memory: Any
    memories: tuple[Any, ...] | None


def _slice(observation: Any, i: int) -> Any:
    """The i-th observation, as a batch of one."""
    if isinstance(observation, Mapping):
        return {name: value[i : i + 1] for name, value in observation.items()}
    return observation[i : i + 1]


@contextmanager
def global_generators(seed: int | None = None) -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch, from which SB3 draws, after the block.

    Args:
        seed: seeds them at the start of the block; None leaves them as they are.
    """
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def as_helper(helper: Any, wrap: Callable[[Any], Any] | None = None, *, what: str = "a helper") -> Helper:
    """Make a helper of a Stable-Baselines3 model, an object with ``predict``, or a function of the observation.

    Args:
        helper: a :class:`Helper` is returned unchanged if ``wrap`` is None.
        wrap: the wrapper of its observations, single and vector: ``StateKeyObservation``, ``FeatureObservation``, or
            any ``env -> env``.
        what: its name in an error.

    Raises:
        InvalidArgumentError: ``helper`` is a class, a text, or neither a function nor an object with ``predict``.

    Examples:
        >>> from selfreg_gym import StateKeyObservation, as_helper
        >>> helper = as_helper(lambda key: int(key.endswith("/1")), wrap=StateKeyObservation)
        >>> helper.predict(("coin-0/2", "coin-0/1"))[0]
        array([0, 1])
    """
    if wrap is not None and not callable(wrap):
        raise InvalidArgumentError(f"wrap must be a wrapper class or a function env -> env, received {wrap!r}.")
    if isinstance(helper, Helper) and wrap is None:
        return helper
    if isinstance(helper, type):
        received = f"the class {helper.__name__}: write {helper.__name__}(...)"
    elif isinstance(helper, HelperPolicy) and callable(helper.predict):
        return ModelHelper(helper, wrap=wrap)
    elif callable(helper):
        return FunctionHelper(helper, wrap=wrap)
    elif isinstance(helper, str):
        received = f"the text {helper!r}: selfreg_gym.registry.load('helpers', {helper!r})() makes a registered helper"
    else:
        received = f"{shown(helper)} of type {type(helper).__name__}"
    raise InvalidArgumentError(
        f"{what} must be an object with predict(observation, ...) or a function of the observation, received "
        f"{received}."
    )


def as_helper_class(cls: type[Any]) -> type[Helper]:
    """A registered class as a class of helpers: unchanged if it is one, otherwise an adapter around its instances."""
    if issubclass(cls, Helper):
        return cls

    class Adapted(ModelHelper):
        @functools.wraps(cls.__init__)  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(cls(*args, **kwargs))

        def __reduce__(self) -> Any:  # this class cannot be imported by another process
            return ModelHelper, (self.model,), vars(self)

    declared: dict[str, Any] = {name: getattr(cls, name) for name in _COPIED if hasattr(cls, name)}
    declared = {name: value for name, value in declared.items() if not isinstance(value, property)}
    declared |= {name: getattr(cls, name) for name in ("__name__", "__qualname__", "__module__", "__doc__")}
    for name in ("made_in", "from_run", "train"):
        if hasattr(cls, name):
            declared[name] = staticmethod(_adapted(getattr(cls, name)))
    for name, value in declared.items():
        setattr(Adapted, name, value)
    Adapted.__signature__ = inspect.signature(cls)  # type: ignore[attr-defined]
    Adapted.has_knob = hasattr(cls, "with_knob")
    return Adapted


def _adapted(method: Callable[..., Any]) -> Callable[..., Any]:
    """A class method whose result is a helper with the base class."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        made = method(*args, **kwargs)
        return made if isinstance(made, bool) else as_helper(made)

    return call
