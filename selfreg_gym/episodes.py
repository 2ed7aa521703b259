"""``Episode`` and ``Transition``: a played episode, step by step and decision by decision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

__all__ = ["Episode", "Transition", "merged_calls"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a stored episode, or one decision of it (:attr:`Episode.decisions`).

    Attributes:
        t: step number in the episode, from 0.
        observation, admissible_actions, state_key, feature_key, steps_left: the state *before* the action.
        action: 0 nohelp, k help from the k-th of K interventions, K + 1 abort.
        action_text: the action on the task; empty where the episode was aborted.
        cost: cost units spent at this step.
        reward: the env's reward for this step.
        terminated, truncated: whether the episode ended here.
        invalid: whether ``action_text`` was not admissible.
        tokens: tokens read and written for the action (``Act.tokens``), or None if they are not counted.
        reported_cost: cost units that the call reported (``Act.cost``), or None.
        actor_logprobs: log-probabilities that the actor gives to ``admissible_actions``, in their order and rounded to
            float32, whoever acted. None for all steps of a store, unless the actor was asked at every step
            (``ask_actor_always``): an entry that is missing at some steps only would reveal who acted there.
        feature_vector: ``info["feature_vector"]`` before the action, or None.
        continuation: whether the step continues a call of several steps. No decision was made at such a step.
        propensities: ``(A,)`` the probabilities with which the behaviour drew each of the A actions here, rounded to
            float32; None if they are unknown, for instance because a deterministic helper decided.
    """

    t: int
    observation: str
    admissible_actions: tuple[str, ...] | None
    state_key: str
    feature_key: str | None
    steps_left: int | None
    action: int
    action_text: str
    cost: float
    reward: float
    terminated: bool
    truncated: bool
    invalid: bool
    tokens: int | None = None
    reported_cost: float | None = None
    actor_logprobs: tuple[float, ...] | None = None
    feature_vector: tuple[float, ...] | None = None
    continuation: bool = False
    propensities: tuple[float, ...] | None = None

    @property
    def price(self) -> float | None:
        """Former name of ``reported_cost``."""
        warnings.warn("Transition.price is now Transition.reported_cost.", DeprecationWarning, stacklevel=2)
        return self.reported_cost


@dataclass(frozen=True, slots=True)
class Episode:
    """A played episode: its transitions and its outcome.

    Attributes:
        task_index: index of the task (``reset(options={"episode": task_index})``).
        seed: seed of the episode (``reset(seed=seed)``).
        task_id: the name of the task (``info["task_id"]``).
        kind: the task's kind, or ``""`` (``info["kind"]``).
        help_probability: the probability of random help at each step; None if a helper decided.
        success: the outcome.
        usage: ``(K,)`` cost units per intervention over the episode.
        steps: its transitions.
        error: the reason of a failure, or None; a failed episode is excluded from all statistics.
        metrics: numbers that the task reported at the end (``info["metrics"]``, for instance ``{"spl": 0.8}``).
    """

    task_index: int
    seed: int
    task_id: str
    kind: str
    help_probability: float | None
    success: bool
    usage: tuple[float, ...]
    steps: tuple[Transition, ...]
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """Cost units of the whole episode."""
        return float(sum(self.usage))

    @property
    def aborted(self) -> bool:
        """Whether the last action ended the episode without success (action K + 1)."""
        return bool(self.steps) and self.steps[-1].action > len(self.usage)

    @property
    def decisions(self) -> tuple[Transition, ...]:
        """One transition per decision: a call of several steps is one transition (:func:`merged_calls`)."""
        return merged_calls(self.steps)

    def __iter__(self) -> Iterator[Transition]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def merged_calls(steps: Sequence[Transition]) -> tuple[Transition, ...]:
    """The steps of an episode with each call of several steps as one transition, from its start to its end.

    This is the transition of an option in a semi-Markov decision process (Sutton, Precup and Singh 1999, *Between MDPs
    and semi-MDPs*). The state and the action are those of the first step; ``cost``, ``reward``, ``tokens`` and
    ``reported_cost`` are sums over the steps of the call; ``terminated`` and ``truncated`` are those of its last step;
    ``invalid`` is whether any of its actions was not admissible.
    """
    if not any(step.continuation for step in steps):
        return tuple(steps)
    begins = [i for i, step in enumerate(steps) if not step.continuation]
    return tuple(_merged(steps[i:j]) for i, j in zip(begins, [*begins[1:], len(steps)], strict=True))


def _merged(steps: Sequence[Transition]) -> Transition:
    """One transition for the steps of a call."""
    if len(steps) == 1:
        return steps[0]
    tokens = [step.tokens for step in steps if step.tokens is not None]
    reported = [step.reported_cost for step in steps if step.reported_cost is not None]
    return replace(
        steps[0],
        cost=float(sum(step.cost for step in steps)),
        reward=float(sum(step.reward for step in steps)),
        terminated=steps[-1].terminated,
        truncated=steps[-1].truncated,
        invalid=any(step.invalid for step in steps),
        tokens=sum(tokens) if tokens else None,
        reported_cost=float(sum(reported)) if reported else None,
    )
