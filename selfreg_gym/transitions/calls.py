"""``with_calls`` and ``with_abort``: the exact model of a problem with longer calls, or with an action that aborts.

A call of several steps is unrolled. For an intervention whose calls last d steps, each state has copies in which 1 to
d - 1 steps of a call are done; in a copy the intervention acts again. A call to the end of the episode, or to the next
sub-goal, needs one copy per state, because it does not depend on the number of steps done.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.transitions.model import TransitionModel
from selfreg_gym.transitions.rows import Rows, tails_of
from selfreg_gym.types import COSTS_PER, CostPer, Duration

__all__ = ["with_abort", "with_calls"]


def with_calls(
    model: TransitionModel,
    durations: Sequence[Duration],
    *,
    costs_per: Sequence[CostPer] | None = None,
    subgoals: Sequence[Hashable] | None = None,
) -> TransitionModel:
    """Let calls of the interventions of a model last several steps.

    Args:
        model: the problem with calls of one step, N nodes and K interventions, each of which acts at any state as it
            does at its first step.
        durations: K of them: a number of steps, ``"subgoal"`` or ``"end"`` (:class:`selfreg_gym.Intervention`).
        costs_per: K times ``"call"`` (default) or ``"step"``.
        subgoals: ``(N,)`` the sub-goal of each node, for the duration ``"subgoal"``.

    Returns:
        The model, whose first N nodes are those of ``model``, in their order.

    Raises:
        InvalidArgumentError: another number of durations or sub-goals, an unknown duration or unit of costs, or calls
            to a sub-goal without sub-goals.
    """
    count = model.actions - 1
    per = ["call"] * count if costs_per is None else list(costs_per)
    if len(durations) != count or len(per) != count:
        raise InvalidArgumentError(
            f"durations and costs_per must have one entry per intervention, {count}; received {len(durations)} and "
            f"{len(per)}."
        )
    if wrong := [one for one in per if one not in COSTS_PER]:
        raise InvalidArgumentError(f"costs_per must be 'call' or 'step', received {shown(wrong[0])}.")
    if "subgoal" in durations and (subgoals is None or len(subgoals) != model.nodes):
        raise InvalidArgumentError(
            f"the duration 'subgoal' needs subgoals, one per node ({model.nodes}), received "
            f"{'none' if subgoals is None else len(subgoals)}."
        )
    if model.calling.any():
        raise InvalidArgumentError("with_calls needs a model of single steps, received one with calls of several.")
    # Copies: (intervention, steps of the call that are done); None: any number of them.
    copies: list[tuple[int, int | None]] = []
    for k, duration in enumerate(durations, 1):
        if isinstance(duration, str):
            if duration not in ("subgoal", "end"):
                raise InvalidArgumentError(f"a duration must be a number, 'subgoal' or 'end', received {duration!r}.")
            copies.append((k, None))
        elif duration < 1:
            raise InvalidArgumentError(f"a duration must be at least 1 step, received {duration!r}.")
        else:
            copies += [(k, done) for done in range(1, int(duration))]
    place = {copy: 1 + i for i, copy in enumerate(copies)}
    n, blocks = model.nodes, 1 + len(copies)
    goal_codes: dict[Hashable, int] = {}
    goal = np.array([goal_codes.setdefault(one, len(goal_codes)) for one in subgoals or [0] * n])

    def head_of(row: Rows, k: int, done: int) -> np.ndarray:
        """The heads of a row of help, where ``done`` steps of the call are done after it."""
        duration = durations[k - 1]
        if duration == "end":
            return row.indices + place[k, None] * n
        if duration == "subgoal":
            same = goal[tails_of(row)] == goal[row.indices]
            return np.where(same, row.indices + place[k, None] * n, row.indices)
        return row.indices + place[k, done] * n if done < int(duration) else row.indices

    first = [model.rows[0], *(row._replace(indices=head_of(row, k, 1)) for k, row in enumerate(model.rows[1:], 1))]
    further = [
        model.rows[k]._replace(indices=head_of(model.rows[k], k, 2 if done is None else done + 1)) for k, done in copies
    ]
    empty = Rows(
        np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0),
        None if first[0].drop is None else np.zeros(0, np.int32),
    )  # fmt: skip
    rows = [_stacked([first[0], *further]), *(_stacked([row] + [empty] * len(copies)) for row in first[1:])]

    def outcomes(array: np.ndarray, scale: Sequence[float] | None = None) -> np.ndarray:
        """``(A, blocks * N)``: the copies of an array ``(A, N)`` of outcomes."""
        out = np.zeros((model.actions, blocks, n))
        out[:, 0] = array
        for i, (k, _) in enumerate(copies, 1):
            out[0, i] = array[k] * (1.0 if scale is None else scale[k - 1])
        return out.reshape(model.actions, -1)

    available = np.zeros((model.actions, blocks, n), bool)
    available[:, 0], available[0] = model.available, True
    calling = np.repeat([0, *(k for k, _ in copies)], n)
    start = np.zeros((model.levels, blocks, n))
    start[:, 0] = model.start.reshape(model.levels, n)
    names = None
    if model.keys is not None:
        names = [*model.keys, *((key, f"help {k}", done) for k, done in copies for key in model.keys)]
    success = outcomes(model.success)
    last = None if model.last_success is model.success else outcomes(model.last_success)
    cost = outcomes(model.cost, [1.0 if one == "step" else 0.0 for one in per])
    made = TransitionModel.__new__(TransitionModel)
    made._set(
        tuple(rows), n * blocks, model.levels, success, start.ravel(), cost, names,
        available.reshape(model.actions, -1), "fail", last, calling=calling,
    )  # fmt: skip
    return made


def with_abort(model: TransitionModel) -> TransitionModel:
    """The model with one more action, which ends the episode without success and without cost.

    It never increases S - r M: nohelp has a value of at least 0. So fitted models leave it out.
    """
    row = model.rows[0]
    none = Rows(
        np.zeros_like(row.indptr), np.zeros(0, row.indices.dtype), np.zeros(0),
        None if row.drop is None else np.zeros(0, row.drop.dtype),
    )  # fmt: skip
    zero = np.zeros((1, model.nodes))
    last = None if model.last_success is model.success else np.concatenate([model.last_success, zero])
    made = TransitionModel.__new__(TransitionModel)
    made._set(
        (*model.rows, none), model.nodes, model.levels, np.concatenate([model.success, zero]), model.start,
        np.concatenate([model.cost, zero]), model.keys, np.concatenate([model.available, model.calling[None] == 0]),
        "fail", last, calling=model.calling,
    )  # fmt: skip
    return made


def _stacked(parts: Sequence[Rows]) -> Rows:
    """Rows one below the other."""
    begin = np.cumsum([0, *(len(part.data) for part in parts)])
    indptr = np.concatenate([[0], *(part.indptr[1:] + offset for part, offset in zip(parts, begin, strict=False))])
    drops = [part.drop for part in parts]
    return Rows(
        indptr.astype(np.int64),
        np.concatenate([part.indices for part in parts]).astype(np.int32),
        np.concatenate([part.data for part in parts]),
        None if drops[0] is None else np.concatenate(drops),  # type: ignore[arg-type]
    )
