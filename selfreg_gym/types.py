"""The types of the whole package: tasks, decisions, actors, interventions, helpers, episodes.

Tasks and actors are protocols: any object with the right methods is one, and :mod:`selfreg_gym.testing` checks it.
"""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.utils.arguments import check_number
from selfreg_gym.utils.random_streams import generator

__all__ = [
    "Act",
    "Actor",
    "Decision",
    "Episode",
    "FunctionActor",
    "HelperPolicy",
    "Intervention",
    "OptionalActorMembers",
    "OptionalTaskMembers",
    "TextTask",
    "Transition",
    "as_actor",
    "optional_member",
]


@runtime_checkable
class TextTask(Protocol):
    """A Gymnasium env whose observation and action are ``str``.

    ``reset(options={"episode": i})`` chooses the task with index i; ``seed`` determines all other randomness, so one
    task can be played many times. ``info`` has these keys on every reset and step:

    * ``task_id`` (str): the name of the task;
    * ``admissible_actions`` (tuple of str), absent if any text is admissible;
    * ``state_key`` (str, default: the observation): equal for equal states; it includes the task id;
    * ``feature_key`` (str, optional): the same without the task id, with a few hundred values;
    * ``kind`` (str, optional): a group of tasks with separate results;
    * ``feature_vector`` (float32 ``(d,)``, optional): the same as numbers, for tasks whose states are continuous;
    * ``steps_left`` (int, optional): an upper bound on the steps until the task ends the episode;
    * ``success`` and ``is_success`` (bool) on the last step;
    * ``invalid_action`` (bool, optional): the last action was not admissible;
    * ``metrics`` (dict of numbers, optional, last step): further results. None, NaN and infinity mean "not measured",
      and become NaN.

    A key has one type on every step, so that Gymnasium's vector environments can put it into one array. A task counts
    its own steps, because a ``TimeLimit`` wrapper is not part of a snapshot. :class:`OptionalTaskMembers` has the
    optional members.
    """

    observation_space: gym.Space[str]
    action_space: gym.Space[str]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode and return ``(observation, info)``."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply one text action and return ``(observation, reward, terminated, truncated, info)``."""


class OptionalTaskMembers(Protocol):
    """Members that a task may have; :func:`optional_member` finds them through its wrappers."""

    num_episodes: int
    """The number of tasks: ``options={"episode": i}`` takes ``0 <= i < num_episodes``."""
    splits: Mapping[str, Mapping[str, Any]]
    """Class attribute: name of a split -> constructor arguments of its tasks. Rollouts are collected on ``collected``,
    else on the first one. A run uses them unless its config has ``task.splits``."""
    val_splits: Mapping[str, Mapping[str, Any]]
    """Class attribute: name of a validation split -> constructor arguments of its tasks, which are in no other split. A
    run chooses on them between helpers, unless its config has ``select.splits``."""
    split_titles: Mapping[str, str]
    """Class attribute: name of a split -> its heading in tables and plots."""
    action_kinds: tuple[str, ...]
    """Class attribute: prefixes of action texts. An action is of the kind of the first prefix that it begins with."""

    def snapshot(self) -> object:
        """The exact state, the random state included. Without it, actions are replayed."""

    def restore(self, snapshot: Any) -> None:
        """Return to the state of a snapshot, as often as it is called."""

    def expert_action(self) -> str:
        """A good admissible action in the current state, which does not change."""

    def augment(self, observation: str, rng: np.random.Generator) -> str:
        """Another possible observation of the same state, for training."""


class OptionalActorMembers(Protocol):
    """Members that an actor may have; ``immaterial`` also belongs to classes of interventions and helpers."""

    checkpoint_dir: str | Path | None
    """The directory of its language model, which can be the backbone of other models."""
    default_backbone: bool
    """The literal True in the class of the registered actor whose checkpoint the backbone ``auto`` tries last."""
    immaterial: tuple[str, ...]
    """Arguments that do not affect results (an address, a time-out): a store or run continues with other values."""


