"""A small network on the actor's distribution over actions: a baseline for helpers that read the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from selfreg_gym.agents.helpers._students import train_student
from selfreg_gym.agents.helpers._values import ValuesHelper

__all__ = ["ActorSignals"]


class ActorSignals(ValuesHelper):
    """Predicts the gains of help from the actor's distribution over the actions and the steps left.

    The network has two hidden layers of 32 units and is regressed on the gains of a teacher. It reads neither the text
    nor the features of the task. A helper that reads the text should be better.
    """

    role, label, marker, colour = "baseline", "actor signals", "+", "cyan"

    @classmethod
    def train(
        cls,
        rollouts: Any,
        teacher: Any,
        *,
        inputs: Sequence[str] = ("actor", "steps_left"),
        costs: Sequence[float],
        seed: int = 0,
        progress: bool = True,
        **student: Any,
    ) -> Self:
        """Regress the network on the gains of a teacher.

        Args:
            rollouts: a store with the actor's log-probabilities (``collect(ask_actor_always=True)``).
            teacher: the result of :func:`selfreg_gym.solve_fitted`, or a transition model.
            inputs: the inputs, by name.
            costs: ``(K,)`` cost units of a call of each intervention.
            seed: seed of the network.
            progress: show a progress bar.
            **student: further arguments of :meth:`selfreg_gym.fitted.student.Student.train`.

        Raises:
            InvalidArgumentError: an input that the rollouts lack.
        """
        options: dict[str, Any] = {"hidden": (32, 32), "dropout": 0.0} | student
        return train_student(
            cls, rollouts, teacher, inputs=inputs, costs=costs, seed=seed, progress=progress, **options
        )
