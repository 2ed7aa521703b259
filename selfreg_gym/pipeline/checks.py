"""Checks of the compared helpers before anything is collected: their arguments, and the form of their answers."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper_class
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, TaskContractError, UnknownNameError
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Decision, Intervention

__all__ = ["check_candidates"]

RESERVED = frozenset("@#:")
"""Characters that separate the parts of a key like ``every-k:expert@1#3``."""

_GIVEN = ("run", "budget", "seed")  # arguments of from_run that the run itself supplies


def check_candidates(config: RunConfig) -> None:
    """Check ``evaluate.kwargs``, and the answers of those helpers that can be made without a run's artifacts.

    Raises:
        UnknownNameError: a helper or an argument that does not exist.
        InvalidArgumentError: an argument of the wrong type or out of range; a constructor that raises.
        TaskContractError: a helper whose answers are not N integers from 0 to K.
    """
    known = registry.names("helpers")
    c = config.evaluate
    for key, names in (("evaluate.kwargs", c.kwargs), ("evaluate.decisive", c.decisive), ("evaluate.minor", c.minor)):
        for name in names:
            if name not in known:
                raise UnknownNameError(f"helper in {key}", name, known)
    for name, kwargs in c.kwargs.items():
        _check_arguments(name, kwargs, len(config.interventions.ids))
    for name in c.helpers or known:
        if RESERVED & set(name):
            raise InvalidArgumentError(
                "the id of a compared helper must not contain '@', '#' or ':', which separate it from its budget, "
                f"seed and intervention in results; received {name!r}. Rename the helper, or leave it out of "
                "evaluate.helpers."
            )
        kind = as_helper_class(registry.load("helpers", name))
        if not kind.overrides("from_run") and (name in c.helpers or not kind.overrides("made_in")):
            helper = _made(name, kind, c.kwargs.get(name, {}))
            if not kind.overrides("made_in"):  # such a helper may need a server
                _check_answers(name, helper, config)


def _check_arguments(name: str, kwargs: Mapping[str, Any], count: int) -> None:
    """Check the arguments of one helper against the signature of ``from_run`` or of its constructor."""
    kind = as_helper_class(registry.load("helpers", name))
    target: Any = kind.from_run if kind.overrides("from_run") else kind
    given = _GIVEN if kind.overrides("from_run") else ()
    parameters = {key: one for key, one in inspect.signature(target).parameters.items() if key not in given}
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    named = [key for key, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    try:
        hints = typing.get_type_hints(target if inspect.isroutine(target) else target.__init__)
    except Exception:  # annotations that cannot be resolved say nothing
        hints = {}
    for key, value in kwargs.items():
        if key not in named and not open_ended:
            raise UnknownNameError(f"argument of the helper {name!r} (evaluate.kwargs.{name})", key, named)
        if key in hints and not _fits(value, hints[key]):
            hint = inspect.formatannotation(hints[key])
            raise InvalidArgumentError(
                f"evaluate.kwargs.{name}.{key} must be {hint}, received {value!r} of type {type(value).__name__}."
            )
    asked = kwargs.get("intervention")
    if isinstance(asked, int) and not 1 <= asked <= count:
        raise InvalidArgumentError(
            f"evaluate.kwargs.{name}.intervention must be from 1 to {count}, the number of interventions, or a name; "
            f"received {asked!r}."
        )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a TOML file may be given where ``hint`` is annotated; True for hints it cannot judge."""
    origin = typing.get_origin(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, Sequence) and isinstance(value, str):
            return False
        return isinstance(value, origin) or (issubclass(origin, Sequence | np.ndarray) and isinstance(value, list))
    if hint in (bool, str, list, dict, tuple):
        return isinstance(value, hint) or (hint is tuple and isinstance(value, list))
    return True


def _made(name: str, kind: type[Helper], kwargs: Mapping[str, Any]) -> Helper:
    try:
        return kind(**kwargs)
    except UnknownNameError as error:
        raise InvalidArgumentError(f"the helper {name!r} cannot be made: {error}") from error
    except SelfRegError as error:
        raise type(error)(f"the helper {name!r} cannot be made: {error}") from error
    except Exception as error:  # a plug-in's constructor may raise anything
        raise InvalidArgumentError(
            f"the helper {name!r} cannot be made with the arguments {dict(kwargs)}: {type(error).__name__}: {error}."
        ) from error


class _First:
    """An actor that takes the first admissible action."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return [(decision.admissible_actions or ("",))[0] for decision in decisions]


def _check_answers(name: str, helper: Helper, config: RunConfig) -> None:
    """Play one short episode in a batch of two, with stand-ins for the actor and the interventions."""
    ids = config.interventions.ids
    split = config.task.splits[config.task.collected]
    people = [Intervention(_First(), name=one) for one in dict.fromkeys(ids)]
    env = InterventionVectorEnv(
        2,
        config.task.id,
        _First(),
        people,
        task_kwargs={**config.task.kwargs, **split},
        autoreset_mode="Disabled",
    )
    try:
        next(run_episodes(env, [EpisodeSpec(0, 0), EpisodeSpec(0, 1)], helper, record_steps=False, retries=0))
    except Exception as error:  # predict is the plug-in's own code
        raise TaskContractError(
            f"the helper {name!r} does not keep the contract of helpers (selfreg_gym.testing.check_helper shows the "
            f"first broken rule): {type(error).__name__}: {error}"
        ) from error
    finally:
        env.close()
