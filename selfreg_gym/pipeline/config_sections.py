"""The sections of a config: one pydantic model each, with type, range, default and meaning of every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from selfreg_gym.errors import UnknownNameError
from selfreg_gym.intervention_env.interventions import names_of

__all__ = [
    "ADDED",
    "SPEED",
    "ActorConfig",
    "CalibrateConfig",
    "CollectConfig",
    "EvaluateConfig",
    "HelperConfig",
    "InterventionsConfig",
    "LabelConfig",
    "PRMConfig",
    "RLConfig",
    "Section",
    "SelectConfig",
    "SolveConfig",
    "TaskConfig",
    "TrainingConfig",
    "TransitionsConfig",
    "ValuesConfig",
]

SPEED = "affects only the speed or the display of a run, not its results"
"""Marks keys that are not part of a run's identity."""

ADDED = "added after the first release"
"""Marks keys that belong to a run's identity only if they differ from the default, so that older runs can continue."""

Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
Workers = Annotated[int, Field(ge=1), SPEED]
Texts = Annotated[tuple[str, ...], Strict(False)]
Probabilities = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Strict(False), Field(min_length=1)]
Shares = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Strict(False)]


def _distinct(budgets: tuple[float, ...]) -> tuple[float, ...]:
    if len({f"{budget:g}" for budget in budgets}) < len(budgets):
        rule = "different numbers, also if rounded to six digits (they are part of names)"
        raise PydanticCustomError("rule", "{rule}", {"rule": rule})
    return budgets


def _named(splits: dict[str, Any]) -> dict[str, Any]:
    if not all(name.strip() for name in splits):
        raise PydanticCustomError("rule", "{rule}", {"rule": "tables with a name that is not empty"})
    return splits


Budgets = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Strict(False), AfterValidator(_distinct)]
Splits = Annotated[dict[str, dict[str, Any]], AfterValidator(_named)]


class Section(BaseModel):
    """One section of the config. Values are not converted, except integers to floats and lists to tuples."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    def identity(self) -> dict[str, Any]:
        """The keys that can change a result, as plain values."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump().items()
            if SPEED not in fields[name].metadata
            and (ADDED not in fields[name].metadata or value != fields[name].default)
        }


class TaskConfig(Section):
    """The task, and its splits for the evaluation."""

    id: str = "selfreg/SIF-v0"
    """Gymnasium id, or ``package.module:function`` for a function or class that makes a task."""
    kwargs: dict[str, Any] = {}
    """Keyword arguments of ``gym.make(id, ...)``, or of the function."""
    history: Annotated[Annotated[int, Field(ge=1)] | dict[str, Any] | None, ADDED] = None
    """The observation is the dialogue of this many turns, or with these arguments of ``History`` (``turns``,
    ``tokens``, ``tokenizer``, ``keep_first``); default: the task's own observation."""
    splits: Annotated[Splits, Field(min_length=1)] = {"collected": {}}
    """Name of each split -> keyword arguments of the task in addition to ``kwargs``. Rollouts are collected on the
    split ``collected``, or on the first one if none has this name; helpers are calibrated on other tasks of this split.
    The report's headline is about the last split."""
    titles: Annotated[dict[str, str], SPEED] = {}
    """Name of a split -> its heading in tables and plots; default: ``Split NAME``."""

    @property
    def collected(self) -> str:
        """Name of the split on which rollouts are collected."""
        return "collected" if "collected" in self.splits else next(iter(self.splits))

    @property
    def arguments(self) -> dict[str, Any]:
        """The ``task_kwargs`` of the intervention env, without those of a split."""
        return self.kwargs if self.history is None else {**self.kwargs, "history": self.history}

    @model_validator(mode="after")
    def _check_titles(self) -> Self:
        for name in self.titles:
            if name not in self.splits:
                raise UnknownNameError("split in task.titles", name, self.splits)
        return self


