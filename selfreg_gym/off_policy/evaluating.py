"""``evaluate_off_policy``: success and usage of a helper, estimated from episodes with random help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.evaluation.bootstrap import Design, Estimate, Z, student_factor, widening
from selfreg_gym.helper import Helper
from selfreg_gym.off_policy.behaviour import importance_weights, out_of_support
from selfreg_gym.off_policy.estimators import Part, Terms, weighted_doubly_robust, weighted_importance_sampling
from selfreg_gym.off_policy.fitted_q import Evaluated, decision_inputs, fitted_q, folds_of
from selfreg_gym.off_policy.logged import Logged, read_episodes
from selfreg_gym.off_policy.replay import replayed_actions
from selfreg_gym.off_policy.result import METHODS, OffPolicyEstimate, OffPolicyEvaluation
from selfreg_gym.types import Episode
from selfreg_gym.utils.arguments import check_count, check_name, check_number

__all__ = ["Collected", "evaluate_off_policy"]

DRAWS = 16
"""Number of replays of a helper that draws random numbers."""

LARGEST_OUTSIDE = 0.01
"""Largest probability of a sequence of actions that was never tried, in a supported estimate."""


def evaluate_off_policy(
    rollouts: Any,
    helper: Any,
    *,
    methods: Sequence[str] = tuple(METHODS),
    inputs: Any = None,
    folds: int = 10,
    draws: int = DRAWS,
    min_effective: float = 30.0,
    fixed_tasks: bool = False,
    deterministic: bool = True,
    seed: int = 0,
    num_envs: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> OffPolicyEvaluation:
    """Estimate success and usage of a helper on the tasks of collected episodes, without playing it.

    The helper is asked at every stored decision (:mod:`selfreg_gym.off_policy.replay`), and its actions are compared
    with the random actions that were taken. It must not have been trained on these episodes: the estimate of a policy
    that was chosen by the same outcomes is optimistic.

    Args:
        rollouts: a ``Rollouts`` store, or episodes with known help probabilities
            (:meth:`selfreg_gym.TransitionModel.sample`).
        helper: a helper, an object with ``predict`` or a function; or action probabilities ``(n, 1 + K)`` of the n
            decisions, in the order of the store.
        methods: of ``"wdr"`` (weighted doubly robust, recommended), ``"wis"`` (per-decision weighted importance
            sampling) and ``"fqe"`` (fitted-Q evaluation).
        inputs: ``(n, D)`` further inputs of the fitted values, with a scale of about 1; None for none.
        folds: folds of the fitted values, at least 2.
        draws: replays of a helper that draws random numbers. A mixture drawn once per episode
            (:meth:`selfreg_gym.Helper.episode_mixture`) needs none.
        min_effective: smallest effective number of episodes of a supported estimate.
        fixed_tasks: True: intervals for new episodes of the same tasks; False: for new tasks like these.
        deterministic: passed to ``helper.predict``.
        seed: seed of the folds.
        num_envs: number of episodes that are replayed at a time; it does not change the result.
        progress: called after each replayed episode with the number done and the total.

    Returns:
        The estimates. An estimate that the data do not support has ``supported=False`` and a reason.

    Raises:
        UnknownNameError: an unknown method.
        InvalidArgumentError: no episodes, an unknown help probability, an intervention that was never tried, or an
            argument out of range.
    """
    if isinstance(methods, str) or not len(methods):
        raise InvalidArgumentError(
            f"methods must be a sequence of at least one of {', '.join(METHODS)}, received {shown(methods)}."
        )
    for method in methods:
        check_name("off-policy method", method, METHODS)
    draws = check_count("draws", draws)
    min_effective = check_number("min_effective, a number of episodes,", min_effective)
    data = rollouts if isinstance(rollouts, Collected) else Collected.of(rollouts, inputs, folds, seed)
    logged = data.logged
    if isinstance(helper, np.ndarray):
        groups = [(1.0, [_checked_probabilities(helper, logged)])]
    else:
        options = {"deterministic": deterministic, "interventions": data.interventions, "num_envs": num_envs}
        groups = _policies(data, as_helper(helper, what="the helper"), draws, options, progress)
    fitted: list[Evaluated] = []
    parts: list[Part] = []
    for share, policies in groups:
        q = None
        if "fqe" in methods or "wdr" in methods:
            fitted.append(fitted_q(logged, data.inputs, np.mean(policies, axis=0), data.fold))
            q = fitted[-1].q
        for policy in policies:
            taken = np.take_along_axis(policy, logged.action[:, None], axis=1)[:, 0]
            parts.append(Part(share / len(policies), policy, importance_weights(logged, taken), q))
    weight = np.sum([part.share * part.weights[logged.last] for part in parts], axis=0)
    outside = float(sum(part.share * out_of_support(logged, part.policy, part.weights) for part in parts))
    total = max(float(weight.sum()), 1e-300)
    effective = total**2 / max(float(np.square(weight).sum()), 1e-300)
    design = _design(data.episodes, logged, fixed_tasks)
    mean = _mean_weight(weight, design)
    reason = _reason(effective, min_effective, outside, mean)
    made: dict[str, OffPolicyEstimate] = {}
    for method in methods:
        if method == "fqe":
            # A regression uses no weights, so it needs actions that were tried, but no minimum of effective episodes.
            untried = reason if outside > LARGEST_OUTSIDE else ""
            made[method] = _from_folds(fitted, [share for share, _ in groups], untried)
        else:
            estimator = weighted_doubly_robust if method == "wdr" else weighted_importance_sampling
            made[method] = _from_terms(method, estimator(logged, parts), design, reason)
    return OffPolicyEvaluation(
        estimates=made, effective_episodes=effective, episodes=logged.episodes, tasks=int(logged.task.max()) + 1,
        out_of_support=outside, largest_share=float(weight.max()) / total, freedom=design.freedom, mean_weight=mean,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Collected:
    """Collected episodes, prepared for the evaluation of any number of helpers.

    Attributes:
        episodes: the episodes.
        logged: their decisions.
        interventions: the names of the interventions; None where they are unknown.
        inputs: ``(n, F)`` sparse inputs of the fitted values.
        fold: ``(E,)`` the fold of each episode.
    """

    episodes: list[Episode]
    logged: Logged
    interventions: list[str] | None
    inputs: Any
    fold: np.ndarray

    @classmethod
    def of(cls, rollouts: Any, inputs: Any = None, folds: int = 10, seed: int = 0) -> Collected:
        """Read a store or episodes; the arguments are those of :func:`evaluate_off_policy`."""
        folds = check_count("folds", folds, low=2)
        episodes = read_episodes(rollouts)
        if len(episodes) < 2 * folds:
            raise InvalidArgumentError(
                f"off-policy evaluation needs two episodes per fold: received {len(episodes)} episodes, folds={folds}."
            )
        logged = Logged.of(episodes)
        if inputs is not None:
            inputs = _checked_inputs(inputs, len(logged.action))
        x = decision_inputs(episodes, logged, inputs)
        return cls(episodes, logged, _interventions_of(rollouts), x, folds_of(logged, folds, seed))


def _checked_inputs(inputs: Any, n: int) -> np.ndarray:
    """Further inputs of n decisions, float64 ``(n, D)``."""
    found = np.asarray(inputs, np.float64)
    if found.ndim != 2 or len(found) != n or not np.isfinite(found).all():
        raise InvalidArgumentError(
            f"inputs must be finite numbers (n, D) with one row per decision, n = {n}; received the shape {found.shape}"
            f"{'' if np.isfinite(found).all() else ' with NaN or infinity'}."
        )
    return found


def _interventions_of(rollouts: Any) -> list[str] | None:
    """The names of a store's interventions; None where they are unknown."""
    spec = getattr(rollouts, "spec", None)
    found = spec.get("env", {}).get("interventions") if isinstance(spec, dict) else None
    named = isinstance(found, list) and found and all(isinstance(name, str) for name in found)
    return list(found) if named else None  # type: ignore[arg-type]


