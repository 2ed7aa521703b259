"""``DecisionTable``: what is known before the action at n decisions, stored ones or those of episodes in progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.store.columns import Coded
from selfreg_gym.store.ragged import Ragged
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.store.source import finished_episodes
from selfreg_gym.types import Act, Episode

__all__ = ["DecisionTable"]

_COLUMNS = ("observation", "admissible_actions", "state_key", "feature_key", "steps_left")


@dataclass(frozen=True, eq=False)
class DecisionTable:
    """What is known at n decisions before the action is chosen. A call of several steps is one decision.

    Attributes:
        observation: the texts.
        admissible_actions: JSON lists of the admissible actions (code -1: any text), or None if no decision has one.
        state_key: the state keys.
        feature_key: the feature keys (code -1: none).
        steps_left: int64 ``(n,)``, -1 where the task does not report them.
        calls_so_far: int64 ``(n, K)``, calls of each intervention in the episode before this decision.
        actor_logprobs: n float32 arrays, the log-probabilities of the admissible actions under the actor, each None
            where they are unknown; or None if they are unknown everywhere.
        feature_vector: float32 ``(n, d)``, the feature vectors of the task, or None.
    """

    observation: Coded
    admissible_actions: Coded | None
    state_key: Coded
    feature_key: Coded
    steps_left: np.ndarray
    calls_so_far: np.ndarray
    actor_logprobs: list[np.ndarray | None] | None = None
    feature_vector: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.steps_left)

    @property
    def interventions(self) -> int:
        """K, the number of interventions."""
        return self.calls_so_far.shape[1]

    @classmethod
    def from_rollouts(cls, rollouts: Any, **where: Any) -> DecisionTable:
        """The decisions of stored episodes, in the order of :meth:`selfreg_gym.Rollouts.columns`: by episode and step.

        Args:
            rollouts: a ``Rollouts`` store, or an iterable of episodes (those with an error are left out).
            **where: filters of the store (:meth:`selfreg_gym.Rollouts.episodes`).

        Raises:
            InvalidArgumentError: there are no decisions.
            UnknownNameError: a filter does not exist.
        """
        if not isinstance(rollouts, Rollouts):
            if where:
                raise InvalidArgumentError(
                    f"filters need a Rollouts store, received episodes and the filters {', '.join(where)}: select the "
                    "episodes first."
                )
            return cls._from_episodes(rollouts)
        names = (*_COLUMNS, "t", "action", "actor_logprobs", "feature_vector")
        columns: dict[str, Any] = rollouts.columns(*names, decisions=True, **where)
        action, first = columns["action"], columns["t"] == 0
        return cls._checked(
            **{name: columns[name] for name in _COLUMNS},
            calls_so_far=_calls_before(action, first, _interventions(rollouts, action)),
            actor_logprobs=_given(columns["actor_logprobs"]),
            feature_vector=_vectors(columns["feature_vector"]),
        )

    @classmethod
    def _from_episodes(cls, episodes: Iterable[Episode]) -> DecisionTable:
        kept = list(finished_episodes(episodes))
        per_episode = [episode.decisions for episode in kept]
        steps = [step for decisions in per_episode for step in decisions]
        action = np.array([step.action for step in steps], np.int64)
        first = np.array([i == 0 for decisions in per_episode for i in range(len(decisions))], bool)
        interventions = max([len(episode.usage) for episode in kept], default=0)
        return cls._checked(
            observation=Coded.of([step.observation for step in steps]),
            admissible_actions=Coded.of([_as_json(step.admissible_actions) for step in steps]),
            state_key=Coded.of([step.state_key for step in steps]),
            feature_key=Coded.of([step.feature_key for step in steps]),
            steps_left=np.array([-1 if step.steps_left is None else step.steps_left for step in steps], np.int64),
            calls_so_far=_calls_before(action, first, interventions),
            actor_logprobs=_given(Ragged.of([step.actor_logprobs for step in steps])),
            feature_vector=_vectors(_matrix([step.feature_vector for step in steps])),
        )

    @classmethod
    def from_slots(cls, slots: Sequence[Any], acts: Sequence[Any] | None = None) -> DecisionTable:
        """The present decisions of episodes in progress.

        Args:
            slots: n objects :class:`selfreg_gym.intervention_env.episode.EpisodeState` (``env.unwrapped.slots``), each
                with an episode that has begun.
            acts: the acts that the actor would take now, None where an episode has ended; None if they are not needed.
        """
        return cls.from_infos([slot.observation for slot in slots], [slot.info for slot in slots], acts)

    @classmethod
    def from_infos(
        cls, texts: Sequence[str], infos: Sequence[Mapping[str, Any]], acts: Sequence[Any] | None = None
    ) -> DecisionTable:
        """The decisions at n observations of an intervention env and their infos; ``acts`` as in :meth:`from_slots`."""
        left = [info.get("steps_left") for info in infos]
        return cls(
            observation=Coded.of(list(texts)),
            admissible_actions=Coded.of([_as_json(info.get("admissible_actions")) for info in infos]),
            state_key=Coded.of([info["state_key"] for info in infos]),
            feature_key=Coded.of([info.get("feature_key") for info in infos]),
            steps_left=np.array([-1 if one is None else one for one in left], np.int64),
            calls_so_far=np.array([info["calls"] for info in infos], np.int64).reshape(len(infos), -1),
            actor_logprobs=None if acts is None else [_logprobs(act) for act in acts],
            feature_vector=_vectors(_matrix([info.get("feature_vector") for info in infos])),
        )

    @classmethod
    def _checked(cls, **columns: Any) -> DecisionTable:
        if not len(columns["steps_left"]):
            raise InvalidArgumentError(
                "inputs need at least one decision of an episode without an error, received none: collect rollouts "
                "first, or use other filters."
            )
        return cls(**columns)

    def take(self, rows: np.ndarray) -> DecisionTable:
        """The table of some decisions, given by their indices or a mask ``(n,)``; the texts are shared."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)

        def part(value: Any) -> Any:
            if isinstance(value, Coded):
                return Coded(value.codes[rows], value.values)
            if isinstance(value, list):
                return [value[i] for i in rows.tolist()]
            return None if value is None else value[rows]

        return DecisionTable(**{one.name: part(getattr(self, one.name)) for one in fields(self)})