class ActorConfig(Section):
    """The actor."""

    id: str = "tiny"
    """Id of an actor (``selfreg list actors``)."""
    kwargs: dict[str, Any] = {}
    """Its arguments; for the actor ``lm``: ``path``, ``dtype``, ``device``, ``mode``, ..."""


class InterventionsConfig(Section):
    """The interventions that a helper may ask."""

    ids: Annotated[Texts, Field(min_length=1)] = ("expert",)
    """Ids of interventions; action k asks the k-th. ``"NAME=ID"`` is ID under another name, to use it twice."""
    kwargs: dict[str, dict[str, Any]] = {}
    """Arguments of an intervention, by name (the id where it has no other name); ``duration`` and ``cost_per`` too."""
    abort: Annotated[bool, ADDED] = False
    """Whether the last action of the env ends the episode without success and without further cost."""
    call_timeout: Annotated[Annotated[float, Field(gt=0)] | None, SPEED] = None
    """Seconds that one call of an intervention, of the actor or of a helper may take; a call that takes longer has
    failed, and only its episode is discarded. ``None``: no limit."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the interventions, in the order of the actions 1 to K."""
        return tuple(names_of(self.ids))


class CollectConfig(Section):
    """Rollouts with random help."""

    tasks: Count = 60
    """Number of tasks: those with index 0 to ``tasks - 1``."""
    episodes: Count = 110
    """Episodes per task, spread evenly over ``help_probabilities``."""
    help_probabilities: Probabilities = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Probabilities of help at each step."""
    help_shares: Annotated[Shares, ADDED] = ()
    """Share of each intervention in the help, in the order of ``interventions.ids``, with the sum 1; empty: equal."""
    abort_probability: Annotated[float, Field(ge=0, le=1), ADDED] = 0.0
    """Probability of abort at a step, below 1; needs ``interventions.abort``."""
    seed: Seed = 1
    """Seed of the episodes and of the random help."""
    workers: Workers = 2
    """Number of processes."""
    num_envs: Workers = 16
    """Episodes that a process plays at the same time, in one batch."""
    ask_actor_always: Annotated[bool, ADDED] = False
    """Ask the actor at the steps with help too, and store its log-probabilities at every step."""


class TrainingConfig(Section):
    """Keys common to the trainings of the process reward model and the helper."""

    lr: Annotated[float, Field(ge=0)] = 0.0
    """Peak learning rate; 0: the default of the trained model."""
    batch_size: Count = 8
    """Examples per forward pass; for a helper trained on labels: observations, each with all its budgets."""
    accumulate: Count = 1
    """Forward passes per optimiser step."""
    patience: NonNegative = 0
    """Stop after this many validations on held-out tasks without improvement; 0: never."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Data type of the model, in training and later use."""
    device: Annotated[str, SPEED] = "cpu"
    """Torch device of the model, in training and later use."""
    backbone: str = "auto"
    """``auto``: the checkpoint of the actor or of ``tiny`` if it can read the collected texts, otherwise a small Llama
    with a vocabulary built from them. Or the id of an actor with a checkpoint, or a path."""
    lora_rank: NonNegative = 0
    """Rank of the LoRA adapters; 0 trains all weights, as does a built backbone."""
    epochs: Count = 1
    """Passes over the training data."""


class PRMConfig(TrainingConfig):
    """The process reward model p(s) = P(success | observation)."""

    targets: Literal["nohelp", "mixture"] = "nohelp"
    """Success without further help (``nohelp``), or with the help in the collection (``mixture``)."""
    epochs: Count = 2
    """Passes over the training data."""
    lora_rank: NonNegative = 8
    """Rank of the LoRA adapters; 0 trains all weights, as does a built backbone."""
    max_states: NonNegative = 6000
    """Maximum number of decisions in the training set; 0: all."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the *tasks* that are held out to calibrate and measure p(s)."""
    seed: Seed = 2
    """Seed of the held-out tasks, the chosen decisions and the order of training."""
    batch_size: Count = 16
    """Examples per forward pass."""


