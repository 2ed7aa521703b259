"""Validation before a run begins: names, tasks and models of the config, arguments and answers of the helpers."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError
from selfreg_gym.helper import Helper
from selfreg_gym.inputs import INPUTS, TASK_INPUTS
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.intervention_env.interventions import name_and_id
from selfreg_gym.intervention_env.task_members import episodes_of, task_function
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.pipeline.candidates import errors_named, helper_class
from selfreg_gym.pipeline.checkpoints import models_of
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Decision, Intervention
from selfreg_gym.utils.json_text import dumps

__all__ = ["validate"]

RESERVED = frozenset("@#:")
"""Characters that separate the parts of a helper key such as ``every-k:expert@1#3``."""

_OF_RUN = ("run", "budget", "seed")  # arguments of from_run that do not come from the config


def validate(config: RunConfig) -> None:
    """Check all that the config names.

    Raises:
        UnknownNameError: a task, actor, intervention, helper, argument or backbone that does not exist.
        InvalidArgumentError: an argument of the wrong type or out of range, or a constructor that raises.
        CheckpointError: a missing checkpoint.
        TaskContractError: a helper whose answers are not N integers from 0 to K.
    """
    _check_names(config)
    _check_helpers(config)
    models_of(config)


def _check_names(config: RunConfig) -> None:
    """Raise if an id in the config does not exist, or a split's task cannot be built."""
    task_function(config.task.id)
    c = config.evaluate
    for group, what, ids in (
        ("actors", "actor", (config.actor.id,)),
        ("interventions", "intervention", [name_and_id(one)[1] for one in config.interventions.ids]),
        ("helpers", "helper", (*c.helpers, *c.decisive, config.helper.id)),
        ("helpers", "helper in evaluate.kwargs", c.kwargs),
        ("helpers", "helper in evaluate.minor", c.minor or ()),
    ):
        known = registry.names(group)
        for name in ids:
            if name not in known:
                raise UnknownNameError(what, name, known)
    for section, inputs in (("values", config.values.inputs), ("helper", config.helper.inputs or ())):
        for name in inputs:
            if name not in INPUTS:
                raise UnknownNameError(f"input in {section}.inputs", name, INPUTS)
        if len(set(inputs)) < len(inputs):
            raise InvalidArgumentError(f"{section}.inputs must be different names, received {list(inputs)}.")
    if named := [name for name in config.helper.inputs or () if name in TASK_INPUTS]:
        raise InvalidArgumentError(
            f"helper.inputs must be known on new tasks, received {named}, which name the task: give them to the "
            "teacher (values.inputs)."
        )
    if not _is_trained(config.helper.id):
        trained = filter(_is_trained, registry.names("helpers"))
        raise UnknownNameError("helper in helper.id (trained by the stage train-helper)", config.helper.id, trained)
    for name in config.rl.algorithms:
        learners = [one for one in registry.names("helpers") if helper_class(one).needs_cap is not None]
        if name not in learners:
            raise UnknownNameError("reinforcement learner", name, learners)
    numbers = {split: _number_of_tasks(config, kwargs) for split, kwargs in config.task.splits.items()}
    for kwargs in config.select.splits.values():
        _number_of_tasks(config, kwargs)
    available = numbers[config.task.collected]  # the other stages take as many tasks as there are
    if available is not None and 0 < available < config.collect.tasks:
        raise InvalidArgumentError(
            f"collect.tasks must be at most {available}, the number of tasks of {config.task.id!r} (split "
            f"{config.task.collected!r}); received {config.collect.tasks}."
        )


def _number_of_tasks(config: RunConfig, split: Mapping[str, Any]) -> int | None:
    """The number of tasks of a split, or None if its task does not report it; an error if it cannot be made."""
    task = build_task(config.task.id, {**config.task.arguments, **split})
    try:
        return episodes_of(task)
    finally:
        task.close()


def _is_trained(name: str) -> bool:
    """Whether the stage train-helper can train the helper; fitted values and reinforcement learners have own stages."""
    kind = helper_class(name)
    return hasattr(kind, "train") and not kind.of_values and kind.needs_cap is None


