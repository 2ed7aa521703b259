"""What one run is: a TOML file, read into frozen dataclasses.

Every key has a default, so a file names only what differs. A key that does not exist is an error that says which
one was meant; so is a value of the wrong type. Keys marked :func:`_speed` change how fast a run is and never what
comes out, so they are no part of a run's identity.

Example:
    >>> config = load_config(preset="smoke", overrides=["collect.episodes=4"])
    >>> config.collect.episodes
    4
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfreg_gym.building import material
from selfreg_gym.errors import ConfigError, UnknownNameError, did_you_mean

__all__ = [
    "RunConfig",
    "differences",
    "from_dict",
    "load_config",
    "material_config",
    "parse_overrides",
    "preset_names",
    "to_dict",
]

PRESETS = Path(__file__).parent / "presets"
DTYPES = ("float32", "bfloat16", "float16")
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
        splits: keyword arguments on top, for each of the evaluation's splits. ``collected`` is also where rollouts are
            collected and helpers calibrated.
    """

    id: str = "selfreg/SIF-v0"
    kwargs: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=lambda: {"collected": {}})


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
        patience: stop after so many validations on tasks kept aside without improvement (0: train to the end).
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
        backbone: id of an actor that ships a checkpoint, or a path.
        targets: ``"nohelp"`` (the actor goes on alone) or ``"mixture"`` (whatever was running).
        lora_rank: rank of the LoRA adapters; 0 trains every weight.
        max_states: at most this many moments are trained on (0: all of them).
        share: share of the *tasks* kept aside, on which calibration is measured.
    """

    backbone: str = "tiny"
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
        backbone: id of an actor that ships a checkpoint, or a path.
        lora_rank: rank of the LoRA adapters; 0 trains every weight.
        max_labels: about so many (page, budget) are trained on (0: all of them).
        help_weight: factor on the weight of labels that say help.
        augment: train on pages as the task's ``augment`` tells them anew, where it has one.
    """

    backbone: str = "tiny"
    epochs: int = 1
    augment: bool = True
    lora_rank: int = 0
    max_labels: int = 20_000
    help_weight: float = 1.0
    seed: int = 3


@dataclass(frozen=True, slots=True)
class RLConfig:
    """Reinforcement learning on features (Stable-Baselines3): baselines that are trained only if they are named.

    Attributes:
        algorithms: ids of helpers that learn by playing (``ppo``, ``dqn``, ``maskable-ppo``, ``recurrent-ppo``).
        help_cost: r, the price of a cost unit in the reward.
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

    ``tasks``: how many; the collected ones for a helper whose table names them, the next ones for all others.
    """

    tasks: int = 60
    episodes: int = 420
    seed: int = 4
    workers: int = _speed(2)
    num_envs: int = _speed(16)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """The measure. ``tasks`` x ``episodes`` episodes per row, the same task seeds for every helper.

    Attributes:
        helpers: ids of helpers; empty means every registered one (but those that need a server).
        kwargs: arguments of helpers, by id.
        decisive: helpers that are measured at every one of ``budgets`` with ``episodes`` per task; the lesser baselines
            at ``budgets_others`` with ``episodes_others``.
        budgets, budgets_others: cost units per episode that helpers are calibrated to.
    """

    helpers: tuple[str, ...] = ()
    kwargs: dict[str, dict[str, Any]] = field(default_factory=dict)
    decisive: tuple[str, ...] = ("never", "always", "random", "prm-threshold", "dp", "lm")
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


# -- reading ----------------------------------------------------------------------------------------------------------


def preset_names() -> list[str]:
    """Names that ``selfreg run --preset`` knows."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(
    *, preset: str | None = None, path: str | Path | None = None, overrides: Sequence[str] = ()
) -> RunConfig:
    """Read a preset or a TOML file, then apply ``overrides``.

    Args:
        preset: one of :func:`preset_names`; exclusive with ``path``. Neither: every default.
        path: a TOML file.
        overrides: texts ``section.key=value``, the value in TOML (quotes around a plain word may be left out).

    Raises:
        ConfigError: no such file, no TOML, an unknown key, a value of the wrong type or out of range.
        UnknownNameError: no such preset.
    """
    if preset is not None and path is not None:
        raise ConfigError(f"a run has a preset or a file, received both: preset={preset!r} and {str(path)!r}.")
    if preset is not None:
        if preset not in preset_names():
            raise UnknownNameError("preset", preset, preset_names())
        path = PRESETS / f"{preset}.toml"
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"a config file must be readable, received {str(path)!r}: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"a config file is TOML; {path}: {error}.") from None
    return from_dict(parse_overrides(overrides, table))


def parse_overrides(overrides: Iterable[str], table: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write texts ``section.key=value`` into ``table`` (default: an empty one) and return it."""
    table = {} if table is None else table
    for text in overrides:
        _override(table, text)
    return table


def _override(table: dict[str, Any], text: str) -> None:
    """Write ``section.key=value`` into ``table``."""
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"an override is section.key=value (collect.episodes=50), received {text!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a plain word: --set actor.id=scripted
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key} is no section, received {text!r}.")
    table[keys[-1]] = parsed


