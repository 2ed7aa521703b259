"""``ForkState``: a state from which episodes are continued, stored or live, and the choice of stored states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Episode, Transition
from selfreg_gym.utils.arguments import check_count
from selfreg_gym.utils.random_streams import FORK_STATES, stream

__all__ = ["ForkState", "choose_rows", "live_states", "stored_states"]


@dataclass(frozen=True, eq=False)
class ForkState:
    """A state in an episode.

    Attributes:
        task_index, seed: of the episode; ``task_index`` is -1 for a live state, whose task is in its snapshot.
        t: number of steps before the state.
        task_id, kind: of the task.
        observation, state_key, feature_key, steps_left: what is known at the state.
        steps: the recorded steps before a stored state; they are executed again to reach it.
        snapshot: the snapshot of a live state (:meth:`selfreg_gym.intervention_env.episode.EpisodeState.snapshot`).
        task_type: the class of the task of a live state, which is restored in a task of this class only.
        row: index of the decision in the order of :meth:`selfreg_gym.Rollouts.columns`, or None.
        action: the action that was recorded at the state, or None.
    """

    task_index: int
    seed: int
    t: int
    task_id: str
    kind: str
    observation: str
    state_key: str
    feature_key: str | None = None
    steps_left: int | None = None
    steps: tuple[Transition, ...] = ()
    snapshot: Any = None
    task_type: type | None = None
    row: int | None = None
    action: int | None = None

    @classmethod
    def of_episode(cls, episode: Episode, t: int, row: int | None = None) -> ForkState:
        """The state of a stored episode before its step ``t``.

        Raises:
            InvalidArgumentError: there is no step ``t``, or it continues a call, so that no decision was made there.
        """
        check_count("the step of a fork", t, low=0, high=len(episode.steps) - 1)
        here = episode.steps[t]
        if here.continuation:
            raise InvalidArgumentError(
                f"a fork begins at a decision, and step {t} of task {episode.task_id!r} (seed {episode.seed}) "
                "continues a call of several steps: choose another step."
            )
        return cls(
            task_index=episode.task_index, seed=episode.seed, t=t, task_id=episode.task_id, kind=episode.kind,
            observation=here.observation, state_key=here.state_key, feature_key=here.feature_key,
            steps_left=here.steps_left, steps=episode.steps[:t], row=row, action=here.action,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"ForkState({self.task_id}, seed {self.seed}, step {self.t})"


def stored_states(rollouts: Rollouts | Sequence[Episode], rows: Sequence[int] | np.ndarray) -> list[ForkState]:
    """The states of stored decisions.

    Args:
        rollouts: a store, or episodes.
        rows: ``(S,)`` indices of decisions, in the order of :meth:`selfreg_gym.Rollouts.columns`: by episode and step.

    Returns:
        The states in the order of ``rows``.

    Raises:
        InvalidArgumentError: not integers, or an index that does not exist.
    """
    wanted = np.asarray(rows)
    if wanted.size == 0:
        raise InvalidArgumentError("rows must have at least one index of a decision, received none.")
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        raise InvalidArgumentError(f"rows must be (S,) integers, the indices of decisions; received {rows!r}.")
    found: dict[int, ForkState] = {}
    needed = np.unique(wanted).tolist()
    last = needed[-1] if needed else -1
    first = 0
    if needed and needed[0] >= 0:
        for episode in rollouts.episodes() if isinstance(rollouts, Rollouts) else rollouts:
            low, high = np.searchsorted(needed, (first, first + len(episode.steps)))
            for row in needed[low:high]:
                found[row] = ForkState.of_episode(episode, row - first, row)
            first += len(episode.steps)
            if first > last:
                break
    if len(found) < len(needed):
        missing = [row for row in needed if row not in found]
        raise InvalidArgumentError(f"rows must be indices of stored decisions, from 0 on; received {missing[0]}.")
    return [found[row] for row in wanted.tolist()]


def choose_rows(
    columns: dict[str, Any],
    count: int,
    *,
    seed: int = 0,
    gain: np.ndarray | None = None,
    least: float | None = None,
    largest: bool = False,
) -> np.ndarray:
    """Choose decisions of a store, at most one for each pair of state key and steps left.

    Args:
        columns: ``state_key`` and ``steps_left`` of the n steps (:meth:`selfreg_gym.Rollouts.columns`), and
            ``continuation``, if calls last several steps.
        count: number of decisions; fewer are returned if there are fewer different states.
        seed: seed of the draw.
        gain: ``(n,)`` gain of help by a table or by fitted values, NaN where it is unknown.
        least: choose only decisions with a gain of at least this.
        largest: take the largest gains instead of a uniform draw.

    Returns:
        Row indices, rising, or by falling gain if ``largest``. A uniform draw is uniform over decisions, so a state
        that is visited often is chosen more often.

    Raises:
        InvalidArgumentError: ``least`` or ``largest`` without gains, or no decision is left.
    """
    key, left = columns["state_key"], columns["steps_left"]
    n = len(left)
    count = check_count("the number of states", count)
    if gain is None and (least is not None or largest):
        raise InvalidArgumentError("a choice by gain needs the gain of each decision, received none: pass gain=.")
    allowed = ~np.asarray(columns.get("continuation", np.zeros(n, bool)))
    if gain is not None:
        gain = np.asarray(gain, np.float64)
        if gain.shape != (n,):
            raise InvalidArgumentError(f"gain must have one number per decision, ({n},), received {gain.shape}.")
        if least is not None or largest:
            allowed &= np.isfinite(gain) & (np.nan_to_num(gain) >= (-np.inf if least is None else least))
    if not allowed.any():
        wanted = "a known gain" if least is None else f"a gain of at least {least}"
        raise InvalidArgumentError(f"no stored decision has {wanted}: choose a smaller limit, or another price.")
    order = stream(FORK_STATES, check_count("seed", seed, low=0)).permutation(n)
    order = order[allowed[order]]
    if largest and gain is not None:
        order = order[np.argsort(-gain[order], kind="stable")]
    codes = key.codes[order].astype(np.int64) * (int(left.max(initial=0)) + 2) + left[order] + 1
    _, first = np.unique(codes, return_index=True)
    chosen = order[np.sort(first)[:count]]
    return chosen if largest else np.sort(chosen)


def live_states(env: Any) -> list[ForkState]:
    """The current states of the episodes in progress of an intervention env (single or vector, possibly wrapped).

    The state of wrappers around the env is not part of them.

    Raises:
        NotResetError, EpisodeOverError: no episode is in progress.
    """
    slots = env.unwrapped.slots
    running = [slot for slot in slots if not slot.over]
    if not running:
        slots[0].raise_not_running("fork")
    return [
        ForkState(
            task_index=-1, seed=slot.seed, t=slot.t, task_id=str(slot.info["task_id"]),
            kind=str(slot.info.get("kind", "")), observation=slot.observation, state_key=slot.info["state_key"],
            feature_key=slot.info.get("feature_key"), steps_left=slot.info.get("steps_left"),
            snapshot=slot.snapshot(), task_type=type(slot.task.unwrapped),
        )
        for slot in running
    ]  # fmt: skip