def optional_member(owner: Any, name: str) -> Any:
    """A declared optional member (as in :class:`OptionalTaskMembers`); None if ``owner`` does not have it."""
    find = None if isinstance(owner, type) else getattr(owner, "get_wrapper_attr", None)
    try:
        return getattr(owner, name) if find is None else find(name)
    except AttributeError:
        return None


class Decision:
    """One decision of the actor or of an intervention.

    Attributes:
        observation: the text to act on.
        admissible_actions: the actions that will be accepted, or None if any text is admissible.
        task: the live task env. A planner may take a snapshot and must restore it.
        rng: a random stream for (episode seed, step, actor), created at its first use. It is independent of other
            streams, so neither batching nor a memo changes a sample.
    """

    __slots__ = ("_key", "_rng", "admissible_actions", "observation", "task")

    def __init__(
        self,
        observation: str,
        admissible_actions: tuple[str, ...] | None = None,
        task: Any = None,
        key: tuple[int, ...] = (0,),
    ) -> None:
        """``key``: non-negative integers (episode seed, step, actor) that seed ``rng``."""
        self.observation = observation
        self.admissible_actions = admissible_actions
        self.task = task
        self._key = key
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        """The random stream of this decision alone."""
        if self._rng is None:
            self._rng = generator(self._key)
        return self._rng

    def renewed(self) -> Decision:
        """The same decision with its random stream reset."""
        return Decision(self.observation, self.admissible_actions, self.task, self._key)

    def __repr__(self) -> str:
        return f"Decision({self.observation[:60]!r}, {self.admissible_actions!r}, key={self._key})"


@dataclass(frozen=True, slots=True)
class Act:
    """The answer of an actor to one decision.

    Attributes:
        text: the action.
        logprobs: log-probabilities of ``decision.admissible_actions`` in their order, if the actor computes them.
        tokens: tokens read and written for this act (0 to 2**53), or None if they are not counted.
        cost: cost units of this call (0 to 1e12), or None; overrides the intervention's expected cost. The actor's own
            cost is in ``info["reported_cost"]`` and never charged.
        error: the reason of a failure, or None. An act with an error is not executed.

    The env checks each act when it is received. An act with an invalid field counts as failed: its episode ends with
    ``info["error"]``, and no other episode is affected.
    """

    text: str
    logprobs: tuple[float, ...] | None = None
    tokens: int | None = None
    cost: float | None = None
    error: str | None = None


@runtime_checkable
class Actor(Protocol):
    """Acts on a task. Batched: N decisions in, N acts (or plain strings) out, in the same order.

    ``__deepcopy__`` should return ``self``: Gymnasium copies env specs deeply, and a model must not be copied.
    :class:`OptionalActorMembers` has the optional members.
    """

    def act(self, decisions: Sequence[Decision]) -> Sequence[str | Act]:
        """Answer every decision."""


class FunctionActor:
    """A plain function of the observation, as an actor."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Call the function once per decision."""
        return [self.function(decision.observation) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionActor:
        return self

    def __repr__(self) -> str:
        return f"FunctionActor({getattr(self.function, '__qualname__', self.function)!r})"


def as_actor(actor: Actor | Callable[[str], str]) -> Actor:
    """Make an :class:`Actor` of ``f(observation: str) -> str``; an actor is returned unchanged.

    Raises:
        InvalidArgumentError: ``actor`` has no ``act`` method and cannot be called, or is a class of actors.
    """
    if isinstance(actor, type) and isinstance(inspect.getattr_static(actor, "act", None), types.FunctionType):
        raise InvalidArgumentError(
            f"an actor must be an object, received the class {actor.__name__}: write {actor.__name__}()."
        )
    if callable(getattr(actor, "act", None)):
        return actor  # type: ignore[return-value]
    if callable(actor):
        return FunctionActor(actor)
    raise InvalidArgumentError(
        f"an actor must have act(decisions) or be a function of the observation, received {type(actor).__name__}."
    )


class Intervention:
    """An actor that can be asked for help, and the cost of a call.

    Args:
        actor: an :class:`Actor`, or a function of the observation.
        name: its name in ``info`` and in tables.
        cost: expected cost units of one call (positive); an ``Act.cost`` overrides it for that call.
    """

    def __init__(self, actor: Actor | Callable[[str], str], *, name: str, cost: float = 1.0) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"an intervention needs a name (a non-empty str), received {shown(name)}.")
        self.actor = as_actor(actor)
        self.name = name
        self.cost = check_number(f"the cost of intervention {shown(name)} (cost units per call)", cost, above=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Intervention:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.actor!r}, name={self.name!r}, cost={self.cost:g})"


