"""The training of helpers whose values are a student, and their expected usage and success."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._teacher import teacher_gains
from selfreg_gym.agents.helpers._values import ValuesHelper
from selfreg_gym.fitted import FittedFrontier
from selfreg_gym.fitted.priced import PricedFrontier
from selfreg_gym.fitted.student import Student
from selfreg_gym.inputs import DecisionTable, InputEncoder, fit_inputs
from selfreg_gym.store.rollouts import Rollouts

__all__ = ["curve_of", "train_student"]

_H = TypeVar("_H", bound=ValuesHelper)


def curve_of(teacher: Any, costs: Sequence[float]) -> list[list[float]] | None:
    """Held-out usage and success of a teacher at the positions 0 to P + 1 of the knob.

    Args:
        teacher: a frontier with prices. Another teacher gives None: its usage and success are not estimated.
        costs: ``(K,)`` cost units of a call; "always" asks the most expensive intervention.

    Returns:
        P + 2 pairs ``[usage, success]``.

    Raises:
        InvalidArgumentError: another number of costs than interventions of the teacher.
    """
    if not isinstance(teacher, PricedFrontier):
        return None
    checked_costs(costs, len(teacher.estimates.usage) - teacher.estimates.never - 1)
    rows = teacher.rows()
    always = f"always {int(np.argmax(costs)) + 1}"
    by_price = sorted((row for row in rows if row["policy"] == "price"), key=lambda row: -row["help_cost"])
    (never,) = (row for row in rows if row["policy"] == "never")
    (end,) = (row for row in rows if row["policy"] == always)
    return [[float(row["usage"]), float(row["success"])] for row in (never, *by_price, end)]


def train_student(
    kind: type[_H],
    rollouts: Any,
    teacher: Any,
    *,
    inputs: Sequence[str],
    costs: Sequence[float],
    backbone: str | Path = "auto",
    prm: Any = None,
    seed: int = 0,
    progress: bool = True,
    **student: Any,
) -> _H:
    """A helper of class ``kind`` whose values are a student of the teacher.

    Args:
        kind: a subclass of :class:`ValuesHelper`.
        rollouts, teacher, inputs, costs, backbone, prm, seed, progress: see
            :meth:`selfreg_gym.agents.helpers.fitted.Fitted.train`.
        **student: further arguments of :meth:`Student.train`.
    """
    rollouts = rollouts if isinstance(rollouts, Rollouts) else list(rollouts)
    table = DecisionTable.from_rollouts(rollouts)
    encoder, x, all_inputs = _inputs_of(rollouts, teacher, table, inputs, backbone=backbone, prm=prm, progress=progress)
    found = teacher_gains(teacher, table)
    rows = found.known
    values = Student.train(
        x[rows],
        (found.values[rows][..., 0], found.values[rows][..., 1]),
        found.prices,
        tasks=_tasks_of(rollouts)[rows],
        encoder=encoder,
        seed=seed,
        progress=progress,
        **student,
    )
    curve = curve_of(teacher, costs)
    if curve is not None:
        curve[1:-1] = _student_points(rollouts, teacher, values, x, all_inputs)
    info = {**values.info, "teacher": found.source}
    return kind(values, costs=costs, curve=curve, info=info)


def _student_points(
    rollouts: Any, teacher: FittedFrontier, student: Student, x: np.ndarray, inputs: np.ndarray
) -> list[list[float]]:
    """Expected usage and success of a student's policy at each price, from the largest price to the smallest.

    ``x`` has the inputs of the student, ``inputs`` those of the teacher.
    """
    from selfreg_gym.fitted.solve import logged_decisions
    from selfreg_gym.fitted.student_curve import student_curve

    success, usage = student.gains(x)
    gains = success - np.asarray(teacher.prices, np.float32)[:, None] * usage
    actions = np.where(gains.max(axis=2) > 0, gains.argmax(axis=2) + 1, 0)
    points = student_curve(logged_decisions(rollouts, inputs), teacher.values(inputs), actions)
    return points[np.argsort(-np.asarray(teacher.prices), kind="stable")].tolist()


def _inputs_of(
    rollouts: Any, teacher: Any, table: DecisionTable, names: Sequence[str], **options: Any
) -> tuple[InputEncoder, np.ndarray, np.ndarray]:
    """The encoder of these inputs, the encoded table, and the table encoded by the teacher's encoder.

    The teacher's encoder is used if it has all of the inputs. Without one, the last array is ``(n, 0)``.
    """
    progress = options.pop("progress")
    own = getattr(teacher, "encoder", None)
    if not isinstance(own, InputEncoder):
        encoder, _ = fit_inputs(rollouts, names, backbone=options["backbone"], prm=options["prm"], progress=progress)
        return encoder, encoder.encode(table, progress=progress), np.zeros((len(table), 0), np.float32)
    everything = own.encode(table, progress=progress)
    if set(names) <= set(own.names):
        return own.subset(names), np.ascontiguousarray(everything[:, own.columns(names)]), everything
    encoder, _ = fit_inputs(rollouts, names, backbone=options["backbone"], prm=options["prm"], progress=progress)
    return encoder, encoder.encode(table, progress=progress), everything


def _tasks_of(rollouts: Any) -> np.ndarray:
    """``(n,)`` the task of each decision, as a number."""
    from selfreg_gym.fitted.solve import task_numbers
    from selfreg_gym.store.columns import Coded

    if isinstance(rollouts, Rollouts):
        columns: dict[str, Any] = rollouts.columns("task", "task_id", decisions=True)
        return task_numbers(columns["task"], columns["task_id"])
    of_decision = [episode for episode in rollouts if episode.error is None for _ in episode.decisions]
    return task_numbers([one.task_index for one in of_decision], Coded.of([one.task_id for one in of_decision]))
