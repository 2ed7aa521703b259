"""Which episodes are kept step by step, to be looked at, and how they are written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode

__all__ = ["choose_traces", "trace_records"]


def choose_traces(plan: Sequence[EpisodeSpec], traces: int | Sequence[EpisodeSpec]) -> set[tuple[int, int]]:
    """Which episodes keep their steps. A number means the first seed of the first tasks; kinds are sorted out later."""
    if not isinstance(traces, int):
        wanted = {(spec.task_index, spec.seed) for spec in traces}
        missing = wanted - {(spec.task_index, spec.seed) for spec in plan}
        if missing:
            raise InvalidArgumentError(f"traces are episodes of the plan; (task, seed) {min(missing)} is not in it.")
        return wanted
    first: dict[int, int] = {}
    for spec in plan:
        first.setdefault(spec.task_index, spec.seed)
    return set(list(first.items())[: 12 * traces])


def trace_records(
    kept: Sequence[tuple[str, Episode]], split: str, keys: Sequence[str], traces: int | Sequence[EpisodeSpec], prm: Any
) -> list[dict[str, Any]]:
    """Plain records of the traced episodes; with a number of ``traces``, that many episodes of each kind."""
    episodes: dict[tuple[int, int], str] = {}
    for _, episode in sorted(kept, key=lambda item: (item[1].task_index, item[1].seed)):
        episodes.setdefault((episode.task_index, episode.seed), episode.kind)
    if isinstance(traces, int):
        seen: dict[str, int] = {}
        for pair, kind in list(episodes.items()):
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] > traces:
                del episodes[pair]
    chosen = [(key, episode) for key, episode in kept if (episode.task_index, episode.seed) in episodes]
    chosen.sort(key=lambda item: (item[1].kind, item[1].task_index, item[1].seed, keys.index(item[0])))
    texts = sorted({step.observation for _, episode in chosen for step in episode.steps})
    scores = dict(zip(texts, prm.score(texts), strict=True)) if prm is not None and texts else {}
    return [
        {
            "split": split,
            "key": key,
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
                    "p": round(float(scores[step.observation]), 4) if step.observation in scores else None,
                }
                for step in episode.steps
            ],
        }
        for key, episode in chosen
    ]