@runtime_checkable
class HelperPolicy(Protocol):
    """The minimal interface of a helper for ``run_episodes`` and ``evaluate``: ``predict`` of Stable-Baselines3.

    :class:`selfreg_gym.Helper` is the base class with all optional members. An object with only ``predict`` also works;
    if it draws random numbers in batch order, its decisions depend on the batch size.
    """

    def predict(
        self, observation: Any, state: Any = None, episode_start: np.ndarray | None = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """``(actions, state)``: 0 (nohelp) or k (help from the k-th intervention); see :meth:`Helper.predict`."""

    def wrap(self, env: Any) -> Any:
        """The env (single or vector) whose observations this helper reads; the identity by default."""
        return env


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a stored episode.

    Attributes:
        t: step number in the episode, from 0.
        observation, admissible_actions, state_key, feature_key, steps_left: the state *before* the action.
        action: 0 nohelp, k help from the k-th intervention.
        action_text: the action on the task.
        cost: cost units spent at this step.
        reward: the env's reward for this step.
        terminated, truncated: whether the episode ended here.
        invalid: whether ``action_text`` was not admissible.
        tokens: tokens read and written for the action (``Act.tokens``), or None if they are not counted.
        reported_cost: cost units that the call reported (``Act.cost``), or None.
        actor_logprobs: log-probabilities that the actor gives to ``admissible_actions``, in their order and rounded to
            float32, whoever acted. None for all steps of a store, unless the actor was asked at every step
            (``ask_actor_always``): an entry that is missing at some steps only would reveal who acted there.
        feature_vector: ``info["feature_vector"]`` before the action, or None.
    """

    t: int
    observation: str
    admissible_actions: tuple[str, ...] | None
    state_key: str
    feature_key: str | None
    steps_left: int | None
    action: int
    action_text: str
    cost: float
    reward: float
    terminated: bool
    truncated: bool
    invalid: bool
    tokens: int | None = None
    reported_cost: float | None = None
    actor_logprobs: tuple[float, ...] | None = None
    feature_vector: tuple[float, ...] | None = None

    @property
    def price(self) -> float | None:
        """Former name of ``reported_cost``."""
        warnings.warn("Transition.price is now Transition.reported_cost.", DeprecationWarning, stacklevel=2)
        return self.reported_cost


@dataclass(frozen=True, slots=True)
class Episode:
    """A played episode: its transitions and its outcome.

    Attributes:
        task_index: index of the task (``reset(options={"episode": task_index})``).
        seed: seed of the episode (``reset(seed=seed)``).
        task_id: the name of the task (``info["task_id"]``).
        kind: the task's kind, or ``""`` (``info["kind"]``).
        help_probability: the probability of random help at each step; None if a helper decided.
        success: the outcome.
        usage: ``(K,)`` cost units per intervention over the episode.
        steps: its transitions.
        error: the reason of a failure, or None; a failed episode is excluded from all statistics.
        metrics: numbers that the task reported at the end (``info["metrics"]``, for instance ``{"spl": 0.8}``).
    """

    task_index: int
    seed: int
    task_id: str
    kind: str
    help_probability: float | None
    success: bool
    usage: tuple[float, ...]
    steps: tuple[Transition, ...]
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """Cost units of the whole episode."""
        return float(sum(self.usage))

    def __iter__(self) -> Iterator[Transition]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)
