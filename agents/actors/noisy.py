"""The task's expert with noise, as an actor: a weak actor for every task that has an expert."""

from __future__ import annotations

import math
from collections.abc import Sequence

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.optional_members import find_member
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.arguments import check_number

__all__ = ["Noisy"]


class Noisy:
    """A uniformly random admissible action with probability ``noise``, otherwise the action of the task's expert.

    It reads the state of the task and not the text. On toy text it is the actor of the exact ``intervention_model``.

    Args:
        noise: in [0, 1].

    Raises:
        InvalidArgumentError: ``noise`` is out of range, or at a decision: the task has no list of admissible actions,
            or no expert.
    """

    def __init__(self, noise: float = 0.5) -> None:
        self.noise = check_number("noise (probability of a random action)", noise)
        if self.noise > 1:
            raise InvalidArgumentError(f"noise must be a probability in [0, 1], received {noise!r}.")

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """One act per decision, with its log-probabilities."""
        return [self._act(decision) for decision in decisions]

    def _act(self, decision: Decision) -> Act:
        try:
            best = find_member(decision.task, "expert_action")()
        except AttributeError:
            raise InvalidArgumentError(
                "the actor 'noisy' needs a task with expert_action(), and this one has none: choose another actor."
            ) from None
        actions = decision.admissible_actions or ()
        if best not in actions:
            raise InvalidArgumentError("the actor 'noisy' needs a task with a list of admissible actions.")
        shares = [self.noise / len(actions) + (1 - self.noise) * (action == best) for action in actions]
        text = best
        if decision.rng.random() < self.noise:
            text = actions[int(decision.rng.integers(len(actions)))]
        return Act(text, logprobs=tuple(math.log(share) if share else -1e9 for share in shares))

    def __deepcopy__(self, memo: dict[int, object]) -> Noisy:
        return self

    def __repr__(self) -> str:
        return f"Noisy({self.noise:g})"
