"""``fork``: continue states under several first actions, with common random numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import FailedEpisodesError, InvalidArgumentError, shown
from selfreg_gym.forks.outcomes import Outcome, Work
from selfreg_gym.forks.playing import FirstActions, ForkEnv
from selfreg_gym.forks.result import Forks, as_first_actions, state_record
from selfreg_gym.forks.states import ForkState, live_states
from selfreg_gym.forks.task import ForkTable
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env import building
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.snapshots import layers
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.executor import run_sharded
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode, HelperPolicy, optional_member
from selfreg_gym.utils.arguments import check_count
from selfreg_gym.utils.progress import progress_bar
from selfreg_gym.utils.random_streams import FORK, seed_sequence

__all__ = ["fork"]

_BATCHES = 8
"""Batches of episodes in a shard, so that few environments are idle at its end."""


def fork(
    env: Mapping[str, Any] | Any,
    states: Sequence[ForkState] | None = None,
    *,
    first_actions: Sequence[int | Sequence[int]] | None = None,
    then: HelperPolicy | None = None,
    repetitions: int = 32,
    seed: int = 0,
    num_envs: int = 16,
    workers: int = 1,
    retries: int = 2,
    deterministic: bool = True,
    resume: str | Path | None = None,
    progress: bool = False,
) -> Forks:
    """Continue each state under several first actions, each followed by the same policy.

    The continuations of a repetition have common random numbers for all first actions
    (:mod:`selfreg_gym.forks.task`), so their differences have smaller intervals. A result is a function of the
    state, ``seed`` and the arguments of the policy: neither other states nor ``num_envs`` nor ``workers`` change it.

    Facts that are hidden from the actor are those of the recorded episode. So the value of one state holds only for the
    hidden facts of its episode. The mean over states that were reached by playing is an unbiased estimate.

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0``; or a live intervention env whose task was made from an
            id, which is not changed.
        states: from :func:`selfreg_gym.forks.stored_states` or :func:`selfreg_gym.forks.live_states`; None: the
            current states of the live env ``env``.
        first_actions: F first actions, each an action or a sequence of actions; default: 0 (nohelp), 1, ..., K. An
            action of a call that lasts several steps stands for the whole call.
        then: the helper that is followed afterwards; None is nohelp to the end of the episode. At a live state it
            begins without memory.
        repetitions: R, continuations of each first action.
        seed: seed of the repetitions.
        num_envs: episodes at once in each process.
        workers: number of processes; several need keyword arguments that can be pickled.
        retries: repetitions of a continuation in which an actor or ``then`` failed.
        deterministic: passed to ``then.predict``.
        resume: a JSON file for unfinished work. Finished states are written to it, and read from it by the same call
            after an interruption. The file is kept when all states are finished.
        progress: draw a progress bar.

    Returns:
        Success, cost, calls and steps of all continuations.

    Raises:
        InvalidArgumentError: invalid arguments, no states, or a live env whose task cannot be made again.
        TaskContractError: a stored state is not reached again by its actions, so the task has changed.
        FailedEpisodesError: every continuation ended in an error.
        CheckpointError: ``resume`` holds the work of another call, or is damaged.
    """
    live = not isinstance(env, Mapping)
    kwargs = _kwargs_of(env) if live else dict(env)
    if states is None:
        if not live:
            raise InvalidArgumentError("fork needs states: pass stored_states(rollouts, rows), or a live env.")
        states = live_states(env)
    states = list(states)
    if not states or not all(isinstance(state, ForkState) for state in states):
        raise InvalidArgumentError(f"states must be at least one ForkState, received {shown(states)}.")
    workers = check_count("workers", workers)
    if workers > 1 and live:
        raise InvalidArgumentError(
            f"a live env cannot be sent to other processes: pass its keyword arguments to use workers={workers}."
        )
    probe = ForkEnv(1, ForkTable([()]), kwargs)
    names = tuple(one.name for one in probe.interventions)
    actions = int(probe.single_action_space.n)  # type: ignore[attr-defined]
    first = as_first_actions(range(1 + len(names)) if first_actions is None else first_actions, actions)
    reseeded = optional_member(probe.slots[0].task, "reseed") is not None
    probe.close()
    decider = None if then is None else as_helper(then, what="then")
    player = _Player(
        kwargs, first, decider, check_count("repetitions", repetitions), check_count("seed", seed, low=0),
        check_count("num_envs", num_envs), check_count("retries", retries, low=0), deterministic,
    )  # fmt: skip
    shape = (len(states), len(first), player.repetitions)
    work = Work(states, shape, len(names), None if resume is None else Path(resume), _identity(states, player))
    work.read()
    each = len(first) * player.repetitions
    with progress_bar("forks", len(states) * each, done=work.done * each, shown=progress) as update:

        def keep(outcome: Outcome) -> None:
            work.add(outcome)
            update(work.played)

        try:
            run_sharded(player, _shards(work.missing(), each, num_envs, workers), workers=workers, on_result=keep)
        finally:
            work.write()
    if work.arrays["failed"].all():
        raise FailedEpisodesError(f"every continuation ended in an error, the last with: {work.error}")
    return Forks(
        states=states, first_actions=first, interventions=names, then=player.helper.type_name, reseeded=reseeded,
        seed=player.seed, **work.arrays,
    )  # fmt: skip


@dataclass
class _Player:
    """Plays shards, lists of ``(number, state)``. It makes its env at the first one."""

    env_kwargs: Mapping[str, Any]
    first: tuple[tuple[int, ...], ...]
    then: Helper | None
    repetitions: int
    seed: int
    num_envs: int
    retries: int
    deterministic: bool
    _env: Any = field(default=None, init=False)
    _table: Any = field(default=None, init=False)

    @property
    def helper(self) -> FirstActions:
        """The helper that plays the forks."""
        return FirstActions(self.then)

    def __call__(self, shard: Sequence[tuple[int, ForkState]]) -> Iterator[Outcome]:
        """Play all continuations of the states of a shard."""
        if self._env is None:
            self._table = ForkTable(self.first)
            self._env = ForkEnv(self.num_envs, self._table, self.env_kwargs)
        # Only a helper needs the recorded steps; without one they are executed once.
        self._table.states = [state if self.then else self._env.reached(state) for _, state in shard]
        place: dict[tuple[int, int], tuple[int, int, int]] = {}
        specs = []
        for i, (number, state) in enumerate(shard):
            for repetition in range(self.repetitions):
                seed = fork_seed(self.seed, state, repetition)
                for f in range(len(self.first)):
                    specs.append(EpisodeSpec(self._table.number(i, f), seed))
                    place[specs[-1].task_index, seed] = (number, f, repetition)
        played = run_episodes(
            self._env, specs, self.helper, deterministic=self.deterministic, record_steps=False, retries=self.retries,
            helper_must_work=False,
        )  # fmt: skip
        for episode in played:
            state, chosen = self._table.at(episode.task_index)
            yield _measured(episode, len(state.steps), len(chosen), *place[episode.task_index, episode.seed])


def fork_seed(seed: int, state: ForkState, repetition: int) -> int:
    """The seed of a repetition at a state, in [0, 2**63)."""
    words = seed_sequence(FORK, seed, state.task_index + 1, state.seed, state.t, repetition)
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _measured(episode: Episode, before: int, chosen: int, state: int, first: int, repetition: int) -> Outcome:
    """The outcome of a continuation after ``before`` recorded steps, with ``chosen`` first actions."""
    own = episode.steps[before:]
    counts = np.bincount([step.action for step in own if not step.continuation], minlength=1 + len(episode.usage))
    decided = np.cumsum([not step.continuation for step in own])
    invalid = next((i for i, step in enumerate(own) if step.invalid), -1)
    return Outcome(
        state=state, first=first, repetition=repetition, success=episode.success,
        cost=float(sum(step.cost for step in own)), calls=tuple(counts[1 : 1 + len(episode.usage)].tolist()),
        steps=len(own), first_steps=int((decided <= chosen).sum()), invalid_at=invalid,
        failed=episode.error is not None, error=episode.error,
    )  # fmt: skip


def _identity(states: Sequence[ForkState], player: _Player) -> str:
    """A hash of what determines the result, as far as it can be written as text."""
    text = json.dumps(
        [
            {key: _plain(value) for key, value in sorted(player.env_kwargs.items()) if key != "call_timeout"},
            player.first, _described(player.then), player.repetitions, player.seed, player.deterministic,
            [state_record(state) for state in states],
        ]
    )  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()


def _described(helper: Helper | None) -> list[str]:
    """Class, knob and seed of a helper."""
    if helper is None:
        return []
    return [helper.type_name, f"{helper.knob!r}" if helper.has_knob else "", f"{helper.seed!r}"]


def _plain(value: Any) -> str:
    """The ``repr`` without the addresses of objects, which differ between processes."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _shards(
    missing: Sequence[tuple[int, ForkState]], each: int, num_envs: int, workers: int
) -> list[list[tuple[int, ForkState]]]:
    """Divide the states into shards that fill the environments, and that occupy all workers."""
    fill = max(1, -(-_BATCHES * num_envs // each))
    size = max(1, min(fill, -(-len(missing) // workers)))
    return [list(missing[i : i + size]) for i in range(0, len(missing), size)]


def _stateful(task: gym.Env[Any, Any]) -> list[type]:
    """The classes of the task and of those wrappers around it that may hold state."""
    return [type(one) for one in layers(task) if not isinstance(one, OrderEnforcing | PassiveEnvChecker)]


def _kwargs_of(env: Any) -> dict[str, Any]:
    """Keyword arguments that make an env like a live one.

    Raises:
        InvalidArgumentError: not an intervention env, or its task cannot be made again.
    """
    base = getattr(env, "unwrapped", env)
    if not isinstance(base, InterventionEnv | InterventionVectorEnv):
        raise InvalidArgumentError(
            "fork takes keyword arguments of selfreg/Intervention-v0 (task, actor, interventions) or an intervention "
            f"env, received {type(env).__name__}."
        )
    task = base.slots[0].task
    spec = task.unwrapped.spec
    if spec is not None:
        made = building.build_task(lambda: gym.make(spec, disable_env_checker=True))
        same = _stateful(made) == _stateful(task)
        made.close()
    if spec is None or not same:
        raise InvalidArgumentError(
            f"fork plays several copies of the task, and {task} was not made by its id alone: pass the keyword "
            "arguments of the env, with a function that makes the task, and states=live_states(env)."
        )
    limit = {} if base.max_episode_steps is None else {"max_episode_steps": base.max_episode_steps}
    return limit | {
        "task": lambda: gym.make(spec, disable_env_checker=True),
        "actor": base.actor,
        "interventions": base.interventions,
        "help_cost": base.help_cost,
        "abort": base.abort,
        "call_timeout": base.call_timeout,
    }
