"""``evaluate``: every helper on the same episodes, each played exactly once.

The plan (which task, which seed) is made before anything is played and does not depend on the helpers, on batch size
or on the number of processes. Processes split the plan by task, and each lets *all* helpers play its tasks, so that
what an actor remembers of a task serves them all.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.diagnostics import EvaluationWarning
from selfreg_gym.evaluation.measures import EpisodeTable, Measured, measure, parse_key
from selfreg_gym.evaluation.result import Evaluation
from selfreg_gym.rollout import EpisodeSpec, play
from selfreg_gym.types import Episode, HelperPolicy
from selfreg_gym.workers import run_sharded

__all__ = ["evaluate", "make_env", "plan_episodes", "reseeded"]

EVALUATION_STREAM = 0xE7A1
CALIBRATION_STREAM = 0xCA11
"""Entropy beside the user's seed: fresh episodes for either purpose even when both are given the same seed."""


def plan_episodes(
    tasks: Sequence[int], episodes: int, *, seed: int, stream: int = EVALUATION_STREAM
) -> list[EpisodeSpec]:
    """``episodes`` seeds for each task. More episodes per task extend the plan and keep its seeds.

    Raises:
        InvalidArgumentError: no tasks, a task twice, or no episodes.
    """
    tasks = [int(task) for task in tasks]
    if not tasks or episodes < 1:
        raise InvalidArgumentError(
            f"an evaluation needs tasks and at least one episode per task, received {len(tasks)} tasks and "
            f"episodes={episodes!r}."
        )
    if len(set(tasks)) != len(tasks):
        raise InvalidArgumentError("a task is in the list twice; ask for more episodes per task instead.")
    return [
        EpisodeSpec(episode=task, seed=_episode_seed(seed, stream, task, index))
        for task in tasks
        for index in range(episodes)
    ]


def _episode_seed(seed: int, stream: int, task: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, stream, task, index]).generate_state(1)[0] >> 1)


def evaluate(
    env: Any,
    helpers: Mapping[str, HelperPolicy],
    *,
    tasks: Sequence[int],
    episodes: int | Mapping[str, int],
    seed: int = 0,
    split: str = "seen",
    budgets: Mapping[str, float] | None = None,
    expected: Mapping[str, Mapping[str, float]] | None = None,
    traces: int | Sequence[EpisodeSpec] = 0,
    prm: Any = None,
    workers: int = 1,
    num_envs: int = 16,
    deterministic: bool = True,
    retries: int = 2,
    progress: bool | Callable[[int, int], None] = True,
    warn: bool = True,
) -> Evaluation:
    """Let every helper play the same episodes, and measure them.

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0`` (then processes can share the work), or a ready
            ``InterventionVectorEnv`` in DISABLED mode or ``InterventionEnv``.
        helpers: by key. A key is ``NAME``, ``NAME@BUDGET`` (a point of the curve of NAME) or ``NAME@BUDGET#SEED`` (one
            of several training seeds, reported apart and together). Include ``never`` and ``always``: shares of the
            gap need them, and ``random`` at a few probabilities, which helpers are compared with at equal usage.
        tasks: task indices (``reset(options={"episode": i})``).
        episodes: how many per task; or by key, where those with fewer play the first ones.
        seed: of the plan and of helpers that draw. Another seed gives fresh episodes.
        split: what the tasks are: "collected" (fixed tasks, only their episodes are resampled), or "seen", "unseen"
            (new tasks: whole tasks are resampled).
        budgets: C of a key, if the key does not say it.
        expected: promises by key, ``{"usage": E[U], "success": E[SR]}``. By default, on "collected" only, what a helper
            says itself (``expected_usage``, ``expected_success``, or those of its ``policy``).
        traces: keep step records of these episodes, or of that many of each kind, for every helper.
        prm: scores the traces (``score(observations)``), so that they show p(s).
        workers: processes (needs ``env`` as keyword arguments). The result does not depend on how many.
        num_envs: episodes played at a time in each process.
        deterministic: helpers take their most likely action.
        retries: how often an episode that ends in an error is played again.
        progress: show a bar; or a function of (episodes done, episodes in all).
        warn: issue the evaluation's ``warnings`` as :class:`EvaluationWarning`; False when it is a part that will be
            merged with others.

    Returns:
        The :class:`Evaluation`.

    Raises:
        InvalidArgumentError: no helpers, no tasks, or several processes for an env that cannot travel.
    """
    if not helpers:
        raise InvalidArgumentError("evaluate needs at least one helper, for instance {'never': Never()}.")
    named = {key: (budgets or {}).get(key, parse_key(key)[1]) for key in helpers}
    if workers > 1 and not isinstance(env, Mapping):
        raise InvalidArgumentError(
            "several processes each build the env themselves: pass env as keyword arguments of "
            "selfreg/Intervention-v0, for instance {'task': 'selfreg/SIF-v0', 'actor': 'tiny', "
            f"'interventions': ['expert']}}, or workers=1. Received {type(env).__name__}."
        )
    each = dict.fromkeys(helpers, episodes) if isinstance(episodes, int) else {key: episodes[key] for key in helpers}
    plans = {key: plan_episodes(tasks, count, seed=seed) for key, count in each.items()}
    longest = max(plans.values(), key=len)
    traced = _choose_traces(longest, traces)
    played: dict[str, list[Measured]] = {key: [] for key in helpers}
    kept: list[tuple[str, Episode]] = []
    player = _Player(env, helpers, traced, seed=seed, num_envs=num_envs, deterministic=deterministic, retries=retries)
    with _progress(progress, sum(map(len, plans.values())), split) as advance:

        def receive(item: tuple[str, Measured, Episode | None]) -> None:
            key, measured, episode = item
            played[key].append(measured)
            if episode is not None:
                kept.append((key, episode))
            advance()

        run_sharded(player, _shards(plans, longest, num_envs), workers=workers, on_result=receive)
    table = EpisodeTable.from_measured(
        {key: [(spec.episode, spec.seed) for spec in plan] for key, plan in plans.items()},
        played,
        split=split,
        fixed_tasks=split == "collected",
        bootstrap_seed=seed,
    )
    promised = expected if expected is not None else _promises(helpers, split)
    evaluation = Evaluation(
        {split: table},
        budgets={key: budget for key, budget in named.items() if budget is not None},
        expected={split: {key: dict(value) for key, value in promised.items()}},
        traces=_trace_records(kept, split, list(helpers), traces, prm),
        meta={split: {"tasks": len(tasks), "episodes_per_task": max(each.values()), "seed": seed}},
    )
    for text in evaluation.warnings if warn else ():
        warnings.warn(text, EvaluationWarning, stacklevel=2)
    return evaluation


