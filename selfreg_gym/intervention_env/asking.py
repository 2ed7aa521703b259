"""Calls of an actor or intervention: one batched call, repeated for each decision alone if it fails; checked acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import (
    CheckpointError,
    MissingPackageError,
    SetupError,
    TaskContractError,
    is_failure,
    message_of,
    shown,
)
from selfreg_gym.intervention_env.guard import TaskGuard
from selfreg_gym.types import Act, Actor, Decision
from selfreg_gym.utils.arguments import is_integer
from selfreg_gym.utils.time_limit import CallTimedOutError, call_within

if TYPE_CHECKING:
    from selfreg_gym.intervention_env.episode import EpisodeState

__all__ = ["ask", "ask_ahead", "ask_repeatedly"]

_MAX_TOKENS = 2**53  # per act, so that sums are exact and fit an int64
_MAX_COST = 1e12  # cost units per act, so that sums are finite
_ROUNDING = 1e-6  # a log-probability may exceed 0 by this rounding error


class _WrongAnswerError(Exception):
    """What an actor returned is no list of acts, one per decision."""


def ask(
    actor: Actor,
    decisions: Sequence[Decision],
    *,
    timeout: float | None = None,
    episodes: Sequence[EpisodeState] | None = None,
) -> list[str | Act]:
    """Call an actor once for all decisions, and return one act per decision; a failure is an ``Act`` with ``error``.

    If a batched call raises, takes too long, or returns the wrong number of acts, each decision is repeated alone, so
    that one bad decision does not end the other episodes.

    Args:
        actor: the actor.
        decisions: N decisions.
        timeout: seconds that a call may take; None: no limit.
        episodes: the N episodes of the decisions, whose tasks are restored after a call that is repeated or took too
            long (:meth:`EpisodeState.again`); None within the call of another actor, which restores them itself.

    Raises:
        TaskContractError: without ``episodes``, the call left a task in another state, and so the call of the other
            actor fails.
        SetupError, MissingPackageError, CheckpointError: the actor cannot work with its settings; this is not a failure
            of an episode.
    """
    rule, failure, late = "an actor must answer every decision", "", False
    before = _marks(decisions) if episodes is None else []
    try:
        acts = call_within(timeout, lambda: _answers(actor, decisions))
    except (SetupError, MissingPackageError, CheckpointError):
        raise
    except _WrongAnswerError as error:
        failure = str(error)
    except CallTimedOutError:
        late = True
        failure = (
            f"{rule}; {type(actor).__name__}.act did not answer within {timeout:g} s, the limit that call_timeout sets"
        )
    except BaseException as error:
        if not is_failure(error):
            raise
        what = f"{type(error).__name__}: {_shortened(message_of(error))}"
        failure = f"{rule}; {type(actor).__name__}.act raised {what}"
    if episodes is None and _marks(decisions) != before:
        raise TaskContractError(f"{failure.rstrip('.')}. Then, {_changed(actor)}" if failure else _changed(actor))
    if not failure:
        return acts
    if len(decisions) == 1:
        if late and episodes is not None:
            episodes[0].again(decisions[0])
        return [Act("", error=failure)]
    found: list[str | Act] = []
    for j, decision in enumerate(_again(decisions, episodes)):
        alone = None if episodes is None else episodes[j : j + 1]
        found += ask(actor, (decision,), timeout=timeout, episodes=alone)
    return found


def ask_repeatedly(
    actor: Actor,
    decisions: Sequence[Decision],
    episodes: Sequence[EpisodeState],
    retries: int,
    timeout: float | None = None,
) -> list[str | Act]:
    """:func:`ask`, with up to ``retries`` repetitions of the decisions whose acts failed."""
    acts = ask(actor, decisions, timeout=timeout, episodes=episodes)
    for _ in range(retries):
        failed = [j for j, act in enumerate(acts) if not isinstance(act, str) and act.error is not None]
        if not failed:
            break
        theirs = [episodes[j] for j in failed]
        again = ask(actor, _again([decisions[j] for j in failed], theirs), timeout=timeout, episodes=theirs)
        for j, act in zip(failed, again, strict=True):
            acts[j] = act
    return acts


def _again(decisions: Sequence[Decision], episodes: Sequence[EpisodeState] | None) -> list[Decision]:
    """The decisions for another call: the failed one may have drawn from their streams and changed their tasks."""
    if episodes is None:
        return [decision.renewed() for decision in decisions]
    return [episode.again(decision) for episode, decision in zip(episodes, decisions, strict=True)]


def _marks(decisions: Sequence[Decision]) -> list[object]:
    """The marks of the states of the decisions' tasks (:class:`TaskGuard`)."""
    return [decision.task.mark if isinstance(decision.task, TaskGuard) else None for decision in decisions]


