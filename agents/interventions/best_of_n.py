"""Best of n: of n answers of the actor, the one that leads to the state with the largest value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.agents.interventions._calling_actor import CallingActor, CallsActor
from selfreg_gym.agents.interventions._samples import Samples, draw
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, TaskContractError
from selfreg_gym.search.leaf_values import KINDS, LeafValue, leaf_value
from selfreg_gym.search.states import TaskState, advance
from selfreg_gym.types import Act, Actor, Decision, optional_member
from selfreg_gym.utils.arguments import check_count
from selfreg_gym.utils.random_streams import generator

__all__ = ["BestOfN"]

_DECIMALS = 6  # of values: their last digits depend on the batch


class _Outcome(NamedTuple):
    """The outcome of a candidate action: indices of the decision and of the candidate, the state or the success."""

    decision: int
    candidate: int
    state: TaskState | None
    success: bool


class _Best(CallingActor):
    """An actor that draws n answers of another one, tries each on a snapshot of the task, and takes the best."""

    def __init__(
        self, n: int, value: str, folder: str | Path | None, price: float | None, rollouts: int, futures: int,
        actor: Actor | Callable[[str], str] | str | None, actor_kwargs: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        super().__init__(actor, actor_kwargs)
        self.n = check_count("n, the number of answers,", n)
        self.futures = check_count("futures, the number of outcomes tried of an action,", futures)
        self.value, self.price, self.rollouts = value, price, rollouts
        self.folder = None if folder is None else Path(folder)
        if value not in KINDS or (value != "rollouts") == (folder is None):
            raise InvalidArgumentError(
                "best-of-n compares states by value='rollouts' of the env's actor, or by value='prm' or 'fitted' with "
                f"folder=, the directory of the model; received value={value!r} and folder={folder!r}."
            )
        if self.folder is not None and not self.folder.is_dir():
            raise CheckpointError(f"the folder of the values of best-of-n must exist, received {str(folder)!r}.")

    @property
    def checkpoint_dir(self) -> Path | None:
        """The model that compares states; a run does not continue with another one."""
        return self.folder

    @cached_property
    def _leaf_value(self) -> LeafValue:
        base = self.called if self._base is None else self._base  # the values are those of the env's actor
        return leaf_value(self.value, folder=self.folder, actor=base, price=self.price, rollouts=self.rollouts)

    def with_actor(self, actor: Actor) -> _Best:
        """The same for an env with this actor."""
        bound = super().with_actor(actor)
        vars(bound).pop("_leaf_value", None)
        return bound

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """One act per decision, with one call of the other actor and one of the values."""
        if not decisions:
            return []
        samples = draw(self.called, decisions, [self.memory_of(decision) for decision in decisions], self.n)
        outcomes = [
            outcome
            for i, (decision, some) in enumerate(zip(decisions, samples, strict=True))
            if len(some.counts) > 1
            for outcome in self._try(i, decision, list(some.counts))
        ]
        values = iter(self._leaf_value([one.state for one in outcomes if one.state is not None]))
        totals = [np.zeros(len(some.counts)) for some in samples]
        for one in outcomes:
            totals[one.decision][one.candidate] += float(one.success) if one.state is None else next(values)
        return [self._chosen(some, total) for some, total in zip(samples, totals, strict=True)]

    def _chosen(self, samples: Samples, totals: np.ndarray) -> Act:
        """The act of the candidate with the largest value; of equal ones the most frequent, then the first drawn."""
        if samples.error is not None:
            return samples.act("")
        candidates = list(samples.counts)
        rounded = np.round(totals, _DECIMALS)
        best = max(range(len(candidates)), key=lambda c: (rounded[c], samples.counts[candidates[c]], -c))
        return self.keeping(samples.act(candidates[best]), samples.memories[candidates[best]])

    def _try(self, index: int, decision: Decision, candidates: Sequence[str]) -> list[_Outcome]:
        """The outcomes of the candidates on a task, which is afterwards as it was."""
        task = decision.task
        snapshot, restore = (optional_member(task, name) for name in ("snapshot", "restore"))
        if snapshot is None or restore is None:
            raise TaskContractError(
                "best-of-n tries actions on the live task and needs its snapshot() and restore(); received a decision "
                f"with the task {getattr(task, 'unwrapped', task)}. Use it in an intervention env."
            )
        reseed, sample_hidden = (optional_member(task, name) for name in ("reseed", "sample_hidden"))
        seed = int(decision.rng.integers(2**62))
        before = snapshot()
        found = []
        try:
            for future in range(self.futures if reseed or sample_hidden else 1):
                restore(before)
                if sample_hidden is not None:
                    sample_hidden(generator((seed, 1, future)))
                if reseed is not None:
                    reseed(int(generator((seed, 2, future)).integers(2**62)))
                world = snapshot()
                for number, action in enumerate(candidates):
                    if number:
                        restore(world)
                    observation, over, success, info = advance(task, action, decision.info.get("steps_left"))
                    state = None
                    if not over:
                        after = snapshot() if self.value == "rollouts" else None
                        state = TaskState(task, observation, info, (seed, 3, future), snapshot=after)
                    found.append(_Outcome(index, number, state, success))
        finally:
            restore(before)
        return found


class BestOfN(CallsActor):
    """Of n answers of the env's actor, the action whose next state has the largest value.

    Each distinct action is tried on a snapshot of the live task, which is then restored. If the episode ends there, the
    value is 1 for success and 0 for failure; else it is that of the next state. All decisions of a step of a vector env
    share one call of the actor and one of the values.

    The actor cannot know hidden facts and random events to come. So before an action is tried, hidden facts are
    replaced by a sample from what the actor can know (the task's ``sample_hidden``) and the random stream is replaced
    (``reseed``), equally for all actions. On a task without one of the two, the intervention is privileged.

    Args:
        n: number of answers, each with a random stream of its own.
        value: what compares the states: ``"prm"`` (a process reward model), ``"fitted"`` (fitted values) or
            ``"rollouts"`` (the env's actor plays to the end).
        folder: the directory of the process reward model (``prm`` of a run) or of the fitted values
            (``values/teacher``); not with rollouts.
        price: help cost r at which fitted values count later help; None for the success of the actor alone.
        rollouts: number of rollouts per state.
        futures: number of samples of hidden facts and random events in which each action is tried.
        actor: another actor that answers (a registered id such as ``"endpoint"``, an actor, or a function of the
            observation); None for the env's actor.
        actor_kwargs: arguments of an actor that is given by its id.
        name: its name in ``info``.
        cost: cost units of one call. If all answers report a cost, the call costs their sum instead.

    Raises:
        InvalidArgumentError: another value, or a folder that is missing or not needed.
        CheckpointError: the folder does not exist.
    """

    def __init__(
        self,
        n: int = 8,
        *,
        value: str = "rollouts",
        folder: str | Path | None = None,
        price: float | None = None,
        rollouts: int = 4,
        futures: int = 4,
        actor: Actor | Callable[[str], str] | str | None = None,
        actor_kwargs: dict[str, Any] | None = None,
        name: str = "best-of-n",
        cost: float = 1.0,
    ) -> None:
        best = _Best(n, value, folder, price, rollouts, futures, actor, actor_kwargs)
        super().__init__(best, name=name, cost=cost)

    def privileged_on(self, task: Any) -> bool:
        """Whether its trials can show the facts of this task that the actor cannot know."""
        return optional_member(task, "sample_hidden") is None or optional_member(task, "reseed") is None