@dataclass(frozen=True)
class _Shard:
    """Some tasks, and the episodes of each helper on them."""

    number: int
    specs: dict[str, list[EpisodeSpec]]


class _Player:
    """Plays shards of the plan with all helpers; builds the env at its first shard and keeps it."""

    def __init__(
        self,
        env: Any,
        helpers: Mapping[str, HelperPolicy],
        traced: set[tuple[int, int]],
        *,
        seed: int,
        num_envs: int,
        deterministic: bool,
        retries: int,
    ) -> None:
        self._source, self._helpers, self._traced = env, dict(helpers), traced
        self._seed, self._num_envs, self._deterministic, self._retries = seed, num_envs, deterministic, retries
        self._env: Any = None

    def __call__(self, shard: _Shard) -> Iterator[tuple[str, Measured, Episode | None]]:
        if self._env is None:
            self._env = make_env(self._source, self._num_envs)
        for number, (key, helper) in enumerate(self._helpers.items()):
            # A helper's own draws (a mixture's coins) depend on the shard it plays, not on what was played before.
            own = reseeded(helper, self._seed, number, shard.number)
            episodes = play(self._env, shard.specs[key], own, deterministic=self._deterministic, retries=self._retries)
            for episode in episodes:
                shown = (episode.episode, episode.seed) in self._traced
                yield key, measure(episode), episode if shown else None


def make_env(env: Any, num_envs: int) -> Any:
    """Build a batch of ``num_envs`` from keyword arguments; a ready env is returned as it is."""
    if not isinstance(env, Mapping):
        return env
    from gymnasium.vector import AutoresetMode

    from selfreg_gym.vector_env import InterventionVectorEnv

    return InterventionVectorEnv(num_envs, **dict(env), autoreset_mode=AutoresetMode.DISABLED)


def reseeded(helper: HelperPolicy, *entropy: int) -> HelperPolicy:
    """A helper whose own draws come from ``entropy``.

    That is ``helper.with_seed(seed)`` where it has one, or a shallow copy with another ``seed`` where it has that
    attribute; any other helper draws nothing and is returned as it is.
    """
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    if hasattr(helper, "with_seed"):
        return helper.with_seed(seed)
    if isinstance(getattr(helper, "seed", None), int):
        helper = copy.copy(helper)
        helper.seed = seed  # type: ignore[attr-defined]
    return helper


