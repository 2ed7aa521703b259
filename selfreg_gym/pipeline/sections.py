"""What one run is: a frozen dataclass for each stage, with the defaults of every key.

Keys marked :func:`_speed` change how fast a run is and never what comes out, so they are no part of its identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["DTYPES", "RunConfig"]

DTYPES = ("float32", "bfloat16", "float16")
MINOR = (
    "actor-confidence",
    "dqn",
    "every-k",
    "maskable-ppo",
    "ppo",
    "prm-per-task",
    "quantile",
    "recurrent-ppo",
    "wait-n",
)
P_GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def _speed(default: Any) -> Any:
    """A key that changes the speed of a run and not its result."""
    return field(default=default, metadata={"speed": True})


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """What is to be done, and on which tasks the helpers are judged.

    Attributes:
        id: Gymnasium id of the task.
        kwargs: keyword arguments of ``gym.make(id, ...)``.
        splits: keyword arguments on top, for each of the evaluation's splits. ``collected`` must be there: rollouts are
            collected on its tasks, and helpers are calibrated on further tasks of it. The other names are free; the
            last split is the one that the headline of the report is about.
        titles: headings of the splits in tables and plots; a split without one is shown by its name.
    """

    id: str = "selfreg/SIF-v0"
    kwargs: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=lambda: {"collected": {}})
    titles: dict[str, str] = field(default_factory=dict, metadata={"speed": True})  # changes no result


@dataclass(frozen=True, slots=True)
class ActorConfig:
    """Who acts.

    Attributes:
        id: of an actor (``selfreg list``).
        kwargs: its arguments; for the actor "lm": ``path``, ``dtype``, ``device``, ``mode``, ...
    """

    id: str = "tiny"
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InterventionsConfig:
    """Who can be asked.

    Attributes:
        ids: of interventions; action 1 asks the first.
        kwargs: their arguments, by id.
    """

    ids: tuple[str, ...] = ("expert",)
    kwargs: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """Rollouts with random help: ``tasks`` fixed tasks, ``episodes`` of each, spread over ``help_probabilities``."""

    tasks: int = 60
    episodes: int = 110
    help_probabilities: tuple[float, ...] = P_GRID
    seed: int = 1
    workers: int = _speed(2)
    num_envs: int = _speed(16)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What the trainings of the process reward model and of the helper take alike.

    Attributes:
        lr: peak learning rate (0: the default of the kind of training).
        batch_size, accumulate: examples per forward (for the helper: pages with all their budgets), and forwards per
            optimiser step.
        patience: stop after so many validations on held-out tasks without improvement (0: train to the end).
        dtype, device: of the model, in training and wherever it is used afterwards.
    """

    lr: float = 0.0
    batch_size: int = 8
    accumulate: int = 1
    patience: int = 0
    dtype: str = "float32"
    device: str = _speed("cpu")


@dataclass(frozen=True, slots=True)
class PRMConfig(TrainingConfig):
    """The process reward model: p(success | observation) under the continuation policy ``targets``.

    Attributes:
        backbone: ``"auto"`` (the actor's trunk, or the shipped one, if it can read the collected texts; otherwise a
            small Llama built from them), the id of an actor that ships a checkpoint, or a path.
        targets: ``"nohelp"`` (success of the actor alone) or ``"mixture"`` (success under the help that was given).
        lora_rank: rank of the LoRA adapters; 0 trains every weight, as is always done with a built backbone.
        max_states: at most this many decisions are trained on (0: all of them).
        share: share of the *tasks* that are held out to measure calibration.
    """

    backbone: str = "auto"
    targets: str = "nohelp"
    epochs: int = 2
    lora_rank: int = 8
    max_states: int = 6000
    share: float = 0.2
    seed: int = 2
    batch_size: int = 16


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The transition model fitted from the counts (``TransitionModel.fit``). ``backoff = ""`` switches it off."""

    key: str = "state"
    backoff: str = "feature"
    prior: float | str = "auto"
    min_visits: int = 3
    horizon: bool | int = True


@dataclass(frozen=True, slots=True)
class SolveConfig:
    """The solver: ``gap`` is the certified distance of the frontier from the true one."""

    gap: float = 1e-3


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The training set of the helper: what the solution does in each collected state, at each nominal budget."""

    budgets: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0)
    scope: str = "all"