def _policies(
    data: Collected, helper: Helper, draws: int, options: dict[str, Any],
    progress: Callable[[int, int], None] | None,
) -> list[tuple[float, list[np.ndarray]]]:  # fmt: skip
    """For each helper of the mixture its share, and the action probabilities ``(n, 1 + K)`` of each of its replays."""
    leaves = [leaf for leaf in _leaves(1.0, helper) if leaf[0] > 0]
    counts = [draws if random else 1 for _, _, random in leaves]
    total, done = sum(counts) * len(data.episodes), 0

    def count_one(_: Episode) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    groups = []
    for (share, one, _), count in zip(leaves, counts, strict=True):
        drawn = [replayed_actions(data.episodes, one, draw=i, on_episode=count_one, **options) for i in range(count)]
        groups.append((share, [np.eye(data.logged.interventions + 1)[actions] for actions in drawn]))
    return groups


def _leaves(share: float, helper: Helper) -> list[tuple[float, Helper, bool]]:
    """The helpers of a mixture that is drawn per episode: share, helper, and whether the helper itself is random."""
    mixture = helper.episode_mixture()
    if mixture is None:
        return [(share, helper, helper.draws_per_episode)]
    if len(mixture) == 1 and mixture[0][1] is helper:
        return [(share, helper, False)]
    return [leaf for weight, one in mixture for leaf in _leaves(share * weight, one)]