def _shards(plans: Mapping[str, Sequence[EpisodeSpec]], longest: Sequence[EpisodeSpec], num_envs: int) -> list[_Shard]:
    """Split the tasks into parts, none so small that the batch runs half empty for long.

    How many there are does not depend on the number of processes, so neither do the helpers' draws.
    """
    size = max(6 * num_envs, -(-len(longest) // 8))
    parts: list[list[EpisodeSpec]] = [[]]
    for spec in longest:
        if len(parts[-1]) >= size and spec.episode != parts[-1][-1].episode:
            parts.append([])
        parts[-1].append(spec)
    shards = []
    for number, part in enumerate(parts):
        tasks = {spec.episode for spec in part}
        specs = {key: [spec for spec in plan if spec.episode in tasks] for key, plan in plans.items()}
        shards.append(_Shard(number, specs))
    return shards


def _choose_traces(plan: Sequence[EpisodeSpec], traces: int | Sequence[EpisodeSpec]) -> set[tuple[int, int]]:
    """Which episodes keep their steps. A number means the first seed of the first tasks; kinds are sorted out later."""
    if not isinstance(traces, int):
        wanted = {(spec.episode, spec.seed) for spec in traces}
        missing = wanted - {(spec.episode, spec.seed) for spec in plan}
        if missing:
            raise InvalidArgumentError(f"traces are episodes of the plan; (task, seed) {min(missing)} is not in it.")
        return wanted
    first: dict[int, int] = {}
    for spec in plan:
        first.setdefault(spec.episode, spec.seed)
    return set(list(first.items())[: 12 * traces])


def _trace_records(
    kept: Sequence[tuple[str, Episode]], split: str, keys: Sequence[str], traces: int | Sequence[EpisodeSpec], prm: Any
) -> list[dict[str, Any]]:
    """Plain records of the traced episodes; with a number of ``traces``, that many episodes of each kind."""
    episodes: dict[tuple[int, int], str] = {}
    for _, episode in sorted(kept, key=lambda item: (item[1].episode, item[1].seed)):
        episodes.setdefault((episode.episode, episode.seed), episode.kind)
    if isinstance(traces, int):
        seen: dict[str, int] = {}
        for pair, kind in list(episodes.items()):
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] > traces:
                del episodes[pair]
    chosen = [(key, episode) for key, episode in kept if (episode.episode, episode.seed) in episodes]
    chosen.sort(key=lambda item: (item[1].kind, item[1].episode, item[1].seed, keys.index(item[0])))
    texts = sorted({step.observation for _, episode in chosen for step in episode.steps})
    scores = dict(zip(texts, prm.score(texts), strict=True)) if prm is not None and texts else {}
    return [
        {
            "split": split,
            "key": key,
            "task": episode.episode,
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


def _promises(helpers: Mapping[str, HelperPolicy], split: str) -> dict[str, dict[str, float]]:
    """What the helpers themselves say that they will use and reach.

    A solver's promise is about the tasks that its data came from; what a calibration measured goes everywhere.
    """
    promised: dict[str, dict[str, float]] = {}
    for key, helper in helpers.items():
        said: dict[str, float] = {}
        for source in (helper, getattr(helper, "policy", None)) if split == "collected" else ():
            for name in ("usage", "success"):
                value = getattr(source, f"expected_{name}", None)
                if value is not None:
                    said.setdefault(name, float(value))
        calibration = getattr(helper, "calibration", None)
        if calibration:
            said["calibrated_usage"] = float(calibration["usage"])
        if said:
            promised[key] = said
    return promised


class _progress:
    """A bar, a function, or nothing, told of each finished episode."""

    def __init__(self, progress: bool | Callable[[int, int], None], total: int, split: str) -> None:
        self._report = progress if callable(progress) else None
        self._total, self._done, self._bar = total, 0, None
        if progress is True:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(f"evaluate {split}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                transient=True,
            )
            self._id = self._bar.add_task(split, total=total)

    def __enter__(self) -> Callable[[], None]:
        if self._bar is not None:
            self._bar.start()
        return self._advance

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _advance(self) -> None:
        self._done += 1
        if self._report is not None:
            self._report(self._done, self._total)
        if self._bar is not None:
            self._bar.update(self._id, completed=self._done)
