"""Helpers that are students, small networks on inputs: their training, and their expected usage and success."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from selfreg_gym.agents.helpers._always import always_asked
from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._gains import position_of
from selfreg_gym.agents.helpers._teacher import teacher_gains
from selfreg_gym.agents.helpers._values import ValuesHelper
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted import FittedFrontier
from selfreg_gym.fitted.priced import PricedFrontier
from selfreg_gym.fitted.student import Student
from selfreg_gym.inputs import DecisionTable, InputEncoder, fit_inputs
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.store.source import checked_source, finished_episodes

__all__ = ["curve_of", "deployed_curve_of", "train_student"]

_H = TypeVar("_H", bound=ValuesHelper)


def curve_of(teacher: Any, costs: Sequence[float], cap: int | None = None) -> list[list[float]] | None:
    """Held-out usage and success of a teacher's policies, by the position of the knob from 0 to P + 1.

    Args:
        teacher: a frontier with prices. Another teacher gives None: its usage and success are not estimated.
        costs: ``(K,)`` cost units of a call.
        cap: a hard cap of the teacher's values; None: the largest.

    Returns:
        Triples ``[position, usage, success]`` of rising positions.

    Raises:
        InvalidArgumentError: another number of costs than interventions of the teacher.
    """
    if not isinstance(teacher, PricedFrontier):
        return None
    cap = teacher.checked_cap(cap)
    e = teacher.estimates_under(cap)
    checked_costs(costs, len(e.usage) - e.never - 1)
    always = e.never + always_asked(teacher, costs, cap)
    ends = (
        [0.0, float(e.usage[e.never]), float(e.success[e.never])],
        [len(teacher.prices) + 1.0, float(e.usage[always]), float(e.success[always])],
    )
    return _curve(teacher.prices, e.prices, np.stack([e.usage, e.success], axis=1)[: e.never], ends)


def deployed_curve_of(
    teacher: FittedFrontier, rollouts: Any, costs: Sequence[float], *, cap: int | None = None, progress: bool = False
) -> list[list[float]] | None:
    """The same as :func:`curve_of` for a helper that follows the teacher itself: the mean of all of its networks.

    Args:
        teacher: fitted values with an encoder.
        rollouts: those to which it was fitted; for others, the curve is that of :func:`curve_of`.
        costs: ``(K,)`` cost units of a call.
        cap: a hard cap of the teacher's values; its estimates are those of :func:`curve_of`.
        progress: show a progress bar.
    """
    from selfreg_gym.fitted.deployed import deployed_curve
    from selfreg_gym.fitted.solve import logged_decisions

    curve = curve_of(teacher, costs, cap)
    table = DecisionTable.from_rollouts(rollouts)
    if curve is None or teacher.caps or len(table) != teacher.decisions:
        return curve
    found = deployed_curve(teacher, logged_decisions(rollouts, teacher.encoder.encode(table, progress=progress)))
    return curve if found is None else _curve(teacher.prices, *found, (curve[0], curve[-1]))


def _curve(
    grid: np.ndarray, prices: np.ndarray, points: np.ndarray, ends: tuple[list[float], list[float]]
) -> list[list[float]]:
    """Triples ``[position, usage, success]``: the ends, and between them Q points ``(Q, 2)`` at rising prices."""
    inside = [
        [position_of(grid.tolist(), float(price)), *map(float, point)]
        for price, point in zip(prices[::-1], points[::-1], strict=True)
    ]
    return [ends[0], *inside, ends[1]]


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
    if isinstance(teacher, PricedFrontier) and teacher.caps:
        raise InvalidArgumentError(
            f"a student learns from values without a hard cap, received values for caps of up to {len(teacher.caps)} "
            "calls: fit them without cap, and wrap the env in HelpBudget; or give the helper all of their inputs."
        )
    rollouts = checked_source(rollouts)
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
        prices, points = _student_points(rollouts, teacher, values, x, all_inputs)
        curve = _curve(teacher.prices, prices, points, (curve[0], curve[-1]))
    info = {**values.info, "teacher": found.source}
    return kind(values, costs=costs, curve=curve, always=always_asked(teacher, costs), info=info)


def _student_points(
    rollouts: Any, teacher: PricedFrontier, student: Student, x: np.ndarray, inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Prices ``(Q,)``, and expected usage and success ``(Q, 2)`` of a student's policies at these.

    ``x`` has the inputs of the student, ``inputs`` those of the teacher.
    """
    from selfreg_gym.fitted.solve import logged_decisions
    from selfreg_gym.fitted.student_curve import student_curve

    success, usage = student.gains(x)
    gains = success - np.asarray(teacher.prices, np.float32)[:, None] * usage
    return student_curve(logged_decisions(rollouts, inputs), teacher.values(inputs), gains, teacher.prices)


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
    of_decision = [episode for episode in finished_episodes(rollouts) for _ in episode.decisions]
    return task_numbers([one.task_index for one in of_decision], Coded.of([one.task_id for one in of_decision]))
