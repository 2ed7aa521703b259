"""`Helper`: the base class of helpers and its optional members; `HelperKey`: the key of a helper in results."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.types import Intervention

__all__ = ["Helper", "HelperDescription", "HelperKey", "Learns", "Reference", "Role", "batch_size"]

Role = Literal["deployable", "yardstick", "baseline"]
Reference = Literal["lower", "upper", "random", "threshold"]
Learns = Literal["labels", "gains"]


@dataclass(frozen=True, slots=True)
class HelperDescription:
    """The description of a helper in results; reports need no import of its class. :class:`Helper` explains the fields.

    ``dataclasses.asdict`` gives its form in ``evaluation.json``.
    """

    role: Role = "deployable"
    reference: Reference | None = None
    minor: bool = False
    knows_tasks: bool = False
    label: str = ""
    marker: str | None = None
    colour: str | None = None
    flags_hard_tasks: bool = False


class Helper:
    """A helper decides at each step whether to ask for help: 0 is nohelp, k is help from the k-th intervention.

    A subclass implements :meth:`decide`; all other members have defaults. A helper is a value: methods such as
    :meth:`with_knob` return a changed copy. A helper with a knob defines :attr:`knob`, :attr:`knob_bounds` and
    :meth:`with_knob`; one that draws random numbers defines :attr:`seed` and :meth:`begin_episodes`.

    Example:
        >>> class AskAboutDoors(Helper):
        ...     def decide(self, observations, state, start):
        ...         return np.array([int("door" in text) for text in observations]), state
        >>> AskAboutDoors().predict(("a door", "a wall"))[0]
        array([1, 0])
    """

    # Display in results.
    role: Role = "deployable"
    """``deployable``: usable on new tasks; the report is about these. ``yardstick``: uses information that a deployed
    helper does not have (the solved table). ``baseline``: a simple rule for comparison."""
    reference: Reference | None = None
    """Its role in comparisons of other helpers: the ``lower`` or ``upper`` end of the usage axis (never and always
    asking), or ``random`` help or a ``threshold`` on p(s) at equal usage. None for most helpers."""
    minor: bool = False
    """A run evaluates it at ``evaluate.budgets_others`` with ``evaluate.episodes_others`` episodes per task."""
    label: str = ""
    """Its name in tables and legends; empty: its id."""
    marker: str | None = None
    """Matplotlib's code of its marker; None: chosen by its id."""
    colour: str | None = None
    """Its colour in the report's palette (``"blue"``); None: chosen by its id."""
    flags_hard_tasks: bool = False
    """Its knob is a threshold on p(s) at reset; below it, the helper asks in all steps of the episode."""

    # Construction in a run.
    takes_budget: bool = False
    """The policy depends on the budget: :meth:`from_run` is called for each. False: only the knob depends on it."""
    asks_one: bool = False
    """It asks only :attr:`intervention`, which is an argument; a run compares it once per intervention."""
    knows_tasks: bool = False
    """It has a table of the collected tasks' keys: it is calibrated on these tasks and never selected."""
    of_values: bool = False
    """It is made from fitted values, ``train(rollouts, teacher, costs=..., seed=..., progress=...)``; a run makes it in
    the stage ``fit-values``."""
    takes_cap: bool = False
    """Its ``train`` has the argument ``cap``, the largest number of calls of an episode, for fitted values with hard
    caps; a run passes ``values.cap``."""
    follows_policy: bool = False
    """It follows a solved policy: its arguments are a ``Frontier`` and ``budget``. :func:`selfreg_gym.calibrate` finds
    it by the literal True in its source."""
    learns: Learns = "labels"
    """What ``train`` of a trained helper takes. ``labels``: the labels of the solution, ``train(labels, ...)``.
    ``gains``: rollouts and a teacher with the gains of help at all prices, ``train(rollouts, teacher, ...)``."""
    needs_cap: bool | None = None
    """Whether a helper trained by reinforcement learning needs a hard cap; None for all other helpers."""

    # Attributes of an object.
    intervention: int | str | None = None
    """The only intervention that it asks: a number from 1, or a name; None if it chooses."""
    seed: int | None = None
    """The seed of its random numbers; None if it is deterministic."""
    prm: Any = None
    """Its process reward model; the helpers of a run share one."""
    knob_bounds: tuple[float, float] = (0.0, 1.0)
    """``(low, high)`` of the knob; at ``low`` it never asks."""
    knob_step: float | None = None
    """A relevant change of the knob; None: 1/20 of the range of the bounds. Define it if the bounds are far apart."""
    calibration: Mapping[str, Any] | None = None
    """The result of :func:`selfreg_gym.calibrate`; None before the calibration."""
    last_unseen: NDArray[np.bool_] | None = None
    """``(N,)`` after a decision: True where the helper does not know the state; None if not reported."""
    has_knob: bool = False
    """Set for every class that defines :meth:`with_knob`."""
    draws_per_episode: bool = False
    """Set for every class that defines :meth:`begin_episodes`: its random numbers do not depend on the batch."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.has_knob, cls.draws_per_episode = cls.overrides("with_knob"), cls.overrides("begin_episodes")

    @classmethod
    def overrides(cls, method: str) -> bool:
        """Whether this class overrides the default of ``method``."""
        own, default = getattr(cls, method), getattr(Helper, method)
        return getattr(own, "__func__", own) is not getattr(default, "__func__", default)

    @classmethod
    def lacks_with_knob(cls) -> bool:
        """Whether this class defines ``knob`` or ``knob_bounds`` without :meth:`with_knob`: it cannot be calibrated."""
        return not cls.overrides("with_knob") and (cls.overrides("knob") or cls.knob_bounds != Helper.knob_bounds)

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether a run directory has the files that it needs; if not, it is compared only if the config names it."""
        return True

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Helper:
        """Build the helper from a run directory. By default the class is called without the run.

        Args:
            run: the run directory.
            budget: C, cost units per episode; None if ``takes_budget`` is False.
            seed: seed of its random numbers.

        Further keyword arguments come from ``evaluate.kwargs``.
        """
        return cls()

    def for_budgets(self, budgets: Sequence[float]) -> Mapping[float, Helper] | None:
        """The helpers of several budgets with one shared model, which reads each observation once for all of them.

        None: the helpers are built one by one.
        """
        return None

    def for_interventions(self, interventions: Sequence[Intervention]) -> Helper:
        """The helper for an env with these interventions (action k asks the k-th); called once, before the episodes.

        Raises:
            InvalidArgumentError: it was trained for another number of interventions, or for other costs.
        """
        return self

    def wrap(self, env: Any) -> Any:
        """Return the env, single or vector, whose observations it reads; by default ``env`` (the actor's text)."""
        return env

    @property
    def knob(self) -> float:
        """The parameter that calibration sets; usage does not fall when it rises."""
        raise AttributeError(f"{self.type_name} has no knob")

    def with_knob(self, knob: float, /) -> Helper:
        """The same helper at another knob.

        Raises:
            InvalidArgumentError: it has no knob.
        """
        raise InvalidArgumentError(f"{self.type_name} has no knob: define knob, knob_bounds and with_knob.")

    def with_seed(self, seed: int) -> Helper:
        """The same helper with another seed."""
        return self if self.seed is None else self._replaced(seed=seed)

    @property
    def expected_usage(self) -> float | None:
        """Its expected cost units per episode on the tasks of its data; None if unknown."""
        return None

    @property
    def expected_success(self) -> float | None:
        """Its expected success rate on the tasks of its data; None if unknown."""
        return None

    @property
    def description(self) -> HelperDescription:
        """Its description in results.

        Raises:
            TaskContractError: ``label``, ``marker`` or ``colour`` is not a text, or ``role`` is none of the three.
        """
        for name in ("label", "marker", "colour", "role"):
            value = getattr(self, name)
            if not isinstance(value, str | None) or (name == "role" and value not in get_args(Role)):
                raise TaskContractError(f"{name} of {self.type_name} is {shown(value)}: see selfreg_gym.Helper.{name}.")
        return HelperDescription(**{name: getattr(self, name) for name in HelperDescription.__slots__})

    @property
    def type_name(self) -> str:
        """The name of its class, for messages."""
        return type(self).__name__

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the random streams of starting episodes; called directly before :meth:`predict`.

        The random numbers of a helper depend on its seed and the key
        (:class:`selfreg_gym.utils.episode_draws.EpisodeDraws`). Then decisions depend neither on the batch size nor on
        the number of processes.

        Args:
            state: the state that the last ``predict`` returned; None at first.
            starts: ``(N,)`` True where an episode begins.
            keys: ``(N,)`` numbers in [0, 2**63), functions of the episode's seed and task index.

        Returns:
            The state for ``predict``, which gets the same ``starts`` as ``episode_start``.
        """
        return state

    def episode_mixture(self) -> Sequence[tuple[float, Helper]] | None:
        """The helpers from which this one draws at the start of an episode, with their probabilities.

        Off-policy evaluation evaluates each of them. A helper that defines :meth:`begin_episodes` but makes no draw
        that matters returns ``[(1.0, self)]``. None: no such draw, or draws of another kind.
        """
        return None

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Decide on N observations.

        Args:
            observations: N texts; or the observations of :meth:`wrap`, an array ``(N, ...)`` or a dict of arrays.
            state: the state that the previous call returned; None at first. It must not be changed in place: after an
                error, the helper is asked again with the same state.
            start: ``(N,)`` True where an episode begins and the memory must be reset.

        Returns:
            ``(N,)`` actions from 0 to K, and the state.
        """
        raise NotImplementedError(f"{self.type_name} must define decide(observations, state, start).")

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Decide with the signature of Stable-Baselines3.

        Args:
            observation: one observation (a ``str``), or N of them.
            state: the state that the previous call returned; None at first.
            episode_start: ``(N,)`` True where an episode begins.
            deterministic: for compatibility; :meth:`decide` draws its random numbers in any case.

        Returns:
            The action of one observation, or the actions ``(N,)``, and the state.
        """
        n = self.batch_size(observation, episode_start)
        observations = _batch_of_one(observation) if n is None else observation
        if not isinstance(observations, Mapping) and _is_sequence(observations):
            observations = list(observations)
        start = np.full(1 if n is None else n, state is None)
        if episode_start is not None:
            start |= np.atleast_1d(episode_start).astype(bool)
        answer = self.decide(observations, state, start)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TaskContractError(f"decide must return (actions, state); {self.type_name} returned {shown(answer)}.")
        actions, state = answer
        try:
            found: NDArray[Any] = np.atleast_1d(np.asarray(actions))
        except ValueError:  # nested lists of different lengths
            found = np.empty(0)
        if not len(found) or (n is None and found.shape != (1,)):
            raise TaskContractError(
                f"for N observations, a helper must return N integer actions (here N = {n or 1}); {self.type_name} "
                f"returned {shown(actions)}."
            )
        return (found[0] if n is None else found), state

    def batch_size(self, observation: Any, episode_start: NDArray[np.bool_] | None) -> int | None:
        """See :func:`batch_size`; override it if the shape of the observations gives more information."""
        return batch_size(observation, episode_start)

    def _replaced(self, **attributes: Any) -> Self:
        """A shallow copy with other attributes."""
        other = copy.copy(self)
        vars(other).update(attributes)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # Gymnasium copies env specs deeply, and a model must not be copied


@dataclass(frozen=True, slots=True)
class HelperKey:
    """The key of a compared helper: ``NAME``, ``NAME@BUDGET`` or ``NAME@BUDGET#SEED`` in files and on the command line.

    Attributes:
        name: the helper's id; with ``:INTERVENTION`` if it is compared once for each intervention.
        budget: C, cost units per episode, or None.
        seed: the training seed, if helpers of several seeds are compared, or None.

    Example:
        >>> key = HelperKey("lm", 1 / 3)
        >>> str(key), HelperKey.parse(str(key)) == key
        ('lm@0.3333333333333333', True)
    """

    name: str
    budget: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or set(self.name) & set("@#"):
            raise InvalidArgumentError(f"a helper's name is a text without '@' and '#', received {shown(self.name)}.")
        if self.budget is not None and not math.isfinite(self.budget):
            raise InvalidArgumentError(f"a budget is a finite number, received {self.budget} for {shown(self.name)}.")

    @classmethod
    def parse(cls, text: str | HelperKey) -> HelperKey:
        """Read a key; ``HelperKey.parse("lm@1#3")`` is ``HelperKey("lm", 1.0, 3)``. A key is returned unchanged.

        Raises:
            InvalidArgumentError: not a text, or the budget is not a number, or the seed not an integer.
        """
        if isinstance(text, HelperKey):
            return text
        try:
            name, _, seed = text.partition("#")
            name, _, budget = name.partition("@")
            return cls(name, float(budget) if budget else None, int(seed) if seed else None)
        except (ValueError, AttributeError, TypeError):
            raise InvalidArgumentError(
                f"a helper's key must be NAME[@BUDGET[#SEED]], for instance 'lm@1#3'; received {text!r}."
            ) from None

    @property
    def helper_id(self) -> str:
        """The registered helper: the name without the intervention."""
        return self.name.partition(":")[0]

    def __str__(self) -> str:
        short = f"{self.budget:g}" if self.budget is not None else ""
        budget = short if not short or float(short) == self.budget else repr(float(self.budget or 0.0))
        return self.name + (f"@{budget}" if budget else "") + ("" if self.seed is None else f"#{self.seed}")


def batch_size(observation: Any, episode_start: NDArray[np.bool_] | None = None) -> int | None:
    """The number of observations in a batch; None for a single observation.

    A tuple, a list and an object array are batches (of texts), a ``str`` is single. An array of numbers, or a dict of
    arrays, is a batch if ``episode_start`` is given and all arrays have the same length.
    """
    if isinstance(observation, str | int | float | np.generic):
        return None
    if not isinstance(observation, Mapping) and _is_sequence(observation):
        return len(observation)
    n = None if episode_start is None else len(episode_start)
    arrays = observation.values() if isinstance(observation, Mapping) else [observation]
    return n if {np.shape(array)[:1] for array in arrays} == {(n,)} else None


def _is_sequence(observation: Any) -> bool:
    """Whether an observation that is not a ``str`` is a sequence of observations and not an array of numbers."""
    return not isinstance(observation, np.ndarray) or observation.dtype.kind in "OU"


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, str):
        return [observation]
    if isinstance(observation, Mapping):
        return {name: np.asarray(value)[None] for name, value in observation.items()}
    return np.asarray(observation)[None]
