"""Self-consistency: the most frequent of n answers of the actor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym.agents.interventions._calling_actor import CallingActor, CallsActor
from selfreg_gym.agents.interventions._samples import Samples, draw
from selfreg_gym.types import Act, Actor, Decision
from selfreg_gym.utils.arguments import check_count

__all__ = ["SelfConsistency"]


class _MostFrequent(CallingActor):
    """An actor that draws n answers of another one and takes the most frequent."""

    def __init__(
        self, n: int, actor: Actor | Callable[[str], str] | str | None, actor_kwargs: dict[str, Any] | None
    ) -> None:
        super().__init__(actor, actor_kwargs)
        self.n = check_count("n, the number of answers,", n)

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """One act per decision, with one call of the other actor."""
        if not decisions:
            return []
        samples = draw(self.called, decisions, [self.memory_of(decision) for decision in decisions], self.n)
        return [self._most_frequent(one) for one in samples]

    def _most_frequent(self, samples: Samples) -> Act:
        if samples.error is not None:
            return samples.act("")
        text = samples.most_frequent
        return self.keeping(samples.act(text), samples.memories[text])


class SelfConsistency(CallsActor):
    """The most frequent of n answers of the env's actor; of equally frequent ones the first drawn.

    Answers are compared as texts. Source: Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in
    Language Models" (2023), which compares the final answers of sampled texts.

    Args:
        n: number of answers, each with a random stream of its own. A deterministic actor gives n equal ones.
        actor: another actor that answers (a registered id such as ``"endpoint"``, an actor, or a function of the
            observation); None for the env's actor.
        actor_kwargs: arguments of an actor that is given by its id.
        name: its name in ``info``.
        cost: cost units of one call. If all answers report a cost, the call costs their sum instead.
    """

    def __init__(
        self,
        n: int = 8,
        *,
        actor: Actor | Callable[[str], str] | str | None = None,
        actor_kwargs: dict[str, Any] | None = None,
        name: str = "self-consistency",
        cost: float = 1.0,
    ) -> None:
        super().__init__(_MostFrequent(n, actor, actor_kwargs), name=name, cost=cost)
