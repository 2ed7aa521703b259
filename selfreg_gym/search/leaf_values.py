"""Values of task states: the probability of success from a state, by a model or by rollouts, for whole batches.

A value is a callable from states to success probabilities. The tree search evaluates leaves with it, and ``best-of-n``
the states after its candidate actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.intervention_env.task_output import complete_info
from selfreg_gym.search.states import TaskState, advance, apart, member
from selfreg_gym.types import Act, Actor, optional_member
from selfreg_gym.utils.arguments import check_count, check_name, check_number
from selfreg_gym.utils.random_streams import ROLLOUT, stream

__all__ = ["KINDS", "FittedValue", "LeafValue", "PRMValue", "RolloutValue", "leaf_value"]

KINDS = ("prm", "fitted", "rollouts")
"""The kinds of :func:`leaf_value`."""

_LONGEST = 10_000  # steps of a rollout, after which it is an error that the task does not end the episode


class LeafValue(Protocol):
    """The probability of success from each of n states, float64 ``(n,)`` in [0, 1].

    The values do not depend on the batch, and the tasks are unchanged after the call. If the object has the attribute
    ``reads_actor`` and it is True, the states are passed with the actor's act.
    """

    def __call__(self, states: Sequence[TaskState]) -> np.ndarray:
        """Evaluate n states."""


class PRMValue:
    """p(s) of a process reward model: the success of the actor alone, if that was the target of its training.

    Args:
        prm: a :class:`selfreg_gym.ProcessRewardModel` or another object with ``score(observations)``, or its folder,
            which is read at the first use.
    """

    def __init__(self, prm: Any) -> None:
        if not isinstance(prm, str | Path) and not callable(getattr(prm, "score", None)):
            raise InvalidArgumentError(
                f"a process reward model must have score(observations), or be the path of a folder, received "
                f"{shown(prm)}."
            )
        self._prm = prm

    @cached_property
    def prm(self) -> Any:
        """The model."""
        if not isinstance(self._prm, str | Path):
            return self._prm
        from selfreg_gym.prm import ProcessRewardModel

        return ProcessRewardModel.from_pretrained(self._prm)

    def __call__(self, states: Sequence[TaskState]) -> np.ndarray:
        """p(s) of n states."""
        if not states:
            return np.zeros(0)
        return np.asarray(self.prm.score([state.observation for state in states]), np.float64)


class FittedValue:
    """Success by fitted values: that of action 0 (nohelp) and then of the best policy at a price.

    At the largest price, the default, it is the success of the actor alone. At a lower price it includes later help
    from the interventions of the rollouts. The inputs are those of an episode without calls so far.

    Args:
        values: a :class:`selfreg_gym.FittedFrontier`, or the folder of one or of a helper that holds one
            (``values/teacher`` and ``values/fitted`` of a run), which is read at the first use.
        actor: it is asked in states without an act, if the values read what the actor would do.
        price: help cost r, within the prices of the values; None for the largest.
    """

    def __init__(self, values: Any, *, actor: Actor | None = None, price: float | None = None) -> None:
        if not isinstance(values, str | Path) and not callable(getattr(values, "values", None)):
            raise InvalidArgumentError(
                f"fitted values must be a FittedFrontier or the path of its folder, received {shown(values)}."
            )
        self._values, self._actor = values, actor
        self.price = None if price is None else check_number("price, a help cost,", price)

    @cached_property
    def frontier(self) -> Any:
        """The fitted values, with their encoder."""
        values = self._values
        if isinstance(values, str | Path):
            from selfreg_gym.fitted import FittedFrontier

            folder = Path(values)
            nested = folder / "values"
            values = FittedFrontier.load(nested if (nested / "fitted.json").is_file() else folder)
        if values.encoder is None or values.caps:
            raise InvalidArgumentError(
                "fitted values of task states need an encoder of observations and no hard cap: fit them to rollouts "
                "with solve_fitted(rollouts), without cap."
            )
        low, high = float(values.prices[0]), float(values.prices[-1])
        if self.price is not None and not low <= self.price <= high:
            raise InvalidArgumentError(
                f"price must be within the prices of the fitted values, from {low:g} to {high:g}, received "
                f"{self.price:g}."
            )
        return values

    @property
    def reads_actor(self) -> bool:
        """Whether the values read what the actor would do."""
        return bool(self.frontier.encoder.needs_actor)

    def __call__(self, states: Sequence[TaskState]) -> np.ndarray:
        """Success of n states."""
        if not states:
            return np.zeros(0)
        encoder = self.frontier.encoder
        infos = [_with_defaults(state, encoder.interventions) for state in states]
        acts = self._acts(states) if encoder.needs_actor else None
        x = encoder.observe([state.observation for state in states], infos, acts)
        success = self.frontier.values(x)[0][..., 0].astype(np.float64)  # (n, P)
        price = self.frontier.prices[-1] if self.price is None else self.price
        found = np.array([np.interp(price, self.frontier.prices, row) for row in success])
        return np.clip(np.round(found, 5), 0.0, 1.0)  # the last digits of float32 sums depend on the batch

    def _acts(self, states: Sequence[TaskState]) -> list[Act]:
        acts = [state.act for state in states]
        missing = [i for i, act in enumerate(acts) if act is None]
        if missing and self._actor is None:
            raise InvalidArgumentError(
                "these fitted values read what the actor would do: pass the actor (actor=), or states with acts."
            )
        if missing:
            asked = ask(self._actor, [states[i].decision(0) for i in missing])  # type: ignore[arg-type]
            for i, act in zip(missing, asked, strict=True):
                acts[i] = Act(act) if isinstance(act, str) else act
        return acts  # type: ignore[return-value]


class RolloutValue:
    """The mean success of rollouts, in which the actor plays to the end.

    Each rollout has a new random stream where the task has ``reseed``; otherwise all rollouts from a state have the
    same random events. Rollouts of states with different tasks are played in lockstep, with one call of the actor per
    step.

    Args:
        actor: plays the rollouts.
        rollouts: number per state.
    """

    def __init__(self, actor: Actor, *, rollouts: int = 1) -> None:
        self._actor = actor
        self.rollouts = check_count("rollouts, per state,", rollouts)

    def __call__(self, states: Sequence[TaskState]) -> np.ndarray:
        """Mean success of n states; afterwards every task is again in the state in which it was passed.

        Raises:
            TaskContractError: a failed act, or a task that does not end an episode.
        """
        success = np.zeros(len(states))
        for wave in apart([state.task for state in states]):
            part = [states[i] for i in wave]
            before = [member(state.task, "snapshot")() for state in part]
            try:
                starts = [one if s.snapshot is None else s.snapshot for s, one in zip(part, before, strict=True)]
                for number in range(self.rollouts):
                    success[wave] += self._play(part, starts, number)
            finally:
                for state, one in zip(part, before, strict=True):
                    member(state.task, "restore")(one)
        return success / self.rollouts

    def _play(self, states: Sequence[TaskState], starts: Sequence[Any], number: int) -> np.ndarray:
        success = np.zeros(len(states))
        playing: dict[int, TaskState] = {}
        for i, (state, start) in enumerate(zip(states, starts, strict=True)):
            if number or state.snapshot is not None:  # else the task is in this state; a restore may be a replay
                member(state.task, "restore")(start)
            reseed = optional_member(state.task, "reseed")
            if reseed is not None:
                reseed(int(stream(ROLLOUT, *state.key, number).integers(2**63)))
            playing[i] = replace(state, key=(*state.key, 2, number), act=None)
        for t in range(_LONGEST):
            if not playing:
                return success
            acts = ask(self._actor, [state.decision(t) for state in playing.values()])
            for i, act in zip(list(playing), acts, strict=True):
                observation, over, won, info = advance(playing[i].task, act, playing[i].info.get("steps_left"))
                if over:
                    success[i] = won
                    del playing[i]
                else:
                    playing[i] = replace(playing[i], observation=observation, info=info)
        raise TaskContractError(f"a task must end its episodes, and a rollout had not ended after {_LONGEST} steps.")


def leaf_value(
    kind: str, *, folder: str | Path | None = None, actor: Actor | None = None, price: float | None = None,
    rollouts: int = 1,
) -> LeafValue:  # fmt: skip
    """Make a value by its kind.

    Args:
        kind: ``"prm"`` (:class:`PRMValue`), ``"fitted"`` (:class:`FittedValue`) or ``"rollouts"``
            (:class:`RolloutValue`).
        folder: of the process reward model, or of the fitted values.
        actor: needed by rollouts, and by fitted values that read what the actor would do.
        price: of fitted values.
        rollouts: number of rollouts per state.

    Raises:
        UnknownNameError: another kind.
        InvalidArgumentError: the folder or the actor is missing.
    """
    check_name("kind of leaf value", kind, KINDS)
    if kind == "rollouts":
        if actor is None:
            raise InvalidArgumentError("rollouts need the actor, received None: pass actor=.")
        return RolloutValue(actor, rollouts=rollouts)
    if folder is None:
        needed = "a process reward model" if kind == "prm" else "fitted values"
        raise InvalidArgumentError(f"the value {kind!r} needs folder=, the directory of {needed}, received None.")
    return PRMValue(folder) if kind == "prm" else FittedValue(folder, actor=actor, price=price)


def _with_defaults(state: TaskState, interventions: int) -> Mapping[str, Any]:
    """The info of a state with the keys that the intervention env adds."""
    info = dict(state.info)
    complete_info(info, state.observation)
    info["calls"] = np.zeros(interventions, np.int64)
    return info