def _check_helpers(config: RunConfig) -> None:
    """Check ``evaluate.kwargs``, and the answers of helpers that can be built without a run's artifacts."""
    c = config.evaluate
    for name, kwargs in c.kwargs.items():
        _check_arguments(name, kwargs, [name_and_id(one)[0] for one in config.interventions.ids])
    for name in c.helpers or registry.names("helpers"):
        if RESERVED & set(name):
            raise InvalidArgumentError(
                "the id of a compared helper must not contain '@', '#' or ':', which separate it from its budget, "
                f"seed and intervention in results; received {name!r}. Rename the helper, or leave it out of "
                "evaluate.helpers."
            )
        kind = helper_class(name)
        if kind.lacks_with_knob():
            raise TaskContractError(
                f"a helper with a knob must define knob, knob_bounds and with_knob(x), and {name!r} has no with_knob, "
                "so it cannot be calibrated. Define with_knob, or remove knob and knob_bounds."
            )
        if not kind.overrides("from_run") and (name in c.helpers or not kind.overrides("made_in")):
            kwargs = c.kwargs.get(name, {})
            with errors_named(name, kwargs):
                helper = kind(**kwargs)
            if not kind.overrides("made_in"):  # a helper that defines it may need a server
                _check_answers(name, helper, config)


def _check_arguments(name: str, kwargs: Mapping[str, Any], interventions: Sequence[str]) -> None:
    """Check the arguments of a helper against the signature of ``from_run`` or of its constructor.

    Args:
        name: id of the helper.
        kwargs: its arguments in the config.
        interventions: ``(K,)`` names.
    """
    kind = helper_class(name)
    from_run = kind.overrides("from_run")
    target: Any = kind.from_run if from_run else kind
    parameters = [
        one for one in inspect.signature(target).parameters.values() if not (from_run and one.name in _OF_RUN)
    ]
    any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
    names = [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    try:
        hints = typing.get_type_hints(target if from_run else target.__init__)
    except Exception:  # annotations that cannot be resolved are not checked
        hints = {}
    for key, value in kwargs.items():
        if key not in names and not any_name:
            raise UnknownNameError(f"argument of the helper {name!r} (evaluate.kwargs.{name})", key, names)
        if key in hints and not _fits(value, hints[key]):
            hint = inspect.formatannotation(hints[key])
            raise InvalidArgumentError(
                f"evaluate.kwargs.{name}.{key} must be {hint}, received {value!r} of type {type(value).__name__}."
            )
    intervention = kwargs.get("intervention")
    if isinstance(intervention, str) and kind.asks_one and intervention not in interventions:
        raise UnknownNameError(f"intervention in evaluate.kwargs.{name}", intervention, interventions)
    if isinstance(intervention, int) and not 1 <= intervention <= len(interventions):
        raise InvalidArgumentError(
            f"evaluate.kwargs.{name}.intervention must be from 1 to {len(interventions)}, the number of "
            f"interventions, or a name; received {intervention!r}."
        )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a TOML file is valid for an annotation; True if pydantic cannot check the annotation."""
    try:
        TypeAdapter(hint).validate_json(dumps(value), strict=True)
    except ValidationError:
        return False
    except PydanticUserError:
        return True
    return True


class _FirstAction:
    """An actor that takes the first admissible action."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return [(decision.admissible_actions or ("",))[0] for decision in decisions]


def _check_answers(name: str, helper: Helper, config: RunConfig) -> None:
    """Play one episode in a batch of two, with stand-ins for the actor and the interventions."""
    env = InterventionVectorEnv(
        2,
        config.task.id,
        _FirstAction(),
        [Intervention(_FirstAction(), name=one) for one in dict.fromkeys(config.interventions.names)],
        task_kwargs={**config.task.arguments, **config.task.splits[config.task.collected]},
        autoreset_mode="Disabled",
    )
    try:
        next(run_episodes(env, [EpisodeSpec(0, 0), EpisodeSpec(0, 1)], helper, record_steps=False, retries=0))
    except Exception as error:  # the helper may be a plug-in, whose code may raise anything
        raise TaskContractError(
            f"a helper must keep the contract of helpers, and {name!r} does not: {type(error).__name__}: {error} "
            "(selfreg_gym.testing.check_helper names the first broken rule.)"
        ) from error
    finally:
        env.close()
