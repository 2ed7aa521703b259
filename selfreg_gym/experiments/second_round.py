"""A second round of collection, with random help or directed by the values fitted to the first round."""

from __future__ import annotations

from dataclasses import replace

from selfreg_gym.collection import collection_plan
from selfreg_gym.errors import FailedEpisodesError
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.experiments.exploring import Explorer
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.types import Episode

__all__ = ["RANDOM", "second_round"]

RANDOM = "random-help"
"""The rule of a second round that does not use the values."""

SECOND_SEED = 500
"""Difference between the collection seeds of the two rounds."""


def second_round(
    trial: Trial, values: FittedFrontier, rule: str, *, episodes: int | None = None, actor: bool
) -> list[Episode]:
    """Play the tasks of the first round again, with other seeds.

    Args:
        trial: gives tasks, env and number of episodes.
        values: fitted values of the first round.
        rule: ``RANDOM``, or a rule of :class:`selfreg_gym.experiments.exploring.Explorer`.
        episodes: episodes per task; None: as many as the first round has.
        actor: record the actor's log-probabilities at every decision.

    Returns:
        The episodes, in the order of the plan.

    Raises:
        FailedEpisodesError: an episode ended in an error.
    """
    c = trial.config.collect
    each = c.episodes if episodes is None else episodes
    specs = collection_plan(range(c.tasks), each, c.help_probabilities, seed=c.seed + SECOND_SEED)
    explorer = None if rule == RANDOM else Explorer(values, rule=rule, seed=c.seed)
    if explorer is not None:
        specs = [replace(spec, help_probability=None) for spec in specs]
    env = make_env(trial.run("collect").env_kwargs(), c.num_envs)
    played = {}
    for episode in run_episodes(env, specs, explorer, ask_actor_always=actor):
        if episode.error is not None:
            raise FailedEpisodesError(
                f"all episodes of a second round must end without an error, and one did not: {episode.error}. "
                "Remove the cause and run again."
            )
        played[episode.task_index, episode.seed] = episode
    return [played[spec.task_index, spec.seed] for spec in specs]