def _checked_probabilities(policy: np.ndarray, logged: Logged) -> np.ndarray:
    shape = (len(logged.action), logged.interventions + 1)
    if policy.shape != shape or not np.isfinite(policy).all() or (policy < 0).any():
        raise InvalidArgumentError(
            f"action probabilities must have shape {shape}, finite and not negative; received {policy.shape}."
        )
    if np.abs(policy.sum(axis=1) - 1).max() > 1e-6:
        raise InvalidArgumentError("action probabilities of a decision must sum to 1.")
    return policy.astype(np.float64)


def _mean_weight(weight: np.ndarray, design: Design) -> Estimate:
    """The mean of the episodes' importance weights ``(E,)``, with its 95 % interval."""
    own = design.contributions(weight[:, None])[:, 0]
    return _interval(float(weight.mean()), own, Z * widening(own, design.freedom))


def _reason(effective: float, least: float, outside: float, mean: Estimate) -> str:
    """The reason why the data do not support an estimate, or ""."""
    if outside > LARGEST_OUTSIDE:
        return (
            f"with probability {outside:.2f} the helper takes a sequence of actions that was never tried: collect "
            "with help probabilities between 0 and 1."
        )
    if effective < least:
        return (
            f"the importance weights leave {effective:.0f} effective episodes, fewer than {least:g}: collect more "
            "episodes, or episodes whose usage is nearer to the helper's."
        )
    # Its expectation is 1, less the probability of untried sequences. Below it, rare episodes with large weights are
    # missing from the sample, and so is their outcome: estimate and interval are those of the other episodes.
    if mean.high < 1 - outside:
        return (
            f"the importance weights have the mean {mean.value:.2f} (95 % interval up to {mean.high:.2f}), and their "
            "expectation is 1: episodes like those of the helper are too rare in the sample. Collect more episodes, "
            "or episodes whose usage is nearer to the helper's."
        )
    return ""


def _design(episodes: list[Episode], logged: Logged, fixed_tasks: bool) -> Design:
    """The units of the intervals: episodes within their tasks, or tasks within their kinds."""
    if fixed_tasks:
        return Design.of(logged.task)
    if int(logged.task.max()) == 0:  # one task is not a sample of tasks
        return Design.of(np.zeros(logged.episodes, np.int64))
    return Design.of([one.kind for one in episodes], logged.task)


def _from_terms(method: str, terms: Terms, design: Design, reason: str) -> OffPolicyEstimate:
    columns = _with_total(terms.value[None])[0], _with_total(terms.influence)
    contributions = design.contributions(columns[1] * len(terms.influence))
    estimates = [
        _interval(value, own, Z * widening(own, design.freedom))
        for value, own in zip(columns[0], contributions.T, strict=True)
    ]
    return _estimate(method, estimates, contributions, reason)


def _from_folds(fitted: list[Evaluated], shares: list[float], reason: str) -> OffPolicyEstimate:
    value = np.tensordot(shares, np.stack([one.value for one in fitted]), axes=1)
    left_out = np.tensordot(shares, np.stack([one.left_out for one in fitted]), axes=1)
    groups = len(left_out)
    centred = (left_out - left_out.mean(axis=0)) * np.sqrt((groups - 1) / groups)
    contributions = _with_total(centred)
    scale = Z * float(np.sqrt(student_factor(groups - 1)))
    estimates = [
        _interval(one, own, scale) for one, own in zip(_with_total(value[None])[0], contributions.T, strict=True)
    ]
    return _estimate("fqe", estimates, contributions, reason)


def _with_total(columns: np.ndarray) -> np.ndarray:
    """``(m, 2 + K)``: success, the sum over the interventions, and each intervention."""
    return np.concatenate([columns[:, :1], columns[:, 1:].sum(axis=1, keepdims=True), columns[:, 1:]], axis=1)


def _interval(value: float, contributions: np.ndarray, scale: float) -> Estimate:
    half = scale * float(np.sqrt(np.square(contributions).sum()))
    return Estimate(float(value), float(value - half), float(value + half))


def _estimate(method: str, estimates: list[Estimate], contributions: np.ndarray, reason: str) -> OffPolicyEstimate:
    success, usage, *each = estimates
    clipped = Estimate(*(min(max(number, 0.0), 1.0) for number in success))
    floors = [Estimate(*(max(number, 0.0) for number in one)) for one in (usage, *each)]
    return OffPolicyEstimate(
        method=method, success=clipped, usage=floors[0], usage_by_intervention=tuple(floors[1:]),
        supported=not reason, reason=reason, contributions=contributions[:, :2],
    )  # fmt: skip
