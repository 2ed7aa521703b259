"""``collect``: play a fixed plan of episodes with random help, and store every episode.

The plan is stored before the first episode, and a collection is complete only when all of it is played: taking the
episodes that *end first* would favour short successes. It is a fixed set of tasks with many episodes each, because a
table of states needs states that recur.

The settings alone determine every episode: its seed is a function of (seed, task, episode of the task), and the actor
and the random help draw from streams of the episode's seed. Workers and batch size change only the duration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from selfreg_gym.collection.display import CollectionDisplay
from selfreg_gym.collection.identity import identity_of, wrappers_of
from selfreg_gym.collection.planning import HELP_PROBABILITIES, PLAN, collection_plan
from selfreg_gym.collection.versions import check_versions
from selfreg_gym.errors import InvalidArgumentError, StoreError, TaskContractError, shown
from selfreg_gym.intervention_env import building
from selfreg_gym.intervention_env.arguments import check_env_kwargs
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.interventions import build_interventions, material_kwargs, name_and_id
from selfreg_gym.intervention_env.task_members import episodes_of, task_function
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.executor import run_sharded
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.playing.random_help import checked_abort, checked_shares
from selfreg_gym.store import schema
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Episode, optional_member
from selfreg_gym.utils.arguments import check_count, check_flag, check_numbers, check_tasks

__all__ = ["HELP_PROBABILITIES", "collect", "collection_plan"]

_MAX_ERRORS = 32  # failed episodes in a row after which the collection stops: the actor does not work
_SHARDS_PER_WORKER = 4  # small enough shards to balance the workers, large enough to fill their batches


def collect(
    env: Mapping[str, Any] | Any,
    *,
    store: str | os.PathLike[str] | Rollouts,
    tasks: Sequence[int],
    episodes: int,
    help_probabilities: Sequence[float] = HELP_PROBABILITIES,
    help_shares: Sequence[float] | None = None,
    abort_probability: float = 0.0,
    seed: int = 0,
    workers: int = 1,
    num_envs: int = 16,
    retries: int = 2,
    ask_actor_always: bool = False,
    progress: bool | Callable[[Episode], None] = True,
) -> Rollouts:
    """Play a number of episodes of each task with random help, and store every episode.

    At each step help is given with the episode's probability, by one of the interventions; the probability of
    each action is stored with the step (``Transition.propensities``). After an interruption (Ctrl-C, ``kill -9``), the
    same call plays the missing episodes; if none is missing, it does nothing. An episode in which an actor failed is
    excluded from all statistics: it is kept in :meth:`Rollouts.failures` and played again by the next call.

    With several workers, the workers play and this process writes, so there is one writer and every delivered episode
    is stored. Where possible, a shard holds all episodes of its tasks, so that an actor with a cache visits the same
    states again.

    A store can be continued only with the same settings. Actor objects are compared by their attributes
    (:mod:`selfreg_gym.collection.attributes`); functions, and objects that are used as functions, also by their code
    (:mod:`selfreg_gym.collection.identity`) if both runs use the same version of Python. The packages that a task wraps
    must have the versions that the collection began with (:mod:`selfreg_gym.collection.versions`).

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0`` (``task, actor, interventions`` and optionally
            ``help_cost, max_episode_steps, abort, task_kwargs, actor_kwargs, intervention_kwargs``), or an
            ``InterventionEnv``, or an ``InterventionVectorEnv`` with ``autoreset_mode="Disabled"``. With several
            workers: keyword arguments that are ids, plain values or objects that can be pickled.
        store: the file to create or to continue, or an open store.
        tasks: different task indices; ``range(50)`` for the first 50.
        episodes: episodes of each task. A multiple of the number of help probabilities gives each task every
            probability equally often; otherwise see :func:`selfreg_gym.collection.planning.collection_plan`.
        help_probabilities: different probabilities of help at a step, each in [0, 1].
        help_shares: ``(K,)`` the share of each intervention in the help, in [0, 1] with the sum 1; None: equal shares.
        abort_probability: the probability of abort at a step, below 1, for an env with ``abort=True``. An aborted
            episode does not show what would have followed.
        seed: seed of the collection.
        workers: number of processes.
        num_envs: episodes at once in each process (a live env has its own number).
        retries: repetitions of an episode with an error within this call.
        ask_actor_always: ask the actor at the steps with help too, and store its log-probabilities at every step
            (``Transition.actor_logprobs``); the episodes are otherwise the same. Without it, none are stored.
        progress: True shows a live display; a function is called with each episode instead.

    Returns:
        The open store; ``is_complete`` unless episodes ended in errors.

    Raises:
        InvalidArgumentError: invalid arguments, or a live env with several workers.
        UnknownNameError: an unknown key of ``env``, or an unknown task, actor or intervention.
        StoreError: the store was made with other settings, or is continued with another version of the task's package
            (the message has the differences).
        TaskContractError: 32 episodes in a row ended in an error.
    """
    tasks, probabilities = check_tasks(tasks), check_numbers("help_probabilities", help_probabilities)
    episodes, seed = check_count("episodes (per task)", episodes), check_count("seed", seed, low=0)
    if not isinstance(progress, bool) and not callable(progress):
        raise InvalidArgumentError(
            f"progress must be True, False or a function of an Episode, received {shown(progress)}."
        )
    ask_actor_always = check_flag("ask_actor_always", ask_actor_always)
    if not isinstance(store, Rollouts):
        store = schema.check_path(store)
    player = _Player(
        env, num_envs=num_envs, retries=retries, ask_actor_always=ask_actor_always, help_shares=help_shares,
        abort_probability=abort_probability,
    )  # fmt: skip
    workers = check_count("workers", workers)
    if workers > 1 and player.is_live:
        raise InvalidArgumentError(
            f"a live env cannot be sent to other processes: pass env as keyword arguments (task=, actor=, "
            f"interventions=) to use workers={workers}, or use workers=1."
        )

    def spec_for(version: int) -> dict[str, Any]:
        return {
            "env": player.description,
            "tasks": tasks,
            "episodes": episodes,
            "help_probabilities": probabilities,
            "seed": seed,
            # Settings of later versions are entries only where they differ from what earlier versions did.
            **({"plan": version} if version > 1 else {}),
            **({"ask_actor_always": True} if ask_actor_always else {}),
            **({"help_shares": list(player.help_shares)} if player.help_shares else {}),
            **({"abort_probability": player.abort_probability} if player.abort_probability else {}),
        }

    def plan_for(rollouts: Rollouts) -> list[EpisodeSpec]:
        version = int(rollouts.spec.get("plan", 1))
        rollouts.require_spec(spec_for(version))
        return collection_plan(tasks, episodes, probabilities, seed=seed, version=version)

    if isinstance(store, Rollouts):
        _fill(store, plan_for(store), player, workers=workers, progress=progress)
        return store
    rollouts = Rollouts.open(store) if store.exists() else Rollouts.create(store, spec=spec_for(PLAN))
    made = rollouts.is_untouched()
    try:
        _fill(rollouts, plan_for(rollouts), player, workers=workers, progress=progress)
    except BaseException:
        empty = made and rollouts.is_untouched()
        rollouts.close()
        if empty:  # nothing was played (a misspelt id, ...), so the path can be used again
            store.unlink()
        raise
    return rollouts


def _fill(
    rollouts: Rollouts, plan: list[EpisodeSpec], player: _Player, *, workers: int, progress: bool | Callable[..., None]
) -> None:
    """Play the missing episodes of the plan."""
    stored = [p for p in rollouts.plan if p.run == 0]
    if not stored:
        rollouts.fix_plan(plan)
    elif stored != plan:
        raise StoreError(f"{rollouts.path} holds other episodes than those of this collection: use another path.")
    missing = [p for p in rollouts.missing() if p.run == 0]
    if not missing:
        return
    check_versions(rollouts.spec["env"].get("identity") or {}, player.description["identity"], str(rollouts.path))
    if workers == 1:
        player.build()
    available, kinds = player.task_members()
    check_tasks(dict.fromkeys(p.task_index for p in plan), available=available)
    if kinds != rollouts.action_kinds:
        rollouts.set_action_kinds(kinds)
    errors_in_a_row = 0
    with CollectionDisplay(rollouts, total=len(plan), shown=progress is True) as display:

        def store_episode(episode: Episode) -> None:
            nonlocal errors_in_a_row
            rollouts.add(episode)
            display.update(episode)
            if callable(progress):
                progress(episode)
            errors_in_a_row = errors_in_a_row + 1 if episode.error is not None else 0
            if errors_in_a_row >= _MAX_ERRORS:
                raise TaskContractError(
                    f"{errors_in_a_row} episodes in a row ended in an error, the last with: {episode.error}. Earlier "
                    "episodes are stored; repair what it names and run the same collection again."
                )

        run_sharded(player, _shards(missing, workers), workers=workers, on_result=store_episode)
    rollouts.checkpoint()


class _Player:
    """Plays shards (lists of episode specs). It is sent to each worker once and makes its env at the first shard."""

    def __init__(
        self,
        env: Any,
        *,
        num_envs: int,
        retries: int,
        ask_actor_always: bool,
        help_shares: Sequence[float] | None,
        abort_probability: float = 0.0,
    ) -> None:
        self.is_live = not isinstance(env, Mapping)
        self.ask_actor_always = ask_actor_always
        self.num_envs, self.retries = check_count("num_envs", num_envs), check_count("retries", retries, low=0)
        self.kwargs: dict[str, Any] = {}
        self.env: Any = None
        if self.is_live:
            self.env, self.description = env, _describe_live(env)
            self.help_shares = checked_shares(help_shares, len(self.description["interventions"]))
            self.abort_probability = checked_abort(abort_probability, abort=bool(self.description.get("abort")))
            return
        check_env_kwargs(env)
        limit, help_cost = (
            building.check_limit(env.get("max_episode_steps")),
            building.check_help_cost(env.get("help_cost", 0.0)),
        )
        if isinstance(env["interventions"], str) or not isinstance(env["interventions"], Sequence):
            build_interventions(env["interventions"])  # raises
        self.help_shares = checked_shares(help_shares, len(env["interventions"]))
        abort = check_flag("abort", env.get("abort", False))
        self.abort_probability = checked_abort(abort_probability, abort=abort)
        self.kwargs = dict(env)
        # Made once here, so that wrong arguments raise before a store is created.
        if env.get("actor_kwargs"):
            building.build_actor(env["actor"], env["actor_kwargs"])
        if env.get("intervention_kwargs"):
            build_interventions(env["interventions"], env["intervention_kwargs"])
        self.description = {
            "task": _name(env["task"]),
            "task_kwargs": building.check_kwargs("task_kwargs", env.get("task_kwargs")),
            "actor": _name(env["actor"]),
            "interventions": [
                name_and_id(one)[0] if isinstance(one, str) else _name(one) for one in env["interventions"]
            ],
            "help_cost": help_cost,
            "identity": identity_of(_function_of(env["task"]), env["actor"], env["interventions"]),
        }
        if abort:
            self.description["abort"] = True
        if limit is not None:
            self.description["max_episode_steps"] = limit
        if env.get("actor_kwargs"):
            self.description["actor_kwargs"] = building.material("actors", env["actor"], dict(env["actor_kwargs"]))
        if env.get("intervention_kwargs"):
            kept = material_kwargs(env["interventions"], env["intervention_kwargs"])
            self.description["intervention_kwargs"] = kept
        named = dict(name_and_id(one) for one in env["interventions"] if isinstance(one, str))
        if renamed := {name: known for name, known in named.items() if name != known}:
            self.description["intervention_ids"] = renamed

    def build(self) -> None:
        """Make the env if it does not exist yet."""
        if self.env is None:
            self.env = InterventionVectorEnv(self.num_envs, **self.kwargs, autoreset_mode="Disabled")

    def task_members(self) -> tuple[int | None, tuple[str, ...]]:
        """The task's ``num_episodes`` (None if it does not report it) and ``action_kinds`` (empty if it has none)."""

        def members(task: Any) -> tuple[int | None, tuple[str, ...]]:
            return episodes_of(task), tuple(optional_member(task, "action_kinds") or ())

        if self.env is not None:
            return members(self.env.unwrapped.slots[0].task)
        task = building.build_task(self.kwargs["task"], self.kwargs.get("task_kwargs"))
        try:
            return members(task)
        finally:
            if task is not self.kwargs["task"]:
                task.close()

    def __call__(self, shard: Sequence[EpisodeSpec]) -> Iterator[Episode]:
        self.build()
        yield from run_episodes(
            self.env,
            shard,
            retries=self.retries,
            ask_actor_always=self.ask_actor_always,
            help_shares=self.help_shares,
            abort_probability=self.abort_probability,
        )


