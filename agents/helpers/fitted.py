"""The policy of fitted values: help where the gain in success exceeds the price of the gain in usage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from selfreg_gym.agents.helpers._arguments import known_on_new_tasks, without_task
from selfreg_gym.agents.helpers._students import deployed_curve_of, train_student
from selfreg_gym.agents.helpers._values import ValuesHelper
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted import FittedFrontier
from selfreg_gym.store.source import checked_source

__all__ = ["Fitted"]


class Fitted(ValuesHelper):
    """Follows fitted values (:func:`selfreg_gym.solve_fitted`), or a student of them that reads fewer inputs.

    Make one with :meth:`train`, or from a solved frontier: ``Fitted(frontier, costs=[1.0])``.
    """

    label, marker, colour = "fitted-values helper", "H", "purple"
    takes_cap = True

    @classmethod
    def train(
        cls,
        rollouts: Any,
        teacher: Any,
        *,
        inputs: Sequence[str] = (),
        costs: Sequence[float],
        backbone: str | Path = "auto",
        prm: Any = None,
        cap: int | None = None,
        seed: int = 0,
        progress: bool = True,
        **student: Any,
    ) -> Self:
        """Make the helper from a teacher.

        Args:
            rollouts: a ``Rollouts`` store, or episodes; a student is trained on their decisions.
            teacher: the result of :func:`selfreg_gym.solve_fitted`, or a transition model.
            inputs: names of the inputs that are known at deployment; empty: the teacher's inputs without ``state``. If
                they are the teacher's inputs, the helper follows the teacher itself; otherwise it follows a student
                that is regressed on the teacher's gains.
            costs: ``(K,)`` cost units of a call of each intervention.
            backbone, prm: of the inputs ``embedding`` and ``prm`` (:func:`selfreg_gym.inputs.fit_inputs`).
            cap: the largest number of calls of an episode, for a teacher that was solved with ``cap=``; None: its
                largest. There is no student of such a teacher.
            seed: seed of the student.
            progress: show a progress bar.
            **student: further arguments of :meth:`selfreg_gym.fitted.student.Student.train`.

        Raises:
            InvalidArgumentError: ``state`` among the inputs, or an input that the rollouts lack.
        """
        without_task(inputs)
        known = tuple(teacher.encoder.names) if isinstance(teacher, FittedFrontier) and teacher.encoder else ()
        wanted = tuple(inputs) or known_on_new_tasks(known)
        if not wanted:
            raise InvalidArgumentError("a student needs inputs, by name, because the teacher has none: pass inputs=.")
        if isinstance(teacher, FittedFrontier) and wanted == known:
            info = {"inputs": list(known), "decisions": teacher.decisions, "episodes": teacher.episodes}
            rollouts = checked_source(rollouts)
            curve = deployed_curve_of(teacher, rollouts, costs, cap=cap, progress=progress)
            return cls(teacher, costs=costs, curve=curve, cap=cap, info=info | teacher.settings)
        return train_student(
            cls, rollouts, teacher, inputs=wanted, costs=costs, backbone=backbone, prm=prm, seed=seed,
            progress=progress, **student,
        )  # fmt: skip