def from_dict(table: Mapping[str, Any]) -> RunConfig:
    """Build and check a config from nested tables (parsed TOML, or :func:`to_dict`)."""
    config = _build(RunConfig, table, "")
    _check(config)
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return nested plain values; ``from_dict(to_dict(config)) == config``, also after a trip through JSON."""
    return dataclasses.asdict(config)


def differences(old: RunConfig, new: RunConfig) -> list[tuple[str, Any, Any]]:
    """Return ``(key, old value, new value)`` of every key that differs and can change a result."""
    before, after = dict(_leaves(material_config(old))), dict(_leaves(material_config(new)))
    return [(key, before[key], after[key]) for key in before if before[key] != after[key]]


def material_config(config: RunConfig) -> RunConfig:
    """The config without those arguments of agents that change only where and how fast they act."""

    def parts(group: str, kwargs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: material(group, name, values) for name, values in kwargs.items()}

    c = config
    return dataclasses.replace(
        c,
        actor=dataclasses.replace(c.actor, kwargs=material("actors", c.actor.id, c.actor.kwargs)),
        interventions=dataclasses.replace(c.interventions, kwargs=parts("interventions", c.interventions.kwargs)),
        evaluate=dataclasses.replace(c.evaluate, kwargs=parts("helpers", c.evaluate.kwargs)),
    )


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{spec.name}.")
        elif not spec.metadata.get("speed"):
            yield prefix + spec.name, value


def _build(cls: Any, table: Any, prefix: str) -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{prefix.rstrip('.')} is a section (a table of keys), received {table!r}.")
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(
                f"unknown key: received {prefix + key!r}.{did_you_mean(key, hints)} "
                f"{'Keys of ' + prefix.rstrip('.') if prefix else 'Sections'}: {', '.join(hints)}."
            )
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            values[key] = _build(hint, value, f"{prefix}{key}.")
        else:
            values[key] = _coerce(hint, value, prefix + key)
    return cls(**values)


def _coerce(hint: Any, value: Any, key: str) -> Any:
    """Return ``value`` as ``hint``: lists become tuples and whole numbers floats, nothing else is converted."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        options = typing.get_args(hint)
        for option in sorted(options, key=lambda option: option is not type(value)):  # the exact type first
            try:
                return _coerce(option, value, key)
            except ConfigError:
                continue
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_coerce(typing.get_args(hint)[0], item, key) for item in value)
    elif origin is dict:
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            inner = typing.get_args(hint)[1]
            return {name: item if inner is Any else _coerce(inner, item, key) for name, item in value.items()}
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif type(value) is hint:  # bool is an int for isinstance, and not for a reader
        return value
    raise ConfigError(f"{key} must be {_spell(hint)}, received {value!r}.")


def _spell(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if typing.get_origin(hint) is types.UnionType:
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list, each entry {_spell(typing.get_args(hint)[0])}"
    return words.get(hint, "a table")


AT_LEAST_ONE = """collect.tasks collect.episodes collect.workers collect.num_envs prm.epochs model.min_visits
    helper.epochs prm.batch_size prm.accumulate helper.batch_size helper.accumulate
    calibrate.tasks calibrate.episodes calibrate.workers calibrate.num_envs evaluate.tasks evaluate.episodes
    evaluate.workers evaluate.num_envs"""
AT_LEAST_ZERO = """prm.lora_rank prm.max_states prm.lr prm.patience helper.lora_rank helper.max_labels helper.lr
    helper.patience evaluate.episodes_others"""


def _check(config: RunConfig) -> None:
    """Refuse values that no stage can use, before anything has run."""

    def need(ok: bool, key: str, rule: str, value: Any) -> None:
        if not ok:
            raise ConfigError(f"{key} must be {rule}, received {value!r}.")

    for low, keys in ((1, AT_LEAST_ONE), (0, AT_LEAST_ZERO)):
        for key in keys.split():
            section, name = key.split(".")
            value = getattr(getattr(config, section), name)
            need(value >= low, key, f"{low} or more", value)
    grid = config.collect.help_probabilities
    need(
        bool(grid) and all(0 <= p <= 1 for p in grid), "collect.help_probabilities", "probabilities, at least one", grid
    )
    for key in ("label.budgets", "evaluate.budgets", "evaluate.budgets_others"):
        section, name = key.split(".")
        budgets = getattr(getattr(config, section), name)
        need(all(budget > 0 for budget in budgets), key, "positive", budgets)
    for section in ("prm", "helper"):
        dtype = getattr(config, section).dtype
        need(dtype in DTYPES, f"{section}.dtype", f"one of {', '.join(DTYPES)}", dtype)
    need(bool(config.interventions.ids), "interventions.ids", "at least one id", config.interventions.ids)
    need(config.prm.targets in ("nohelp", "mixture"), "prm.targets", "'nohelp' or 'mixture'", config.prm.targets)
    need(0 < config.prm.share < 1, "prm.share", "between 0 and 1", config.prm.share)
    need(config.label.scope in ("all", "trajectory"), "label.scope", "'all' or 'trajectory'", config.label.scope)
    need(config.solve.gap > 0, "solve.gap", "positive", config.solve.gap)
    seeds = {section: getattr(config, section).seed for section in ("collect", "calibrate", "evaluate")}
    need(len(set(seeds.values())) == 3, "collect, calibrate and evaluate", "given different seeds", seeds)
    splits = config.task.splits
    need(set(splits) <= {"collected", "seen", "unseen"}, "task.splits", "of collected, seen and unseen", sorted(splits))
    need("collected" in splits, "task.splits", "a table with at least the split 'collected'", sorted(splits))