@dataclass(frozen=True, slots=True)
class HelperConfig(TrainingConfig):
    """The language-model helper, fine-tuned on the labels.

    Attributes:
        backbone: as that of the process reward model.
        lora_rank: rank of the LoRA adapters; 0 trains every weight, as is always done with a built backbone.
        max_labels: about so many (observation, budget) are trained on (0: as many as there are labels).
        help_weight: factor on the weight of labels that say help.
        augment: train on observations that the task's ``augment`` rewrites, if it has one.
        features: learn to tell each page's feature key along with what to do, where the task has them.
    """

    backbone: str = "auto"
    epochs: int = 1
    augment: bool = True
    features: bool = True
    lora_rank: int = 0
    max_labels: int = 20_000
    help_weight: float = 1.0
    seed: int = 3


@dataclass(frozen=True, slots=True)
class RLConfig:
    """Reinforcement learning on features (Stable-Baselines3): baselines that are trained only if they are named.

    Attributes:
        algorithms: ids of helpers that learn by playing (``ppo``, ``dqn``, ``maskable-ppo``, ``recurrent-ppo``).
        help_cost: r, in success per cost unit.
        steps: decisions that each algorithm plays on the collected tasks.
        cap: hard budget per episode that ``maskable-ppo`` learns and plays under (cost units).
    """

    algorithms: tuple[str, ...] = ()
    help_cost: float = 0.1
    steps: int = 100_000
    cap: float = 3.0
    seed: int = 6


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """Fresh rollouts of training tasks that move a helper's knob until its usage meets the budget.

    Attributes:
        tasks: how many; the collected ones for a helper whose table names them, the next ones for all others.
        episodes: of each knob that is tried.
        max_episodes: at the accepted knob, more episodes are played until the 95 % half-width of its usage is at most
            5 % of the budget, and at most so many. 0: ten times ``episodes``.
    """

    tasks: int = 60
    episodes: int = 420
    max_episodes: int = 0
    seed: int = 4
    workers: int = _speed(2)
    num_envs: int = _speed(16)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """The comparison. ``tasks`` x ``episodes`` episodes per row, the same task seeds for every helper.

    Attributes:
        helpers: ids of helpers; empty means every registered one (but those that need a server).
        kwargs: arguments of helpers, by id.
        decisive: helpers that are measured at every one of ``budgets`` with ``episodes`` per task. Empty: all but those
            in ``minor``, so that a helper of your own is decisive.
        minor: helpers that are measured at ``budgets_others`` with ``episodes_others`` per task.
        budgets, budgets_others: cost units per episode that helpers are calibrated to.
    """

    helpers: tuple[str, ...] = ()
    kwargs: dict[str, dict[str, Any]] = field(default_factory=dict)
    decisive: tuple[str, ...] = ()
    minor: tuple[str, ...] = MINOR
    budgets: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0)
    budgets_others: tuple[float, ...] = (1.0,)
    tasks: int = 84
    episodes: int = 6
    episodes_others: int = 1
    seed: int = 5
    workers: int = _speed(2)
    num_envs: int = _speed(16)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One whole run. Each section belongs to one stage of the pipeline."""

    task: TaskConfig = field(default_factory=TaskConfig)
    actor: ActorConfig = field(default_factory=ActorConfig)
    interventions: InterventionsConfig = field(default_factory=InterventionsConfig)
    collect: CollectConfig = field(default_factory=CollectConfig)
    prm: PRMConfig = field(default_factory=PRMConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    solve: SolveConfig = field(default_factory=SolveConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    helper: HelperConfig = field(default_factory=HelperConfig)
    rl: RLConfig = field(default_factory=RLConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    @property
    def processes(self) -> int:
        """How many processes the run may keep busy at once."""
        return max(self.collect.workers, self.calibrate.workers, self.evaluate.workers)
