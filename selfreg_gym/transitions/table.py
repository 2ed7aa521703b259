"""Episodes as integer columns, one row per decision, for counting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.store.source import checked_source, finished_episodes
from selfreg_gym.transitions.state_index import timed_key
from selfreg_gym.types import Episode
from selfreg_gym.utils.arguments import check_name

__all__ = ["TransitionTable", "tabulate", "with_time"]

KEYS = ("state", "feature", "observation")
COLUMNS = ("state", "feature", "steps_left", "action", "cost", "last", "truncated", "success", "episode", "calling")
DTYPES = (np.int32, np.int32, np.int32, np.int8, np.float64, bool, bool, bool, np.int32, np.int8)


@dataclass(frozen=True, eq=False)
class TransitionTable:
    """Steps of finished episodes, T of them, in order.

    A step is a decision, or it continues a call of several steps. The keys of the latter contain the intervention, and
    the step of the call if all calls have the same length; so they are states of their own, with one action.

    Attributes:
        state, feature: ``(T,)`` int32 indices into ``state_keys`` and ``feature_keys`` (-1: no feature key).
        steps_left: ``(T,)`` int32 decisions left, -1 where the task does not report them.
        action: ``(T,)`` int8; 0 where a call goes on, and ``actions`` where the episode was aborted.
        cost: ``(T,)`` float64 cost units of the step.
        last: ``(T,)`` bool, whether it is the last decision of an episode.
        truncated, success: ``(T,)`` bool, whether it is the last decision of a truncated, or successful, episode.
        episode: ``(T,)`` int32 index of the episode, 0 to ``episodes`` - 1.
        calling: ``(T,)`` int8, k where the step continues a call of the k-th intervention, else 0.
        task: ``(episodes,)`` int32 index of the task of each episode.
        state_keys, feature_keys: the texts of the indices.
        key: the text that identifies a state, one of ``KEYS``.
        actions: number of actions A = 1 + K.
        plain: ``(T,)`` int32 feature (else state) without the time, if :func:`with_time` added it to the keys; one of
            ``plain_count``.
        time_edges: the edges of the buckets of steps left in the keys; None without.
    """

    state: np.ndarray
    feature: np.ndarray
    steps_left: np.ndarray
    action: np.ndarray
    cost: np.ndarray
    last: np.ndarray
    truncated: np.ndarray
    success: np.ndarray
    episode: np.ndarray
    calling: np.ndarray
    task: np.ndarray
    state_keys: tuple[str, ...]
    feature_keys: tuple[str, ...]
    key: str
    actions: int
    plain: np.ndarray | None = None
    plain_count: int = 0
    time_edges: tuple[int, ...] | None = None

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.task)

    @property
    def first(self) -> np.ndarray:
        """``(T,)`` bool, the first decision of an episode."""
        return np.r_[True, self.last[:-1]] if len(self.last) else self.last

    def take(self, episodes: np.ndarray) -> TransitionTable:
        """Return the table of the given episodes in this order; an episode may be repeated (bootstrap)."""
        starts = np.flatnonzero(self.first)
        lengths = np.diff(np.r_[starts, len(self.last)])
        lengths_taken = lengths[episodes]
        begin = np.repeat(starts[episodes] - np.r_[0, np.cumsum(lengths_taken)[:-1]], lengths_taken)
        rows = begin + np.arange(int(lengths_taken.sum()))
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        columns["episode"] = np.repeat(np.arange(len(episodes), dtype=np.int32), lengths_taken)
        columns["plain"] = None if self.plain is None else self.plain[rows]
        return replace(self, **columns, task=self.task[episodes])


def with_time(table: TransitionTable, buckets: int) -> TransitionTable:
    """The table whose keys include a bucket of steps left.

    Args:
        table: the table.
        buckets: their largest number; they have about equally many decisions.

    Raises:
        InvalidArgumentError: fewer than 2 buckets, or decisions without ``steps_left``.
    """
    if buckets < 2:
        raise InvalidArgumentError(f"time_buckets must be at least 2, or None for none, received {buckets!r}.")
    if (table.steps_left < 0).any():
        raise InvalidArgumentError(
            "time_buckets needs steps left, and the task does not report them: pass horizon=T, the time limit."
        )
    quantiles = np.quantile(table.steps_left, np.arange(1, buckets) / buckets, method="lower")
    edges = tuple(np.unique(quantiles[quantiles < table.steps_left.max()]).astype(int).tolist())
    bucket = np.searchsorted(edges, table.steps_left, side="left")
    state, state_keys = _crossed(table.state, bucket, table.state_keys)
    feature, feature_keys = _crossed(table.feature, bucket, table.feature_keys)
    of_features = bool((table.feature >= 0).all())
    return replace(
        table, state=state, state_keys=state_keys, feature=feature, feature_keys=feature_keys, time_edges=edges,
        plain=table.feature if of_features else table.state,
        plain_count=len(table.feature_keys if of_features else table.state_keys),
    )  # fmt: skip


def _crossed(codes: np.ndarray, bucket: np.ndarray, keys: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes and keys of the pairs (key, bucket) that occur; -1 stays -1."""
    count = int(bucket.max()) + 1
    pairs, which = np.unique(np.where(codes >= 0, codes.astype(np.int64) * count + bucket, -1), return_inverse=True)
    missing = int(len(pairs) > 0 and pairs[0] < 0)
    names = tuple(timed_key(keys[pair // count], int(pair % count)) for pair in pairs[missing:])
    return (which.reshape(-1) - missing).astype(np.int32), names


def tabulate(
    episodes: Any, *, key: str = "state", horizon: int | bool | None = True, time_buckets: int | None = None
) -> TransitionTable:
    """Read episodes into a table.

    Args:
        episodes: a ``Rollouts`` store, or an iterable of :class:`selfreg_gym.types.Episode`; episodes with an error or
            without steps are excluded.
        key: the text that identifies a state: ``"state"`` (``state_key``), ``"observation"``, or ``"feature"``
            (``feature_key``).
        horizon: an int sets steps left = horizon - t for tasks that do not report them.
        time_buckets: see :func:`with_time`; None: the keys without time. A table is returned as it is.

    Raises:
        UnknownNameError: an unknown key.
        InvalidArgumentError: no usable episode, or ``key="feature"`` without feature keys.
        ModelError: steps left increase within an episode.
    """
    check_name("state key", key, KEYS)
    if isinstance(episodes, TransitionTable):
        return episodes
    source = checked_source(episodes)
    fixed = _fixed_lengths(source)
    states: dict[str, int] = {}
    features: dict[str, int] = {}
    tasks: dict[Any, int] = {}
    columns: list[tuple[Any, ...]] = []
    task: list[int] = []
    interventions = 1
    clock = int(horizon) if horizon is not None and horizon is not True and horizon is not False else None
    for episode in finished_episodes(source):
        number = len(task)
        interventions = max(interventions, len(episode.usage))
        task.append(tasks.setdefault((episode.task_id, episode.task_index), len(tasks)))
        end = len(episode.steps) - 1
        before = None
        of_call = 0
        for i, step in enumerate(episode.steps):
            name = step.state_key if key == "state" else step.observation if key == "observation" else step.feature_key
            if name is None:
                raise InvalidArgumentError(
                    f"key='feature' needs feature keys, and task {episode.task_id!r} reports none: use key='state'."
                )
            of_call = of_call + 1 if step.continuation else 0
            going_on = _going_on(step.action, of_call, step.action in fixed) if of_call else ""
            left = step.steps_left
            if left is None and clock is not None:
                left = max(clock - step.t, 0)
            if left is not None and before is not None and left > before:
                raise ModelError(
                    f"steps_left must not increase: in episode {episode.task_index} (seed {episode.seed}) it goes from "
                    f"{before} to {left} at step {step.t}."
                )
            before = left
            feature = -1
            if step.feature_key is not None and key != "feature":
                feature = features.setdefault(step.feature_key + going_on, len(features))
            aborts = step.action > len(episode.usage)
            columns.append(
                (
                    states.setdefault(name + going_on, len(states)), feature, -1 if left is None else left,
                    -1 if aborts else 0 if of_call else step.action, step.cost, i == end,
                    i == end and step.truncated and not step.terminated, i == end and episode.success, number,
                    step.action if of_call else 0,
                )
            )  # fmt: skip
    if not columns:
        raise InvalidArgumentError("a model is fitted to finished episodes without errors: received none.")
    filled = zip(COLUMNS, DTYPES, zip(*columns, strict=True), strict=True)
    arrays: dict[str, Any] = {name: np.array(values, dtype) for name, dtype, values in filled}
    actions = max(interventions + 1, int(arrays["action"].max()) + 1, int(arrays["calling"].max()) + 1, 2)
    arrays["action"][arrays["action"] < 0] = actions
    table = TransitionTable(
        **arrays,
        task=np.array(task, np.int32),
        state_keys=tuple(states),
        feature_keys=tuple(features),
        key=key,
        actions=actions,
    )
    return table if time_buckets is None else with_time(table, int(time_buckets))


def _fixed_lengths(source: Rollouts | list[Episode]) -> set[int]:
    """The interventions whose calls all have the same number of steps, at least 2, unless the episode ends them."""
    if isinstance(source, Rollouts):
        columns: dict[str, Any] = source.columns("action", "continuation", "t")
        action, continues, t = (np.asarray(columns[name]) for name in ("action", "continuation", "t"))
    else:
        steps = [step for episode in source for step in episode.steps]
        action, continues, t = (
            np.array([getattr(step, name) for step in steps]) for name in ("action", "continuation", "t")
        )
    if not continues.any():
        return set()
    begins = np.flatnonzero(~continues)
    length = np.diff(np.r_[begins, len(action)])
    ended_by_itself = np.r_[t[begins[1:]] > 0, False]
    fixed = set()
    for k in np.unique(action[continues]).tolist():
        mine = action[begins] == k
        longest = int(length[mine].max())
        if mine[ended_by_itself].any() and (length[mine & ended_by_itself] == longest).all():
            fixed.add(k)
    return fixed


def _going_on(intervention: int, step: int, fixed: bool) -> str:
    """What the key of a state in which a call goes on ends with."""
    return f" [help {intervention}, step {step + 1}]" if fixed else f" [help {intervention} goes on]"
