"""``choose_model``: settings of the transition model, compared by what their policies achieve on held-out episodes.

A likelihood says how well a model predicts, and not how good its policy is. Here the model is fitted and solved on all
folds but one, at several help costs r, and its policies are evaluated on the fold left out with the weighted doubly
robust estimate (:mod:`selfreg_gym.off_policy.estimators`). The values that it needs are those of the fitted model, so
nothing else is fitted. Success at a budget is read off between neighbouring r. Settings are compared on the same
episodes, so differences are paired. The regret of a setting is its shortfall against the best one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError, shown
from selfreg_gym.evaluation.bootstrap import Design, Estimate
from selfreg_gym.off_policy.behaviour import importance_weights
from selfreg_gym.off_policy.curves import Curve, estimate_of
from selfreg_gym.off_policy.estimators import Part, weighted_doubly_robust
from selfreg_gym.off_policy.fitted_q import folds_of
from selfreg_gym.off_policy.logged import Logged, read_episodes
from selfreg_gym.solver import Solution, solve
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode
from selfreg_gym.utils.arguments import check_count, check_numbers

__all__ = ["ModelChoice", "choose_model"]

PRICES = (2.0, 0.7, 0.5, 0.4, 0.3, 0.2, 0.14, 0.1, 0.07, 0.05, 0.03, 0.015, 0.0)
"""Help costs r of the compared policies, from never asking to asking wherever it helps."""


@dataclass(frozen=True, eq=False)
class ModelChoice:
    """The chosen settings, and the held-out estimates of all.

    Attributes:
        name: the settings of largest mean success over the budgets.
        budgets: ``(m,)`` cost units per episode.
        success: by name, the held-out success at each budget, with its 95 % interval.
        difference: by name, the mean over the budgets minus that of the chosen settings, on the same episodes.
    """

    name: str
    budgets: tuple[float, ...]
    success: dict[str, tuple[Estimate, ...]]
    difference: dict[str, Estimate]

    def rows(self) -> list[dict[str, Any]]:
        """One row per setting, best first, in plain values."""
        names = sorted(self.success, key=lambda name: -self.difference[name].value)
        return [
            {
                "settings": name,
                **{f"success at {c:g}": one.value for c, one in zip(self.budgets, self.success[name], strict=True)},
                "difference": self.difference[name].value,
                "difference_ci": self.difference[name].ci,
            }
            for name in names
        ]


def choose_model(
    rollouts: Any,
    settings: Mapping[str, Mapping[str, Any]],
    *,
    budgets: Sequence[float] = (1.0, 2.0, 3.0),
    new_tasks: bool = True,
    folds: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ModelChoice:
    """Choose the settings of a transition model by held-out regret.

    Args:
        rollouts: a store or episodes with random help.
        settings: by name, arguments of :meth:`selfreg_gym.TransitionModel.fit`.
        budgets: cost units per episode, of equal weight.
        new_tasks: the folds are of whole tasks, for a policy that is used on new tasks; False: of episodes of the same
            tasks.
        folds: number of folds, at least 2.
        seed: seed of the folds.
        progress: called after each fit with the number done and the total.

    Returns:
        The name of the chosen settings, and the held-out success of all settings.

    Raises:
        InvalidArgumentError: no settings, or too few episodes.
        UnknownNameError: a setting that ``TransitionModel.fit`` does not have.
    """
    if not isinstance(settings, Mapping) or not settings:
        raise InvalidArgumentError(
            "a choice needs at least one set of arguments of TransitionModel.fit, as a dict from names to dicts; "
            f"received {shown(settings)}."
        )
    known = [name for name in inspect.signature(TransitionModel.fit).parameters if name != "episodes"]
    for arguments in settings.values():
        for name in arguments:
            if name not in known:
                raise UnknownNameError("argument of TransitionModel.fit", name, known)
    budgets = check_numbers("budgets", budgets, high=1e12)
    folds = check_count("folds", folds, low=2)
    episodes = read_episodes(rollouts)
    logged = Logged.of(episodes)
    if logged.episodes < 2 * folds:
        raise InvalidArgumentError(f"{folds} folds need at least {2 * folds} episodes, received {logged.episodes}.")
    fold = folds_of(logged, folds, seed)
    if not new_tasks:
        fold = np.random.default_rng(seed).permutation(logged.episodes) % folds
    design = Design.of([one.kind for one in episodes], logged.task) if new_tasks else Design.of(logged.task)
    read: dict[str, list[tuple[float, np.ndarray]]] = {}
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(settings) * folds)

    for name, arguments in settings.items():
        curve = _held_out_curve(episodes, logged, fold, dict(arguments), design, report)
        read[name] = [curve.at(budget)[:2] for budget in budgets]
    means = {name: float(np.mean([value for value, _ in points])) for name, points in read.items()}
    parts = {name: np.mean([own for _, own in points], axis=0) for name, points in read.items()}
    best = max(means, key=lambda name: means[name])
    return ModelChoice(
        name=best,
        budgets=tuple(budgets),
        success={name: tuple(estimate_of(*one, design.freedom) for one in points) for name, points in read.items()},
        difference={
            name: estimate_of(means[name] - means[best], parts[name] - parts[best], design.freedom) for name in read
        },
    )


def _held_out_curve(
    episodes: list[Episode], logged: Logged, fold: np.ndarray, arguments: dict[str, Any], design: Design,
    report: Callable[[], None],
) -> Curve:  # fmt: skip
    """The estimates of the policies of one setting, each decision by the model of the other folds."""
    n, actions = len(logged.action), logged.interventions + 1
    policies = np.zeros((len(PRICES), n), np.int64)
    q = np.zeros((len(PRICES), n, actions, 2))
    steps = [step for one in episodes for step in one.decisions]
    for g in range(int(fold.max()) + 1):
        model = TransitionModel.fit([one for one, own in zip(episodes, fold, strict=True) if own != g], **arguments)
        mine = np.flatnonzero((fold == g)[logged.episode])
        keys = [(steps[i].state_key, steps[i].feature_key, steps[i].steps_left) for i in mine]
        place = model.locate_many(*zip(*keys, strict=True))
        for i, price in enumerate(PRICES):
            solution = solve(model, help_cost=price)
            policies[i, mine] = np.where(place >= 0, solution.policy[np.maximum(place, 0)], 0)
            q[i, mine] = _values(solution, place, actions)
        report()
    outcome = np.stack([logged.outcome[:, 0], logged.outcome[:, 1:].sum(axis=1)], axis=1)
    own = replace(logged, outcome=outcome)
    points, contributions = [], []
    for i in range(len(PRICES)):
        policy = np.eye(actions)[policies[i]]
        weights = importance_weights(own, (policies[i] == own.action).astype(float))
        terms = weighted_doubly_robust(own, [Part(1.0, policy, weights, q[i])])
        points.append(terms.value[[1, 0]])
        contributions.append(design.contributions(terms.influence * logged.episodes))
    return Curve(np.stack(points), np.stack(contributions))


def _values(solution: Solution, place: np.ndarray, actions: int) -> np.ndarray:
    """``(n, A, 2)`` S and M of each action; the values of the policy where an action is not available."""
    out = np.zeros((len(place), actions, 2))
    known = place >= 0
    at = np.maximum(place, 0)
    for j, (own, by_action) in enumerate(
        ((solution.success, solution.success_by_action), (solution.usage, solution.usage_by_action))
    ):
        count = min(actions, len(by_action))
        values = by_action[:count, at].T
        out[:, :count, j] = np.where(known[:, None], np.where(np.isnan(values), own[at][:, None], values), 0.0)
        out[~known, :, j] = own[solution.model.start > 0].mean()
    return out