class TransitionsConfig(Section):
    """The transition model that is fitted to the counts (``TransitionModel.fit``)."""

    key: Literal["state", "feature", "observation"] = "state"
    """What identifies a state."""
    backoff: Literal["feature", ""] = "feature"
    """``feature``: states with few visits share the row of their feature key; empty: each state has its own row."""
    prior: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """A number: weight of the pool of all actions in each row, in visits. ``auto``: this weight, and that of the row of
    the feature key, are chosen by held-out likelihood."""
    min_visits: Count = 3
    """A state with fewer visits of nohelp or of help shares the row of its feature key."""
    horizon: bool | Annotated[int, Field(ge=0)] = True
    """true: solve over (state, steps left), up to the length of the longest collected episode; a number: up to this
    many steps; false: solve over states only."""
    time_buckets: Annotated[NonNegative, ADDED] = 0
    """Put steps left into the keys, in this many buckets, instead of a clock; 0: do not."""
    features_time_buckets: Annotated[NonNegative, ADDED] = 12
    """The same for the second model, over feature keys, if the task reports steps left."""


class SolveConfig(Section):
    """The solver."""

    gap: Annotated[float, Field(gt=0)] = 1e-3
    """Maximum certified distance between the computed and the exact frontier, in success."""


class ValuesConfig(Section):
    """Fitted values: success and usage at all prices as functions of what is known at a decision (``solve_fitted``)."""

    inputs: Texts = ()
    """Names of the inputs (``selfreg_gym.inputs``); empty: those of ``features``, ``steps_left`` and ``actor`` that the
    rollouts have, and ``embedding`` if the task has no features."""
    backbone: str = "auto"
    """Language model of the input ``embedding``: ``auto`` (the actor's, if it can read the task, else the default
    actor's, else a small Llama built from the texts), ``actor``, ``prm``, the id of an actor, or a path."""
    prices: Annotated[int, Field(ge=4)] = 16
    """Number of prices."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Number of folds of tasks; the values of a fold are evaluated with networks that were not fitted to its tasks."""
    members: Count = 2
    """Networks per fold."""
    hidden: Count = 128
    """Units of each of the two hidden layers."""
    rounds: Count = 16
    """Largest number of rounds of fitted Q-iteration."""
    cap: Annotated[NonNegative, ADDED] = 0
    """Hard cap: the largest number of calls of an episode of helpers with ``Helper.takes_cap`` (``fitted``), which then
    follow a second fit under caps of 1 to ``cap`` calls. Other helpers have no cap. 0: no cap."""
    seed: Seed = 7
    """Seed of the folds, the initial weights and the order of training."""


class LabelConfig(Section):
    """The training set of the helper: the solution's action in each collected state, at each nominal budget."""

    budgets: Budgets = ()
    """Budgets of the labels, in cost units per episode; empty: ``evaluate.budgets``."""
    scope: Literal["all", "trajectory"] = "all"
    """``all``: all collected states; ``trajectory``: those that the solution's policy reaches."""


class HelperConfig(TrainingConfig):
    """The language-model helper, fine-tuned on the gains of a teacher or on the labels (``Helper.learns``)."""

    id: Annotated[str, ADDED] = "lm"
    """Id of a helper whose class has ``train``."""
    augment: bool = True
    """Train on observations rewritten by the task's ``augment``, if it has one."""
    features: bool = True
    """Also learn to predict each observation's feature key, if the task has feature keys."""
    inputs: Texts | None = None
    """Names of the numbers that a helper trained on gains reads (``selfreg_gym.inputs``); not set: those of ``actor``,
    ``steps_left``, ``calls_so_far`` and, with ``facts``, ``features`` that the rollouts have."""
    facts: bool = True
    """A helper trained on gains knows the feature key, if the task has feature keys: its prompt states the key."""
    max_decisions: NonNegative = 8_000
    """A helper trained on gains: fine-tune on this many decisions; 0: on all."""
    max_labels: NonNegative = 20_000
    """A helper trained on labels: train on about this many (observation, budget) pairs; 0: on all."""
    help_weight: Annotated[float, Field(ge=0)] = 1.0
    """A helper trained on labels: factor on the weight of labels whose action is help."""
    seed: Seed = 3
    """Seed of the held-out tasks, the sample, new weights and the order of training."""


