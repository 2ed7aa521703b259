"""Playing the episodes of an evaluation in shards, in one process or several.

A shard is some tasks of a split with the episodes of *all* helpers on them, so that the answers an actor remembers for
a task serve all helpers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from selfreg_gym.evaluation.measures import EpisodeId, EpisodeMeasures, episode_id, measure
from selfreg_gym.evaluation.planning import Shard
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.types import Episode
from selfreg_gym.utils.random_streams import HELPER_SEED, seed_sequence

__all__ = ["PlayedEpisode", "Player", "make_env", "reseeded"]


class PlayedEpisode(NamedTuple):
    """A measured episode; the episode itself only if its steps are kept."""

    split: str
    key: HelperKey
    measures: EpisodeMeasures
    episode: Episode | None


@dataclass
class Player:
    """Plays shards with all helpers. A split's env is built at its first shard; splits share an actor.

    Attributes:
        envs: by split, keyword arguments or a ready env.
        helpers: by key.
        traced: by split, the episodes whose steps are kept.
        seed: of the evaluation, from which the helpers' seeds are derived.
        num_envs: episodes played at a time.
        deterministic: helpers take their most likely action.
        retries: how often an episode that ends in an error is played again.
    """

    envs: Mapping[str, Any]
    helpers: Mapping[HelperKey, Helper]
    traced: Mapping[str, set[EpisodeId]]
    seed: int
    num_envs: int
    deterministic: bool
    retries: int
    _split: str | None = field(default=None, init=False)
    _env: Any = field(default=None, init=False)
    _actors: dict[str, Any] = field(default_factory=dict, init=False)

    def __call__(self, shard: Shard) -> Iterator[PlayedEpisode]:
        """Play the episodes of all helpers in a shard."""
        if self._split != shard.split:
            self._split, self._env = shard.split, self._build(self.envs[shard.split])
        traced = self.traced[shard.split]
        for number, (key, helper) in enumerate(self.helpers.items()):
            # Draws by the key of the episode need one seed for all shards. Other draws depend on the order of the
            # episodes: each shard has a seed of its own, so that no two shards begin with the same draws.
            place = () if helper.draws_per_episode else (shard.number,)
            own = reseeded(helper, self.seed, number, *place)
            played = run_episodes(
                self._env,
                shard.specs[key],
                own,
                deterministic=self.deterministic,
                retries=self.retries,
                helper_must_work=False,  # a shard may have episodes of one task only
            )
            for episode in played:
                kept = episode if episode_id(episode) in traced else None
                yield PlayedEpisode(shard.split, key, measure(episode), kept)

    def _build(self, source: Any) -> Any:
        """The env of a split. Actors with the same id and arguments are built once, because loading takes seconds."""
        if not isinstance(source, Mapping) or not isinstance(source.get("actor"), str):
            return make_env(source, self.num_envs)
        actor = repr((source["actor"], source.get("actor_kwargs")))
        if actor in self._actors:
            rest = {name: value for name, value in source.items() if name != "actor_kwargs"}
            return make_env({**rest, "actor": self._actors[actor]}, self.num_envs)
        env = make_env(source, self.num_envs)
        self._actors[actor] = env.actor
        return env


def make_env(env: Any, num_envs: int) -> Any:
    """The vector env of ``num_envs`` envs for keyword arguments; a ready env is returned unchanged."""
    if not isinstance(env, Mapping):
        return env
    from gymnasium.vector import AutoresetMode

    from selfreg_gym.intervention_env.arguments import check_env_kwargs
    from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv

    check_env_kwargs(env, more=("render_mode",))
    return InterventionVectorEnv(num_envs, **dict(env), autoreset_mode=AutoresetMode.DISABLED)


def reseeded(helper: Helper, *entropy: int) -> Helper:
    """The helper with its draws seeded by ``entropy``."""
    return helper.with_seed(int(seed_sequence(HELPER_SEED, *entropy).generate_state(1)[0]))
