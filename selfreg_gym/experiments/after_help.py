"""States reached by help and matched states reached without it, and what the actor alone does from there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.evaluation.bootstrap import Design, Estimate, bootstrap_weights, estimate_mean
from selfreg_gym.experiments.results import with_seeds
from selfreg_gym.forks import Forks, ForkState
from selfreg_gym.types import Episode, Transition
from selfreg_gym.utils.random_streams import BOOTSTRAP, FORK_STATES, stream

__all__ = ["OUTCOMES", "Pair", "matched_pairs", "outcomes", "pooled", "surprisal"]

OUTCOMES = ("invalid", "failed", "success")


class Pair(NamedTuple):
    """Two states with the same feature key and the same number of steps left.

    Attributes:
        helped: reached by a step of an intervention.
        alone: reached without any help.
        surprisal: of the helping action under the actor's distribution, in nats; None if it is unknown.
    """

    helped: ForkState
    alone: ForkState
    surprisal: float | None


def surprisal(step: Transition) -> float | None:
    """``-log p`` of the action of a step under the actor's distribution, in nats; None if it is unknown.

    An action with a larger value is less like the actor's. It is limited to 20.
    """
    if step.actor_logprobs is None or step.admissible_actions is None:
        return None
    if step.action_text not in step.admissible_actions:
        return None
    return min(20.0, -float(step.actor_logprobs[step.admissible_actions.index(step.action_text)]))


def matched_pairs(episodes: Sequence[Episode], intervention: int, count: int, *, seed: int = 0) -> list[Pair]:
    """Pairs of decisions with equal feature key (or state key, if the task reports none) and steps left.

    Args:
        episodes: with random help.
        intervention: k; the last step before the first state of a pair is one of the k-th intervention.
        count: largest number of pairs. No state of the first kind occurs twice.
        seed: seed of the draw.
    """
    helped: dict[tuple[Any, ...], tuple[Episode, int]] = {}
    alone: dict[tuple[Any, ...], list[tuple[Episode, int]]] = {}
    for episode in episodes:
        without = True
        for t in range(1, len(episode.steps)):
            before, here = episode.steps[t - 1], episode.steps[t]
            without = without and before.action == 0
            if here.continuation:
                continue
            if without:
                alone.setdefault(_matched_by(here), []).append((episode, t))
            elif before.action == intervention:
                helped.setdefault((*_matched_by(here), here.state_key), (episode, t))
    rng = stream(FORK_STATES, seed, intervention)
    keys = [key for key in helped if key[:2] in alone]
    pairs = []
    for i in rng.permutation(len(keys))[:count].tolist():
        episode, t = helped[keys[i]]
        others = alone[keys[i][:2]]
        other, at = others[int(rng.integers(len(others)))]
        pairs.append(
            Pair(ForkState.of_episode(episode, t), ForkState.of_episode(other, at), surprisal(episode.steps[t - 1]))
        )
    return pairs


def _matched_by(step: Transition) -> tuple[Any, ...]:
    return step.state_key if step.feature_key is None else step.feature_key, step.steps_left


def outcomes(forks: Forks, first: Sequence[int], within: int) -> list[dict[str, float]]:
    """What happens after the first actions, per state: rates over the repetitions.

    Repetitions that end within the first actions are left out; a state without others has NaN. The k steps begin after
    the last step of the first actions, of which each can be a call of several steps.

    Args:
        forks: followed by the actor alone.
        first: one of its first actions.
        within: k.

    Returns:
        ``invalid``: the actor's action is not admissible within k steps. ``failed``: the episode ends without success
        within k steps. ``success``: it ends with success, at any time.
    """
    f = forks.index(first)
    done = forks.first_steps[:, f]
    steps, invalid, success = forks.steps[:, f], forks.invalid_at[:, f], forks.success[:, f]
    goes_on = (steps > done) & ~forks.failed[:, f]
    events = {
        "invalid": (invalid >= done) & (invalid < done + within),
        "failed": ~success & (steps <= done + within),
        "success": success,
    }
    count = goes_on.sum(axis=1)
    rates = {
        name: np.divide((event & goes_on).sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0)
        for name, event in events.items()
    }
    return [{name: float(rates[name][i]) for name in OUTCOMES} for i in range(len(forks))]


def pooled(rows: Iterable[Mapping[str, Any]], value: str, *, resamples: int = 2000) -> Estimate:
    """The mean of ``row[value]`` over the rows of all seeds, with an interval over tasks and seeds.

    Args:
        rows: each with ``task``, ``kind`` and ``seed``; None and NaN are left out.
        value: the key.
        resamples: of the bootstrap over tasks, which are stratified by kind.
    """
    known = [row for row in rows if row[value] is not None and math.isfinite(row[value])]
    if not known:
        return Estimate(math.nan, math.nan, math.nan)
    kinds, tasks = [row["kind"] for row in known], [f"{row['kind']}/{row['task']}" for row in known]
    weights = bootstrap_weights(kinds, clusters=tasks, resamples=resamples, rng=stream(BOOTSTRAP, len(known)))
    values = np.array([row[value] for row in known], np.float64)
    together = estimate_mean(values, weights, design=Design.of(kinds, tasks))
    seeds = np.array([row["seed"] for row in known])
    return with_seeds(together, [float(values[seeds == seed].mean()) for seed in np.unique(seeds)])