def _shards(missing: Sequence[EpisodeSpec], workers: int) -> list[list[EpisodeSpec]]:
    """Divide the list into parts of about the same size, between two tasks where possible."""
    if workers == 1:
        return [list(missing)]
    size = max(1, -(-len(missing) // (_SHARDS_PER_WORKER * workers)))
    shards: list[list[EpisodeSpec]] = [[]]
    for _, group in groupby(missing, key=lambda spec: spec.task_index):
        rollouts = list(group)
        parts = max(1, round(len(rollouts) / size))
        for i in range(parts):
            if len(shards[-1]) >= size:
                shards.append([])
            shards[-1] += rollouts[i * len(rollouts) // parts : (i + 1) * len(rollouts) // parts]
    return shards


def _describe_live(env: Any) -> dict[str, Any]:
    """The settings of a live env, as names and plain values."""
    base = getattr(env, "unwrapped", env)
    if not isinstance(base, InterventionEnv | InterventionVectorEnv):
        raise InvalidArgumentError(
            "env must be a dict of keyword arguments (task, actor, interventions), an InterventionEnv or an "
            f"InterventionVectorEnv; received {type(env).__name__}."
        )
    task = base.slots[0].task
    task_spec = getattr(task, "spec", None)
    kwargs = {} if task_spec is None else task_spec.kwargs
    limit = {} if base.max_episode_steps is None else {"max_episode_steps": base.max_episode_steps}
    return (
        limit
        | ({"abort": True} if base.abort else {})
        | {
            "task": task_spec.id if task_spec is not None else _name(task.unwrapped),
            "task_kwargs": {k: v for k, v in kwargs.items() if v is None or isinstance(v, str | int | float)},
            "actor": _name(base.actor),
            "interventions": [one.name for one in base.interventions],
            "help_cost": float(base.help_cost),
            "identity": identity_of(task, base.actor, base.interventions, wrappers_of(env), wrappers_of(task)),
        }
    )


def _function_of(task: Any) -> Any:
    """The function that ``"package.module:function"`` names, whose code is part of the identity; else the task."""
    return task_function(task) or task if isinstance(task, str) else task


def _name(value: Any) -> str:
    """An id, the name of an intervention, or the import path of a class or function."""
    if isinstance(value, str):
        return value
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    named = value if hasattr(value, "__qualname__") else type(value)  # a class or a function, else an object's class
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"