def _changed(actor: Actor) -> str:
    """The error about an actor that left the task of a simulation, or of another actor's call, in another state."""
    return (
        f"an actor must leave the task as it is; {type(actor).__name__}.act has changed it within the call of another "
        "actor, and not restored it."
    )


def _answers(actor: Actor, decisions: Sequence[Decision]) -> list[str | Act]:
    """The acts of one call, checked.

    Raises:
        _WrongAnswerError: the actor did not return one act per decision.
    """
    acts = actor.act(decisions)
    if type(acts) is list and len(acts) == 1 == len(decisions) and type(acts[0]) is str:
        return acts  # the usual result for one decision
    if isinstance(acts, str | bytes | Mapping | Set) or not isinstance(acts, Collection):
        raise _WrongAnswerError(f"{type(actor).__name__}.act must return a list of acts, received {shown(acts)}.")
    if len(acts) != len(decisions):
        counts = f"{len(acts)} for {len(decisions)}"
        raise _WrongAnswerError(f"{type(actor).__name__}.act must return one act per decision, received {counts}.")
    pairs = zip(acts, decisions, strict=True)
    return [act if type(act) is str else _checked(act, decision) for act, decision in pairs]


def ask_ahead(
    actor: Actor, episodes: Sequence[EpisodeState], retries: int = 0, timeout: float | None = None
) -> list[Act | None]:
    """The actor's acts at the current step of N episodes, asked at most once per step; None where one is over.

    The acts are kept in the episodes, and a step without help executes them. The decisions are those that the actor
    would get in the step, with the same random streams, so asking ahead does not change the episodes.
    """
    unasked = [episode for episode in episodes if not episode.over and episode.act is None]
    if unasked:
        decisions = [episode.decision(0) for episode in unasked]
        acts = ask_repeatedly(actor, decisions, unasked, retries, timeout)
        for episode, act in zip(unasked, acts, strict=True):
            episode.act = Act(act) if isinstance(act, str) else act
    return [None if episode.over else episode.act for episode in episodes]


def _checked(act: Any, decision: Decision) -> str | Act:
    """The act with plain Python types, or an act with an error about the invalid field."""
    if isinstance(act, str):
        return str(act)
    if not isinstance(act, Act):
        return Act("", error=f"an act must be a str or an Act, received {shown(act)}.")
    if act.error is not None:
        return act if isinstance(act.error, str) else Act("", error=_shortened(str(act.error)))
    tokens, cost, logprobs = act.tokens, act.cost, act.logprobs
    if type(act.text) is str and tokens is None and cost is None and logprobs is None:
        return act
    problem = None
    if not isinstance(act.text, str):
        problem = f"text must be a str, received {shown(act.text)}"
    elif tokens is not None and not (is_integer(tokens) and 0 <= tokens <= _MAX_TOKENS):
        problem = f"tokens must be an integer from 0 to 2**53, received {shown(tokens)}"
    elif cost is not None and not (_is_number(cost) and 0 <= cost <= _MAX_COST):
        problem = f"cost must be a number from 0 to {_MAX_COST:g}, received {shown(cost)}"
    elif logprobs is not None:
        problem = _logprobs_problem(logprobs, decision.admissible_actions)
    if problem is not None:
        return Act("", error=f"an act's {problem}.")
    plain = None if logprobs is None else tuple(float(x) for x in logprobs)
    tokens, cost = None if tokens is None else int(tokens), None if cost is None else float(cost)
    return Act(str(act.text), plain, tokens, cost, memory=act.memory, actor_memory=act.actor_memory)


def _logprobs_problem(logprobs: Any, admissible: tuple[str, ...] | None) -> str | None:
    """The problem of an act's log-probabilities, or None."""
    rule = "logprobs must be one log-probability (at most 0) per admissible action, in their order, or None"
    if isinstance(logprobs, str | bytes | dict) or not hasattr(logprobs, "__len__"):
        return f"{rule}, received {shown(logprobs)}"
    if admissible is None:
        return f"{rule}; any text is admissible here, so no list is complete. Received {len(logprobs)} values"
    if len(logprobs) != len(admissible):
        return f"{rule}, received {len(logprobs)} values for {len(admissible)} actions"
    invalid = [value for value in logprobs if not (_is_number(value) and value <= _ROUNDING)]
    if invalid:
        return f"{rule}, received {shown(invalid[0])}"
    impossible = len(logprobs) > 0 and max(map(float, logprobs)) == float("-inf")
    return f"{rule}; at least one must be finite, received only minus infinity" if impossible else None


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)


def _shortened(text: str, limit: int = 2000) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
