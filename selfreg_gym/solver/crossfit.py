"""Cross-fitted values: the value of a fitted policy on episodes that it was not fitted on.

In-sample values are optimistic, because the policy is the maximum over noisy rows; shrinkage and help that was never
tried bias them downwards. Here the episodes are split into folds, and the policy fitted to the other folds is evaluated
on a model of each fold without shrinkage (cross-fitting, as in off-policy evaluation).

A bootstrap of the fold is too narrow: rows with one or two visits have no spread, and resampling loses rows. The
interval comes from leaving out one of G groups of episodes at a time (the grouped jackknife, Tukey 1958):

    variance = (G - 1) / G * sum_g (v_g - mean(v_g))^2,

which overestimates the variance rather than underestimating it (Efron and Stein 1981).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.arguments import checked_number, checked_whole
from selfreg_gym.solver.budget import solve_budget
from selfreg_gym.solver.solution import MixedPolicy, Solution
from selfreg_gym.solver.solve import evaluate_policy
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.transitions.fitting import fit, fit_table
from selfreg_gym.transitions.table import TransitionTable, tabulate

__all__ = ["CrossFitted", "cross_fitted_value"]


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Cross-fitted success and usage at a budget, on episodes that did not choose the policy.

    Attributes:
        budget: C, cost units per episode.
        expected_success, expected_usage: cross-fitted.
        success_ci, usage_ci: 95 % intervals of the mean over the folds' policies.
        planned_success: in-sample E[SR], the mean of the models' values for their own policies.
        folds: number of folds.
        bootstrap: largest number of groups in a fold.
        policies: the policies of the folds.
    """

    budget: float
    expected_success: float
    expected_usage: float
    success_ci: tuple[float, float]
    usage_ci: tuple[float, float]
    planned_success: float
    folds: int
    bootstrap: int
    policies: tuple[MixedPolicy, ...] = ()


