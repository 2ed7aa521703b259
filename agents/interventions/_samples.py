"""Several answers of an actor to each decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.types import Act, Actor, Decision

__all__ = ["Samples", "draw"]


@dataclass(frozen=True, slots=True)
class Samples:
    """The answers to one decision.

    Attributes:
        counts: how often each action was drawn, the first drawn first.
        tokens: tokens of all answers, or None if one does not count them.
        cost: cost units that all answers reported, or None if one reported none.
        error: the reason why an answer failed, or None.
        memories: by action, the memory that the actor returned with its first answer of this action.
    """

    counts: dict[str, int]
    tokens: int | None
    cost: float | None
    error: str | None = None
    memories: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most_frequent(self) -> str:
        """The most frequent action; of equally frequent ones the first drawn."""
        return max(self.counts, key=lambda text: self.counts[text])

    def act(self, text: str) -> Act:
        """The act with a chosen action, and the tokens and the cost of all answers."""
        return Act(text, tokens=self.tokens, cost=self.cost) if self.error is None else Act("", error=self.error)


def draw(actor: Actor, decisions: Sequence[Decision], memories: Sequence[Any], n: int) -> list[Samples]:
    """Draw n answers to each decision, with one call of the actor, which finds the memory of each decision.

    Each answer has a random stream of its own.
    """
    asked = [
        decision.derived(number).remembering(memory)
        for decision, memory in zip(decisions, memories, strict=True)
        for number in range(n)
    ]
    acts = ask(actor, asked)
    return [_collected(acts[i : i + n]) for i in range(0, len(acts), n)]


def _collected(acts: Sequence[str | Act]) -> Samples:
    every = [Act(act) if isinstance(act, str) else act for act in acts]
    for number, act in enumerate(every, 1):
        if act.error is not None:
            return Samples({}, None, None, f"answer {number} of {len(every)} failed: {act.error}")
    tokens = [act.tokens for act in every if act.tokens is not None]
    costs = [act.cost for act in every if act.cost is not None]
    return Samples(
        dict(Counter(act.text for act in every)),
        sum(tokens) if len(tokens) == len(every) else None,
        sum(costs) if len(costs) == len(every) else None,
        memories={act.text: act.memory for act in reversed(every)},
    )
