"""``check_actor`` and ``check_intervention``: the contract of actors and interventions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import TaskContractError, shown
from selfreg_gym.intervention_env.building import build_task, check_timeout
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.intervention_env.interventions import bind, for_task
from selfreg_gym.testing.common import SAMPLE_TASK, SECONDS, broken, rest, untouched_global_randomness
from selfreg_gym.testing.reference_actors import RandomActor
from selfreg_gym.types import Act, Actor, Decision, Intervention, as_actor
from selfreg_gym.utils.time_limit import CallTimedOutError, call_within

__all__ = ["check_actor", "check_intervention"]


def check_actor(actor: Any, *, task: gym.Env[str, str] | str | None = None, timeout: float | None = SECONDS) -> None:
    """Check an actor: one answer per decision, equal alone and batched, repeatable, and without change of the task.

    Args:
        actor: has ``act(decisions)``, or is a function of the observation. With ``with_task``, the actor that it
            returns for ``task`` is checked.
        task: the text task on which it is checked (an env or an id). Default: ``selfreg/Coin-v0``, and the actor as it
            is, because an actor of one task need not know this one.
        timeout: seconds that one call of ``act`` may take; None: no limit.

    Raises:
        TaskContractError: the first rule that the actor breaks.
        InvalidArgumentError: ``timeout`` is not a positive number.
        CheckpointError: the actor has no checkpoint for ``task``.
    """
    timeout = check_timeout(timeout, "timeout (seconds)")
    if isinstance(actor, type) or not (callable(actor) or callable(getattr(actor, "act", None))):
        rule = "an actor is an object that has act(decisions), or a function of the observation"
        broken(rule, shown(actor) + _of_registry("actors", actor))
    actor = as_actor(actor)
    if copy.deepcopy(actor) is not actor:
        broken(
            "an actor's __deepcopy__ returns itself (Gymnasium deep-copies env specs, and a model must not be copied)",
            f"a copy of {type(actor).__name__}",
        )
    env = build_task(SAMPLE_TASK if task is None else task)
    if task is not None:
        actor = for_task(actor, env)

    def answers(decisions: Sequence[Decision], *, count: bool = True) -> list[str | Act]:
        return _answers(actor, decisions, timeout, count=count)

    if none := answers([], count=False):
        broken("the answer to an empty batch is empty", shown(none))
    decisions = []
    state = EpisodeState(env, (), 0.0)
    for episode in range(2):
        state.begin(11 + episode, {"episode": episode})
        before = env.get_wrapper_attr("snapshot")()
        decision = state.decision(0)
        admissible = decision.admissible_actions
        with untouched_global_randomness("an actor"):
            alone = answers([decision])[0]
        _check_act(alone, admissible)
        follow = alone.text if isinstance(alone, Act) else alone
        after = rest(env, [follow])
        env.get_wrapper_attr("restore")(before)
        if rest(env, [follow]) != after:
            broken("an actor leaves decision.task unchanged (snapshot, try, restore)", f"a changed {env}")
        env.get_wrapper_attr("restore")(before)
        if answers([decision.renewed()])[0] != alone:
            broken(
                "equal decisions with equal random streams get equal answers (draw from decision.rng only)",
                f"{alone!r}, then {answers([decision.renewed()])[0]!r}",
            )
        decisions.append(decision)
    # There is one live task, so the batch holds decisions in its current state, with different random streams.
    last, keys = decisions[-1], [(11, t, 0, 1) for t in range(4)]
    batch = [Decision(last.observation, last.admissible_actions, last.task, key, last.info) for key in keys]
    single = [answers([decision.renewed()])[0] for decision in batch]
    batched = answers([decision.renewed() for decision in batch])
    backwards = answers([decision.renewed() for decision in reversed(batch)])[::-1]
    if batched != single or backwards != single:
        broken(
            "the answers to a batch are those to each decision alone, in the same order",
            f"alone {single!r}, batched {batched!r}, in reverse order {backwards!r}",
        )


def check_intervention(
    intervention: Any,
    *,
    task: gym.Env[str, str] | str | None = None,
    actor: Actor | None = None,
    timeout: float | None = SECONDS,
) -> None:
    """Check an intervention: its name, its cost, its ``with_actor`` if it has one, and its actor.

    Args:
        intervention: a :class:`selfreg_gym.Intervention`.
        task, timeout: as for :func:`check_actor`.
        actor: the actor to which ``with_actor`` binds it; default: one that acts at random.

    Raises:
        TaskContractError: the first rule that the intervention breaks.
        CheckpointError: the intervention has no checkpoint for ``task``.
    """
    if not isinstance(intervention, Intervention):
        rule = "an intervention is a selfreg_gym.Intervention, for instance Intervention(actor, name='x', cost=1.0)"
        broken(rule, type(intervention).__name__ + _of_registry("interventions", intervention))
    if not isinstance(intervention.name, str) or not intervention.name:
        broken("an intervention has a name", repr(intervention.name))
    cost = intervention.cost
    if not isinstance(cost, float) or not np.isfinite(cost) or cost <= 0:
        broken("an intervention's cost is a positive float (cost units of one call)", repr(cost))
    if copy.deepcopy(intervention) is not intervention:
        broken("an intervention's __deepcopy__ returns itself", f"a copy of {intervention!r}")
    before = dict(vars(intervention))
    made = intervention if task is None else for_task(intervention, task)
    bound = bind(made, RandomActor() if actor is None else actor)
    if vars(intervention) != before:
        changed = [name for name, value in vars(intervention).items() if before.get(name) is not value]
        broken("with_actor(actor) returns another intervention and leaves this one unchanged", f"changed {changed}")
    check_actor(bound.actor, task=task, timeout=timeout)


def _of_registry(group: str, received: Any) -> str:
    """How to make a registered plug-in, if a name was received."""
    return f" (selfreg_gym.registry.load({group!r}, {shown(received)})() makes it)" if isinstance(received, str) else ""


def _answers(actor: Any, decisions: Sequence[Decision], timeout: float | None, *, count: bool) -> list[str | Act]:
    try:
        answers = call_within(timeout, lambda: actor.act(decisions))
    except CallTimedOutError:
        broken(f"act(decisions) returns within {timeout:g} s (the argument timeout)", "no answer")
    except Exception as error:
        raise TaskContractError(f"an actor must answer its decisions; this one raised {error!r}.") from error
    if isinstance(answers, str) or not isinstance(answers, Sequence | np.ndarray):
        broken("an actor answers N decisions with a list of N acts", shown(answers))
    if count and len(answers) != len(decisions):
        broken("an actor answers N decisions with N acts", f"{len(answers)} acts for {len(decisions)} decisions")
    return list(answers)


def _check_act(act: Any, admissible: tuple[str, ...] | None) -> None:
    if isinstance(act, str):
        return
    if not isinstance(act, Act):
        broken("an answer is a str or an Act", repr(act))
    if act.error is not None:
        broken("an actor answers a valid decision without error", act.error)
    if not isinstance(act.text, str):
        broken("Act.text is a str", repr(act.text))
    if act.cost is not None and not (np.isfinite(act.cost) and act.cost >= 0):
        broken("Act.cost is a number of at least 0", repr(act.cost))
    if act.tokens is not None and not (isinstance(act.tokens, int | np.integer) and 0 <= act.tokens <= 2**53):
        broken("Act.tokens is an integer from 0 to 2**53, or None", repr(act.tokens))
    if act.logprobs is not None and not all(value <= 1e-6 for value in act.logprobs):
        broken("Act.logprobs are log-probabilities (at most 0)", repr(act.logprobs))
    if act.logprobs is not None and (admissible is None or len(act.logprobs) != len(admissible)):
        broken("Act.logprobs has one entry per admissible action", f"{act.logprobs!r} for {admissible!r}")