class RLConfig(Section):
    """Reinforcement learning on features (Stable-Baselines3): optional baselines."""

    algorithms: Texts = ()
    """Ids of the helpers to train (``ppo``, ``dqn``, ``maskable-ppo``, ``recurrent-ppo``)."""
    help_cost: Annotated[float, Field(ge=0)] = 0.1
    """r, in success per cost unit."""
    steps: Count = 100_000
    """Training decisions of each algorithm, on the collected tasks."""
    cap: Annotated[float, Field(gt=0)] = 3.0
    """Hard cap per episode, in cost units, for algorithms that need one."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 6
    """Seed of training; the bound is that of Stable-Baselines3."""


class CalibrateConfig(Section):
    """Calibration: new episodes on training tasks set each helper's knob such that its usage meets the budget."""

    tasks: Count = 60
    """Number of tasks: the collected ones for helpers with ``Helper.knows_tasks``, the next ones for others."""
    episodes: Count = 420
    """Episodes per tried knob."""
    max_episodes: NonNegative = 0
    """Maximum number of episodes at the accepted knob, which are added until the 95 % half-width of the usage is at
    most 5 % of the budget; 0: ten times ``episodes``."""
    max_episodes_others: Annotated[NonNegative, ADDED] = 0
    """The same for minor helpers, baselines and yardsticks; 0: ``max_episodes``."""
    seed: Seed = 4
    """Seed of the episodes; it differs from those of ``collect`` and ``evaluate``."""
    workers: Workers = 2
    """Number of processes."""
    num_envs: Workers = 16
    """Episodes that a process plays at the same time, in one batch."""


class SelectConfig(Section):
    """The choice between deployable helpers, on validation tasks: they play ``tasks`` x ``episodes`` of each split."""

    splits: Annotated[Splits, ADDED] = {}
    """Name of each validation split -> keyword arguments of the task in addition to ``task.kwargs``. Its tasks must not
    be evaluated. Empty: helpers are chosen by their success in calibration."""
    tasks: Annotated[Count, ADDED] = 84
    """Number of tasks of each split."""
    episodes: Annotated[Count, ADDED] = 1
    """Episodes per task."""
    seed: Annotated[Seed, ADDED] = 8
    """Seed of the episodes."""
    workers: Workers = 2
    """Number of processes."""
    num_envs: Workers = 16
    """Episodes that a process plays at the same time, in one batch."""


class EvaluateConfig(Section):
    """The comparison of helpers on the same episodes, ``tasks`` x ``episodes`` of each split."""

    helpers: Texts = ()
    """Ids of helpers; empty: all registered helpers that need no server."""
    kwargs: dict[str, dict[str, Any]] = {}
    """Arguments of a helper, by id."""
    decisive: Texts = ()
    """Helpers evaluated at all ``budgets`` with ``episodes`` per task; empty: all that are not ``minor``."""
    minor: Texts | None = None
    """Helpers evaluated at ``budgets_others`` with ``episodes_others`` per task; not set: those with
    ``Helper.minor``."""
    budgets: Budgets = (0.5, 1.0, 2.0, 3.0)
    """Budgets of labels, calibration and evaluation, in cost units per episode."""
    budgets_others: Budgets = (1.0,)
    """Budgets of the minor helpers."""
    tasks: Count = 84
    """Number of tasks of each split."""
    episodes: Count = 6
    """Episodes per task."""
    episodes_others: NonNegative = 1
    """Episodes per task of the minor helpers; 0: they are not evaluated."""
    seed: Seed = 5
    """Seed of the episodes; it differs from those of ``collect`` and ``calibrate``."""
    workers: Workers = 2
    """Number of processes."""
    num_envs: Workers = 16
    """Episodes that a process plays at the same time, in one batch."""
