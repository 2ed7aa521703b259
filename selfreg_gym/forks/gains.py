"""Gains of help by a table or by fitted values at states, and their comparison with what forks measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate, bootstrap_weights, percentile_interval
from selfreg_gym.fitted.policy import FittedPolicy
from selfreg_gym.fitted.prices import interpolation
from selfreg_gym.forks.result import Forks
from selfreg_gym.forks.states import ForkState
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.solver import MixedPolicy
from selfreg_gym.utils.random_streams import BOOTSTRAP, stream

__all__ = ["GainCheck", "check_gains", "fitted_gains", "table_gains"]


class GainCheck(NamedTuple):
    """Predicted gains against those of forks; each with a 95 % interval (bootstrap over tasks).

    Attributes:
        states: number of states with both.
        predicted, measured: mean gains.
        bias: mean of predicted minus measured.
        slope: of the regression of the measured on the predicted gains; 1 if the prediction is calibrated.
        correlation: of the predicted and the measured gains.
        corrected: the correlation with the expected gain of the forks, without the noise of their R repetitions
            (Spearman 1904, "The proof and measurement of association between two things"). At most 1 in theory; the
            estimate can be larger, and is NaN where the measured gains vary no more than their noise.
    """

    states: int
    predicted: Estimate
    measured: Estimate
    bias: Estimate
    slope: Estimate
    correlation: Estimate
    corrected: Estimate


def table_gains(policy: MixedPolicy, states: Sequence[ForkState]) -> tuple[np.ndarray, np.ndarray]:
    """Success and usage of each intervention minus those of nohelp by a solved table, if its policy is followed.

    Args:
        policy: a policy or mixture; the gains are the mean over its policies.
        states: S states.

    Returns:
        ``(S, K)`` each; NaN in states that the model does not know, and for actions that were not tried there.
    """
    at = policy.model.locate_many(
        [state.state_key for state in states],
        [state.feature_key for state in states],
        [state.steps_left for state in states],
    )
    known = (at >= 0)[:, None]
    found = []
    for name in ("success_by_action", "usage_by_action"):
        values = sum(
            weight * getattr(one, name)[:, at] for weight, one in zip(policy.weights, policy.policies, strict=True)
        )
        found.append(np.where(known, (values[1:] - values[:1]).T, np.nan))
    return found[0], found[1]


def fitted_gains(policy: FittedPolicy, table: DecisionTable) -> tuple[np.ndarray, np.ndarray]:
    """Success and usage of each intervention minus those of nohelp by fitted values, if a policy of them is followed.

    For a mixture they are the mean over its policies.

    Args:
        policy: of :meth:`selfreg_gym.FittedFrontier.policy`; a component that never or always asks counts at the
            largest or smallest price.
        table: S decisions, in the order of the states.

    Returns:
        ``(S, K)`` each.
    """
    frontier = policy.frontier
    success, usage = frontier.gains(frontier.encoder.encode(table))
    prices = [
        frontier.prices[-1 if one.action == 0 else 0] if one.price is None else one.price for one in policy.components
    ]
    share = np.asarray(policy.weights) @ interpolation(frontier.prices, np.array(prices, np.float64))
    return np.tensordot(success, share, axes=(1, 0)), np.tensordot(usage, share, axes=(1, 0))


def check_gains(
    forks: Forks,
    predicted: Any,
    *,
    action: int | Sequence[int] = 1,
    base: int | Sequence[int] = 0,
    resamples: int = 2000,
) -> GainCheck:
    """Compare predicted gains in success with those of forks, state by state.

    The forks must follow the policy for which the gains are predicted.

    Args:
        forks: the measured continuations.
        predicted: ``(S,)`` gains; NaN where there is none.
        action, base: the two first actions of the forks.
        resamples: of the bootstrap.

    Raises:
        InvalidArgumentError: not one number per state, or fewer than three states with both gains.
    """
    given = np.asarray(predicted, np.float64)
    if given.shape != (len(forks),):
        raise InvalidArgumentError(f"predicted must have one gain per state, ({len(forks)},), received {given.shape}.")
    a, b = forks.index(action), forks.index(base)
    failed = forks.failed[:, a] | forks.failed[:, b]
    won = forks.success[:, a].astype(np.float64) - forks.success[:, b]
    count = (~failed).sum(axis=1)
    use = np.isfinite(given) & (count > 1)
    if use.sum() < 3:
        raise InvalidArgumentError(f"a comparison needs at least 3 states with both gains, received {int(use.sum())}.")
    measured = forks.differences(action, base).success[use]
    centred = np.where(failed[use], 0.0, won[use] - measured[:, None])
    noise = (centred**2).sum(axis=1) / (count[use] - 1) / count[use]
    x, y = given[use], measured
    chosen = [state for state, kept in zip(forks.states, use, strict=True) if kept]
    weights = bootstrap_weights(
        [state.kind for state in chosen],
        clusters=[f"{state.kind}/{state.task_id}" for state in chosen],
        resamples=resamples,
        rng=stream(BOOTSTRAP, len(chosen)),
    )
    every = np.concatenate([np.ones((1, len(x))), weights])
    total = every.sum(axis=1)

    def mean(values: np.ndarray) -> np.ndarray:
        return every @ values / total

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (mx, my, mx - my, both / vx, both / np.sqrt(vx * vy), both / np.sqrt(vx * (vy - mean(noise))))
    found = [Estimate(float(one[0]), *percentile_interval(one[1:])) for one in drawn]
    return GainCheck(len(x), *found)