def cross_fitted_value(
    episodes: Any,
    *,
    budget: float,
    folds: int = 2,
    bootstrap: int = 20,
    seed: int = 0,
    key: str = "state",
    backoff: str | None = "feature",
    prior: float | str = "auto",
    min_visits: int = 3,
    horizon: int | bool | None = True,
    time_buckets: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossFitted:
    """Estimate E[SR] and E[U] of the policy for a budget, on episodes to which it was not fitted.

    Args:
        episodes: a ``Rollouts`` store or an iterable of episodes, at least two per fold.
        budget: C, cost units per episode.
        folds: number of folds; the policy of the other folds is evaluated on each.
        bootstrap: groups of episodes per fold, each left out once (at most the episodes of the fold); at least 2, or 0
            for no intervals (NaN). The name is from an earlier version.
        seed: seed of the folds and groups.
        key, backoff, prior, min_visits, horizon, time_buckets: of the fit, see
            :func:`selfreg_gym.transitions.fitting.fit`.
        progress: called after each evaluation with the number done and the total.

    Returns:
        E[SR] and E[U] (cost units per episode), with their 95 % intervals.

    Raises:
        InvalidArgumentError: an argument of the wrong type, or too few episodes, folds or groups.
    """
    budget = checked_number("a budget, in cost units per episode,", budget)
    folds, bootstrap = checked_whole("folds", folds), checked_whole("bootstrap", bootstrap)
    seed = checked_whole("seed", seed)
    if bootstrap == 1:
        raise InvalidArgumentError("an interval needs at least 2 groups, received bootstrap=1: 0 gives no interval.")
    table = tabulate(episodes, key=key, horizon=horizon, time_buckets=time_buckets)
    if folds < 2 or table.episodes < 2 * folds:
        raise InvalidArgumentError(
            f"cross-fitting needs folds >= 2 and two episodes per fold: received folds={folds}, "
            f"{table.episodes} episodes."
        )
    rng = np.random.default_rng(seed)
    fold_of = rng.permutation(table.episodes) % folds
    episode = np.arange(table.episodes)
    options = {"backoff": backoff, "min_visits": min_visits, "horizon": horizon}
    groups = [min(bootstrap, int((fold_of == fold).sum())) for fold in range(folds)]
    points, variances, policies = [], [], []
    done = 0

    def evaluate(policy: MixedPolicy, episodes: TransitionTable) -> np.ndarray:
        nonlocal done
        value = _evaluated(policy, episodes, options)
        done += 1
        if progress is not None:
            progress(done, folds + sum(groups))
        return np.array(value)

    for fold, count in enumerate(groups):
        train, test = table.take(episode[fold_of != fold]), table.take(episode[fold_of == fold])
        model = fit(train, key=key, prior=prior, **options)  # type: ignore[arg-type]
        policy = solve_budget(model, budget=budget)
        policies.append(policy)
        points.append(evaluate(policy, test))
        if count:
            group = rng.permutation(test.episodes) % count
            left_out = np.array([evaluate(policy, test.take(np.flatnonzero(group != g))) for g in range(count)])
            variances.append((count - 1) / count * np.square(left_out - left_out.mean(axis=0)).sum(axis=0))
    value = np.mean(points, axis=0)
    low = high = np.full(2, np.nan)
    if bootstrap:
        from scipy.special import stdtrit

        error = np.sqrt(np.sum(variances, axis=0)) / folds
        half = float(stdtrit(max(sum(groups) - folds, 1), 0.975)) * error
        low, high = np.maximum(value - half, 0.0), np.minimum(value + half, [1.0, np.inf])
    return CrossFitted(
        budget=budget, expected_success=float(value[0]), expected_usage=float(value[1]),
        success_ci=(float(low[0]), float(high[0])), usage_ci=(float(low[1]), float(high[1])),
        planned_success=float(np.mean([policy.expected_success for policy in policies])), folds=folds,
        bootstrap=bootstrap, policies=tuple(policies),
    )  # fmt: skip


def _transferred(policy: np.ndarray, model: TransitionModel, onto: TransitionModel) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(levels, nodes)`` states of ``model`` for those of ``onto`` (-1: none), and their actions.

    A state node is found by its state key, else by its feature key; a feature node by its feature key.
    """
    fitted, keys = onto.fitted, onto.keys
    if fitted is None or keys is None:
        raise InvalidArgumentError("a policy is transferred by key, to a model made by TransitionModel.fit.")
    index = model.index
    own = np.full(onto.nodes, -1)
    for node, key in enumerate(keys):
        own[node] = index.node(key, of_feature=bool(fitted.is_feature[node]))
    of = fitted.feature_of_node
    own = np.where((own < 0) & (of >= 0), own[np.maximum(of, 0)], own)
    level = np.minimum(np.arange(onto.levels), model.levels - 1)[:, None] * model.nodes
    state = np.where(own >= 0, level + np.maximum(own, 0), -1)
    return state, np.where(state >= 0, policy[np.maximum(state, 0)], 0).astype(np.int8)


def _evaluated(policy: MixedPolicy, table: TransitionTable, options: dict[str, Any]) -> tuple[float, float]:
    """Return S and M of a policy on a model of other episodes without shrinkage.

    Where these episodes never tried an action of the policy, the values of the policy's own model are used. Without a
    clock, the pool of all actions is mixed in with the weight of a quarter of a visit: it reaches an end from every
    state, so an action that was only seen to return does not return forever.
    """
    timed = table.time_edges is None and bool((table.steps_left >= 0).all())
    clock = options["horizon"] is not None and timed
    onto = fit_table(table, kappa=0.0 if clock else 0.25, kappa_feature=0.0, **options)
    success = usage = 0.0
    for weight, part in zip(policy.weights, policy.policies, strict=True):
        value = evaluate_policy(*_completed(part, policy.model, onto))
        success += weight * value.expected_success
        usage += weight * value.expected_usage
    return success, usage


def _completed(part: Solution, model: TransitionModel, onto: TransitionModel) -> tuple[TransitionModel, np.ndarray]:
    """Return ``onto`` with all actions of a policy available, and the policy's ``(n,)`` actions on it.

    An action never tried ends the episode with the policy's own values (the mean over the levels where it is taken).
    """
    state, actions = _transferred(part.policy, model, onto)
    nodes = np.arange(onto.nodes)
    missing = ~onto.available[actions.astype(np.int64), nodes]
    if not missing.any():
        return onto, actions.ravel()
    success, last, cost, available = (
        array.copy() for array in (onto.success, onto.last_success, onto.cost, onto.available)
    )
    for action in range(1, onto.actions):
        here = missing & (actions == action)
        count = here.sum(axis=0)
        some = count > 0
        for array, values in ((success, part.success), (cost, part.usage)):
            mean = np.where(here, values[np.maximum(state, 0)], 0.0).sum(axis=0) / np.maximum(count, 1)
            array[action] = np.where(some, mean, array[action])
        last[action] = np.where(some, success[action], last[action])
        available[action] |= some
    return onto.with_outcomes(success, last, cost, available), actions.ravel()
