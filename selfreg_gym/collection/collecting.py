"""Collecting rollouts with random help: a fixed list of episodes, all of it played, whatever interrupts.

Two things that went wrong elsewhere shape this module. Taking the episodes that *end first* favours short successes,
so the list is written down before the first episode and is only whole when all of it is played. And a table of states
needs recurrence, so it is a fixed set of tasks with many rollouts each.

What is played depends on the settings alone: the seed of an episode comes from (seed, task, rollout), the actor's and
the coin's randomness from the episode's seed. Workers and batch size change the time, never an episode.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.building import build_actor, build_interventions, material
from selfreg_gym.collection.display import CollectionDisplay
from selfreg_gym.dataset import Planned, Rollouts
from selfreg_gym.env import InterventionEnv
from selfreg_gym.errors import InvalidArgumentError, StoreError, TaskContractError, UnknownNameError
from selfreg_gym.rollout import EpisodeSpec, play
from selfreg_gym.types import Episode
from selfreg_gym.vector_env import InterventionVectorEnv
from selfreg_gym.workers import check_workers, run_sharded

__all__ = ["HELP_PROBABILITIES", "collect", "plan_episodes"]

HELP_PROBABILITIES = tuple(i / 10 for i in range(11))
"""0, 0.1, ..., 1: every state is seen with and without help before it and after it."""

_TOO_MANY_ERRORS = 32  # episodes in a row; then the actor is down, and playing on would only fill the failures
_SHARDS_PER_WORKER = 4  # enough that nobody idles long at the end, few enough that batches stay full
_KEYS = ("actor", "actor_kwargs", "help_cost", "intervention_kwargs", "interventions", "task", "task_kwargs")


def collect(
    env: Mapping[str, Any] | Any,
    *,
    store: str | os.PathLike[str] | Rollouts,
    tasks: Sequence[int],
    episodes: int,
    help_probabilities: Sequence[float] = HELP_PROBABILITIES,
    seed: int = 0,
    workers: int = 1,
    num_envs: int = 16,
    retries: int = 2,
    progress: bool | Callable[[Episode], None] = True,
) -> Rollouts:
    """Play ``episodes`` rollouts of each task with random help, and store every one of them.

    At each step help is triggered with the episode's probability, uniformly over the interventions. Interrupted (by
    Ctrl-C, by ``kill -9``), the same call plays what is missing; when nothing is missing it does nothing. An episode
    in which an actor failed is no data: it is kept apart (:meth:`Rollouts.failures`) and played again by the next call.

    With several workers the children play and the parent writes: one writer needs no lock, and an episode that has
    arrived is stored. Shards are whole tasks as far as they go round, so that an actor that remembers what it answered
    meets the same states again.

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0`` (``task, actor, interventions`` and optionally
            ``help_cost, task_kwargs, actor_kwargs, intervention_kwargs``), or a live ``InterventionEnv``, or an
            ``InterventionVectorEnv`` with ``autoreset_mode="Disabled"``. With several workers: keyword arguments that
            are ids, plain values or objects that can be pickled.
        store: the file to make or to continue, or an open store.
        tasks: which tasks, ``reset(options={"episode": task})``; no two the same.
        episodes: rollouts of each task, in all. The help probabilities take turns through the whole list, so a multiple
            of their number gives each task each of them equally often.
        help_probabilities: the probabilities of help at a step, each in [0, 1], no two the same.
        seed: every seed of the collection is derived from (seed, task, rollout).
        workers: how many processes.
        num_envs: episodes at once in each process (a live env has its own number).
        retries: how often an episode with an error is tried again at once.
        progress: draw a live display; or a function that is called with each episode.

    Returns:
        The open store; ``is_complete`` unless episodes ended in errors.

    Raises:
        InvalidArgumentError: bad arguments, or a live env with several workers.
        UnknownNameError: an unknown key of ``env``, or an unknown task, actor or intervention.
        StoreError: the store was made with other settings (the message names the difference).
        TaskContractError: 32 episodes in a row ended in an error.
    """
    tasks, probabilities = [int(task) for task in tasks], [float(p) for p in help_probabilities]
    player = _Player(env, num_envs=num_envs, retries=retries)
    check_workers(workers)
    if workers > 1 and player.is_live:
        raise InvalidArgumentError(
            f"a live env stays in its process: pass env as keyword arguments (task=, actor=, interventions=) to use "
            f"workers={workers}, or use workers=1."
        )
    plan = plan_episodes(tasks, episodes, probabilities, seed=seed)
    spec = {
        "env": player.description,
        "tasks": tasks,
        "episodes": int(episodes),
        "help_probabilities": probabilities,
        "seed": int(seed),
    }
    if isinstance(store, Rollouts):
        store.require_spec(spec)
        _fill(store, plan, player, workers=workers, progress=progress)
        return store
    path = Path(store)
    rollouts = Rollouts.open(path, spec=spec) if path.exists() else Rollouts.create(path, spec=spec)
    try:
        _fill(rollouts, plan, player, workers=workers, progress=progress)
    except BaseException:
        empty = rollouts.is_untouched()
        rollouts.close()
        if empty:  # nothing came of it, a misspelt id for instance: the path is free for other settings
            path.unlink()
        raise
    return rollouts


def _fill(
    rollouts: Rollouts,
    plan: list[Planned],
    player: _Player,
    *,
    workers: int,
    progress: bool | Callable[[Episode], None],
) -> None:
    """Play what is missing of the plan."""
    stored = [p for p in rollouts.plan if p.run == 0]
    if not stored:
        rollouts.fix_plan(plan)
    elif stored != plan:
        raise StoreError(f"{rollouts.path} holds other episodes than this collection's: use a path of its own.")
    missing = [p for p in rollouts.missing() if p.run == 0]
    if not missing:
        return
    errors_in_a_row = 0
    with CollectionDisplay(rollouts, total=len(plan), shown=progress is True) as display:

        def keep(episode: Episode) -> None:
            nonlocal errors_in_a_row
            rollouts.add(episode)
            display.update(episode)
            if callable(progress):
                progress(episode)
            errors_in_a_row = errors_in_a_row + 1 if episode.error is not None else 0
            if errors_in_a_row >= _TOO_MANY_ERRORS:
                raise TaskContractError(
                    f"{errors_in_a_row} episodes in a row ended in an error, the last with: {episode.error}. What was "
                    "played before is stored; repair the actor and run the same collection again."
                )

        run_sharded(player, _shards(missing, workers), workers=workers, on_result=keep)
    rollouts.checkpoint()


def plan_episodes(
    tasks: Sequence[int], episodes: int, help_probabilities: Sequence[float] = HELP_PROBABILITIES, *, seed: int = 0
) -> list[Planned]:
    """The list of episodes: each task ``episodes`` times, help probabilities taking turns, seeds of 32 bits.

    Raises:
        InvalidArgumentError: no tasks or the same twice, ``episodes < 1``, bad or repeated probabilities, a bad seed.
    """
    if not tasks or len(set(tasks)) < len(tasks) or min(tasks) < 0:
        raise InvalidArgumentError(f"tasks are different indices of at least 0, received {_short(tasks)}.")
    if not help_probabilities or len(set(help_probabilities)) < len(help_probabilities):
        raise InvalidArgumentError(f"help_probabilities are different numbers, received {_short(help_probabilities)}.")
    if not all(0 <= p <= 1 for p in help_probabilities):
        raise InvalidArgumentError(f"help_probabilities lie in [0, 1], received {_short(help_probabilities)}.")
    if isinstance(episodes, bool) or not isinstance(episodes, int | np.integer) or episodes < 1:
        raise InvalidArgumentError(f"episodes (rollouts per task) is an integer of at least 1, received {episodes!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidArgumentError(f"seed is an integer of at least 0, received {seed!r}.")
    plan: list[Planned] = []
    for task in tasks:
        used: set[int] = set()
        for rollout in range(episodes):
            words = np.random.SeedSequence((int(seed), task, rollout)).generate_state(8, np.uint32)
            own = next(int(word) for word in words if int(word) not in used)  # no two rollouts of a task alike
            used.add(own)
            p = help_probabilities[len(plan) % len(help_probabilities)]
            plan.append(Planned(0, len(plan), task, own, p))
    return plan


class _Player:
    """Plays shards (lists of planned episodes). Sent to each worker once; it builds its env at the first shard."""

    def __init__(self, env: Any, *, num_envs: int, retries: int) -> None:
        self.is_live = not isinstance(env, Mapping)
        self.num_envs, self.retries = num_envs, retries
        self.kwargs: dict[str, Any] = {}
        self.env = None
        if self.is_live:
            self.env = env
            self.description = _describe_live(env)
            return
        for key in env:
            if key not in _KEYS:
                raise UnknownNameError("keyword argument of selfreg/Intervention-v0", key, _KEYS)
        lacking = [key for key in ("task", "actor", "interventions") if key not in env]
        if lacking:
            raise InvalidArgumentError(f"env needs task, actor and interventions; {', '.join(lacking)} is missing.")
        self.kwargs = dict(env)
        # Built once here, so that arguments that do not exist are refused before they are written anywhere.
        if env.get("actor_kwargs"):
            build_actor(env["actor"], env["actor_kwargs"])
        if env.get("intervention_kwargs"):
            build_interventions(env["interventions"], env["intervention_kwargs"])
        self.description = {
            "task": _name(env["task"]),
            "task_kwargs": dict(env.get("task_kwargs") or {}),
            "actor": _name(env["actor"]),
            "interventions": [_name(one) for one in env["interventions"]],
            "help_cost": float(env.get("help_cost", 0.0)),
        }
        if env.get("actor_kwargs"):
            self.description["actor_kwargs"] = material("actors", env["actor"], dict(env["actor_kwargs"]))
        if env.get("intervention_kwargs"):
            self.description["intervention_kwargs"] = {
                name: material("interventions", name, dict(kwargs))
                for name, kwargs in env["intervention_kwargs"].items()
            }

    def __call__(self, shard: Sequence[Planned]) -> Iterator[Episode]:
        if self.env is None:
            self.env = InterventionVectorEnv(self.num_envs, **self.kwargs, autoreset_mode="Disabled")
        yield from play(
            self.env,
            [EpisodeSpec(p.task, p.seed, p.help_probability) for p in shard],
            retries=self.retries,
        )


def _shards(missing: Sequence[Planned], workers: int) -> list[list[Planned]]:
    """Cut the list into parts of about the same size, at the border between two tasks where that is near."""
    if workers == 1:
        return [list(missing)]
    size = max(1, -(-len(missing) // (_SHARDS_PER_WORKER * workers)))
    shards: list[list[Planned]] = [[]]
    for _, group in groupby(missing, key=lambda p: p.task):
        rollouts = list(group)
        parts = max(1, round(len(rollouts) / size))
        for i in range(parts):
            if len(shards[-1]) >= size:
                shards.append([])
            shards[-1] += rollouts[i * len(rollouts) // parts : (i + 1) * len(rollouts) // parts]
    return shards


def _describe_live(env: Any) -> dict[str, Any]:
    """What a live env is made of, in names."""
    base = getattr(env, "unwrapped", env)
    if not isinstance(base, InterventionEnv | InterventionVectorEnv):
        raise InvalidArgumentError(
            "env is a dict of keyword arguments (task, actor, interventions), an InterventionEnv or an "
            f"InterventionVectorEnv; received {type(env).__name__}."
        )
    task = base.rows[0].task
    task_spec = getattr(task, "spec", None)
    return {
        "task": task_spec.id if task_spec is not None else _name(task.unwrapped),
        "task_kwargs": {k: v for k, v in (task_spec.kwargs if task_spec is not None else {}).items() if _is_plain(v)},
        "actor": _name(base.actor),
        "interventions": [one.name for one in base.interventions],
        "help_cost": float(base.help_cost),
    }


def _name(value: Any) -> str:
    """An id, the name of an intervention, or the import path of a class or function."""
    if isinstance(value, str):
        return value
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    named = value if hasattr(value, "__qualname__") else type(value)  # a class or a function, else an object's class
    return f"{named.__module__}.{named.__qualname__}"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _short(values: Sequence[Any]) -> str:
    text = str(list(values))
    return text if len(text) <= 80 else f"{text[:60]}... ({len(values)} values)"
