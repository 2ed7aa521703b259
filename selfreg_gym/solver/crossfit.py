"""Honest values: what a fitted policy is worth on episodes that it was not fitted on.

The model that chose a policy flatters it: of several noisy rows the luckiest was chosen. Here the episodes are split;
each part's policy is evaluated on a model of the other part's episodes, without shrinkage. An interval comes from
resampling the episodes of the evaluating part. E[U] is affected little, E[SR] much (ours; see the literature on
cross-fitting in off-policy evaluation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.budget import solve_budget
from selfreg_gym.solver.solution import MixedPolicy
from selfreg_gym.solver.solve import evaluate_policy
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.transitions.fitting import fit, fit_table
from selfreg_gym.transitions.table import TransitionTable, tabulate

__all__ = ["CrossFitted", "cross_fitted_value", "transfer_policy"]


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """What a budget buys, judged on other episodes than those that chose the policy.

    Attributes:
        budget: C.
        expected_success, expected_usage: cross-fitted.
        success_ci, usage_ci: 95 % intervals of the episode bootstrap.
        planned_success: E[SR] that the models claimed for their own policies; the difference is optimism.
        folds, bootstrap: how it was done.
    """

    budget: float
    expected_success: float
    expected_usage: float
    success_ci: tuple[float, float]
    usage_ci: tuple[float, float]
    planned_success: float
    folds: int
    bootstrap: int


def cross_fitted_value(
    episodes: Any,
    *,
    budget: float,
    folds: int = 2,
    bootstrap: int = 50,
    seed: int = 0,
    key: str = "state",
    backoff: str | None = "feature",
    prior: float | str = "auto",
    min_visits: int = 3,
    horizon: int | bool | None = True,
    progress: Callable[[int, int], None] | None = None,
) -> CrossFitted:
    """Estimate E[SR] and E[U] of the policy that a budget and a part of the episodes lead to.

    Args:
        episodes: a ``Rollouts`` store or an iterable of episodes, at least two per fold.
        budget: C.
        folds: parts; each is evaluated on once, by the policy of the others.
        bootstrap: resamples of each evaluating part; 0 gives no intervals (NaN).
        seed: of the split and the resampling.
        key, backoff, prior, min_visits, horizon: of the fit, see :func:`selfreg_gym.transitions.fitting.fit`.
        progress: called with (evaluations done, evaluations in all) after each; there is one for every resample.

    Raises:
        InvalidArgumentError: too few episodes or folds.
    """
    table = tabulate(episodes, key=key, horizon=horizon)
    if folds < 2 or table.episodes < 2 * folds:
        raise InvalidArgumentError(
            f"cross-fitting needs folds >= 2 and two episodes per fold: received folds={folds}, "
            f"{table.episodes} episodes."
        )
    rng = np.random.default_rng(seed)
    fold_of = rng.permutation(table.episodes) % folds
    numbers = np.arange(table.episodes)
    options = {"backoff": backoff, "min_visits": min_visits, "horizon": horizon}
    points, resampled, planned = [], [], []
    done = 0

    def worth(policy: MixedPolicy, episodes: TransitionTable) -> tuple[float, float]:
        nonlocal done
        value = _worth(policy, episodes, options)
        done += 1
        if progress is not None:
            progress(done, folds * (1 + bootstrap))
        return value

    for fold in range(folds):
        train, test = table.take(numbers[fold_of != fold]), table.take(numbers[fold_of == fold])
        model = fit(train, key=key, prior=prior, **options)  # type: ignore[arg-type]
        policy = solve_budget(model, budget=budget)
        planned.append(policy.expected_success)
        points.append(worth(policy, test))
        draws = [rng.integers(test.episodes, size=test.episodes) for _ in range(bootstrap)]
        resampled.append([worth(policy, test.take(draw)) for draw in draws])
    success, usage = np.mean(points, axis=0)
    replicates = np.mean(resampled, axis=0) if bootstrap else np.full((1, 2), np.nan)
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    return CrossFitted(
        budget=float(budget), expected_success=float(success), expected_usage=float(usage),
        success_ci=(float(low[0]), float(high[0])), usage_ci=(float(low[1]), float(high[1])),
        planned_success=float(np.mean(planned)), folds=folds, bootstrap=bootstrap,
    )  # fmt: skip


def transfer_policy(policy: np.ndarray, model: TransitionModel, onto: TransitionModel) -> np.ndarray:
    """Return a policy of ``model`` as ``(n,)`` actions on another fitted model; nohelp where it has no answer.

    States are found by key: a state node by its state key and then by its features, a feature node by its features.
    """
    fitted, keys = onto.fitted, onto.keys
    if fitted is None or keys is None:
        raise InvalidArgumentError("a policy is transferred by key, to a model made by TransitionModel.fit.")
    states, features = model._index
    own = np.full(onto.nodes, -1)
    for node, key in enumerate(keys):
        own[node] = features.get(key, -1) if fitted.is_feature[node] else states.get(key, -1)
    of = fitted.feature_of_node
    own = np.where((own < 0) & (of >= 0), own[np.maximum(of, 0)], own)
    out = np.zeros((onto.levels, onto.nodes), np.int8)
    for level in range(onto.levels):
        from_level = min(level, model.levels - 1) * model.nodes
        found = own >= 0
        out[level, found] = policy[from_level + own[found]]
    usable = onto.available[out.astype(np.int64), np.arange(onto.nodes)]
    return np.where(usable, out, 0).ravel()


def _worth(policy: MixedPolicy, table: TransitionTable, options: dict[str, Any]) -> tuple[float, float]:
    """Return S and M of a policy on the plain counts of other episodes.

    Without a clock a quarter of a visit of the pool is mixed in: what both actions together did ended every episode, so
    that a few repetitions of one action cannot go on for ever.
    """
    clock = options["horizon"] is not None and bool((table.steps_left >= 0).all())
    onto = fit_table(table, kappa=0.0 if clock else 0.25, kappa_feature=0.0, **options)
    success = usage = 0.0
    for weight, part in zip(policy.weights, policy.policies, strict=True):
        value = evaluate_policy(onto, transfer_policy(part.policy, policy.model, onto))
        success += weight * value.expected_success
        usage += weight * value.expected_usage
    return success, usage
