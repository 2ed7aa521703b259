"""Letting all helpers play their shares of an evaluation, in whichever process.

A share (a shard) is some tasks with the episodes of *all* helpers on them, so that what an actor remembers of a task
serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfreg_gym.evaluation.measures import Measured, measure
from selfreg_gym.helper import Helper
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode
from selfreg_gym.utils.random_streams import HELPER_SEED, seed_sequence

__all__ = ["Player", "Shard", "cut", "make_env", "reseeded"]


@dataclass(frozen=True)
class Shard:
    """Some tasks of a split, and the episodes of each helper on them."""

    split: str
    number: int
    specs: dict[str, list[EpisodeSpec]]


class Player:
    """Plays shards with all helpers; builds a split's env at its first shard, with one actor for all splits.

    Args:
        envs: by split, keyword arguments or a ready env.
        helpers: by key.
        traced: by split, (task, seed) of the episodes that are returned whole.
    """

    def __init__(
        self,
        envs: Mapping[str, Any],
        helpers: Mapping[str, Helper],
        traced: Mapping[str, set[tuple[int, int]]],
        *,
        seed: int,
        num_envs: int,
        deterministic: bool,
        retries: int,
    ) -> None:
        self._sources, self._helpers, self._traced = dict(envs), dict(helpers), dict(traced)
        self._seed, self._num_envs, self._deterministic, self._retries = seed, num_envs, deterministic, retries
        self._env: Any = None
        self._split: str | None = None
        self._actors: dict[str, Any] = {}

    def __call__(self, shard: Shard) -> Iterator[tuple[str, str, Measured, Episode | None]]:
        """Yield ``(split, key, measured, the episode if it is traced)``."""
        if self._split != shard.split:
            self._split, self._env = shard.split, self._make(self._sources[shard.split])
        for number, (key, helper) in enumerate(self._helpers.items()):
            # Draws that are keyed by the episode need one seed for all shards. Other draws go by the order of the rows:
            # there each shard has a seed of its own, so that no two shards begin with the same draws.
            place = () if helper.draws_per_episode else (shard.number,)
            own = reseeded(helper, self._seed, number, *place)
            episodes = run_episodes(
                self._env, shard.specs[key], own, deterministic=self._deterministic, retries=self._retries
            )
            for episode in episodes:
                shown = (episode.task_index, episode.seed) in self._traced[shard.split]
                yield shard.split, key, measure(episode), episode if shown else None

    def _make(self, source: Any) -> Any:
        """The env of a split. Splits whose actor is built alike share it: loading it anew would cost seconds."""
        if not isinstance(source, Mapping) or not isinstance(source.get("actor"), str):
            return make_env(source, self._num_envs)
        built_of = repr((source["actor"], source.get("actor_kwargs")))
        if built_of in self._actors:
            rest = {name: value for name, value in source.items() if name != "actor_kwargs"}
            return make_env({**rest, "actor": self._actors[built_of]}, self._num_envs)
        env = make_env(source, self._num_envs)
        self._actors[built_of] = env.actor
        return env


def make_env(env: Any, num_envs: int) -> Any:
    """Build a batch of ``num_envs`` from keyword arguments; a ready env is returned as it is."""
    if not isinstance(env, Mapping):
        return env
    from gymnasium.vector import AutoresetMode

    from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv

    return InterventionVectorEnv(num_envs, **dict(env), autoreset_mode=AutoresetMode.DISABLED)


def reseeded(helper: Helper, *entropy: int) -> Helper:
    """The helper with its draws seeded by ``entropy``."""
    return helper.with_seed(int(seed_sequence(HELPER_SEED, *entropy).generate_state(1)[0]))


def cut(
    split: str, plans: Mapping[str, Sequence[EpisodeSpec]], longest: Sequence[EpisodeSpec], num_envs: int
) -> list[Shard]:
    """Cut the tasks into parts, none so small that the batch runs half empty for long.

    How many there are does not depend on the number of processes, so neither do the helpers' draws.
    """
    size = max(6 * num_envs, -(-len(longest) // 8))
    parts: list[list[EpisodeSpec]] = [[]]
    for spec in longest:
        if len(parts[-1]) >= size and spec.task_index != parts[-1][-1].task_index:
            parts.append([])
        parts[-1].append(spec)
    shards = []
    for number, part in enumerate(parts):
        tasks = {spec.task_index for spec in part}
        specs = {key: [spec for spec in plan if spec.task_index in tasks] for key, plan in plans.items()}
        shards.append(Shard(split, number, specs))
    return shards