def _interventions(rollouts: Any, action: np.ndarray) -> int:
    """K: the number of interventions of a store's env; the largest action if the spec does not list them."""
    env = rollouts.spec.get("env") if isinstance(rollouts.spec, dict) else None
    named = env.get("interventions") if isinstance(env, dict) else None
    return len(named) if isinstance(named, list) and named else int(action.max(initial=0))


def _calls_before(action: np.ndarray, first: np.ndarray, interventions: int) -> np.ndarray:
    """int64 ``(n, K)``: how often each intervention was called in the episode before each decision."""
    hits = action[:, None] == 1 + np.arange(interventions)
    before = np.cumsum(hits, axis=0) - hits
    start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
    return (before - before[start]).astype(np.int64)


def _logprobs(act: Any) -> np.ndarray | None:
    """The log-probabilities of an act as the store keeps them; None if it has none."""
    if not isinstance(act, Act) or act.logprobs is None or act.error is not None:
        return None
    with np.errstate(over="ignore"):
        return np.asarray(act.logprobs, np.float32)


def _given(logprobs: Ragged) -> list[np.ndarray | None] | None:
    """The log-probabilities as a list, or None if no decision has them."""
    return list(logprobs) if logprobs.present.any() else None


def _matrix(vectors: Sequence[Any]) -> np.ndarray:
    """Feature vectors as rows of one array, NaN where there is none.

    Raises:
        InvalidArgumentError: they have different lengths.
    """
    lengths = sorted({len(one) for one in vectors if one is not None})
    if len(lengths) > 1:
        raise InvalidArgumentError(
            f"info['feature_vector'] must have one length at all decisions, received lengths {lengths[0]} to "
            f"{lengths[-1]}: report vectors of one length."
        )
    return Ragged.of(vectors).matrix()


def _vectors(vectors: np.ndarray) -> np.ndarray | None:
    """Feature vectors float32 ``(n, d)``, or None if no decision has one (d = 0).

    Raises:
        InvalidArgumentError: only some decisions have one, or a number is infinite.
    """
    if not vectors.shape[1]:
        return None
    missing = int(np.isnan(vectors).any(axis=1).sum())
    if missing:
        raise InvalidArgumentError(
            "info['feature_vector'] must be reported at every decision or at none, and it is missing at "
            f"{missing} of {len(vectors)}: report it always."
        )
    if infinite := int(np.isinf(vectors).any(axis=1).sum()):
        raise InvalidArgumentError(
            f"info['feature_vector'] must have finite float32 numbers, and {infinite} of {len(vectors)} have an "
            "infinite one: bound them in the task."
        )
    return vectors


def _as_json(actions: Sequence[str] | None) -> str | None:
    return None if actions is None else json.dumps(list(actions))
