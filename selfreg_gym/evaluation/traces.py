"""The selection of episodes that are kept step by step, and their records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.measures import EpisodeId, episode_id
from selfreg_gym.evaluation.records import Trace
from selfreg_gym.helper import HelperKey
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode

__all__ = ["choose_traces", "trace_records"]

CANDIDATES = 12
"""Tasks whose steps are kept for each trace of a kind, because kinds are known only after an episode."""


def choose_traces(plan: Sequence[EpisodeSpec], traces: int | Sequence[EpisodeSpec]) -> set[EpisodeId]:
    """The episodes whose steps are kept: those of ``traces``, or the first episode of each of the first tasks.

    Raises:
        InvalidArgumentError: an episode is not in the plan.
    """
    if not isinstance(traces, int):
        wanted = set(map(episode_id, traces))
        if missing := wanted - set(map(episode_id, plan)):
            raise InvalidArgumentError(f"traces must be in the plan; the episode (task, seed) {min(missing)} is not.")
        return wanted
    first: dict[int, int] = {}
    for spec in plan:
        first.setdefault(spec.task_index, spec.seed)
    return set(list(first.items())[: CANDIDATES * traces])


def trace_records(
    kept: Sequence[tuple[HelperKey, Episode]],
    split: str,
    keys: Sequence[HelperKey],
    traces: int | Sequence[EpisodeSpec],
    prm: Any,
) -> list[Trace]:
    """The records of the kept episodes by kind, task, seed and helper; a number of ``traces`` is one per kind.

    Args:
        kept: helper key and episode.
        split: the name of the split.
        keys: the order of the helpers.
        traces: as in :func:`choose_traces`.
        prm: scores the observations (``score(observations)``), or None.
    """
    kinds = {episode_id(episode): episode.kind for _, episode in reversed(kept)}
    chosen = sorted(kinds)
    if isinstance(traces, int):
        by_kind: dict[str, list[EpisodeId]] = {}
        for one in chosen:
            by_kind.setdefault(kinds[one], []).append(one)
        chosen = [one for several in by_kind.values() for one in several[:traces]]
    shown = [(key, episode) for key, episode in kept if episode_id(episode) in chosen]
    shown.sort(key=lambda item: (item[1].kind, *episode_id(item[1]), keys.index(item[0])))
    texts = sorted({step.observation for _, episode in shown for step in episode.steps})
    scores = dict(zip(texts, prm.score(texts), strict=True)) if prm is not None and texts else {}
    return [
        {
            "split": split,
            "key": str(key),
            "task": episode.task_index,
            "task_id": episode.task_id,
            "seed": episode.seed,
            "kind": episode.kind,
            "success": bool(episode.success),
            "usage": episode.cost,
            "steps": [
                {
                    "t": step.t,
                    "action": int(step.action),
                    "text": step.action_text,
                    "invalid": bool(step.invalid),
                    **({"aborted": True} if step.action > len(episode.usage) else {}),
                    "p": round(float(scores[step.observation]), 4) if step.observation in scores else None,
                }
                for step in episode.steps
            ],
        }
        for key, episode in shown
    ]
