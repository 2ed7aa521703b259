"""``label``: what the solution does in each collected moment, as a training set for a helper that reads text.

    label = (observation, budget C) -> nohelp or help, weight

One set holds all budgets, so that one helper, with C in its prompt, serves them all.

The weight is a heuristic for training, not a measure of how much the choice matters for success. It rises with
``|advantage| = |dS - r dM|``, what the best help gains or loses over nohelp *at the price r of the budget*, from 0.3
(no difference) to 1 (the 99th percentile). The price itself is a part of it: where help changes nothing (dS = 0) and
costs a call, the advantage is -r. So at a high price a call of no use has nearly the weight of one that decides the
episode, and at a low price most of the weight is the 0.3 that every label has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.labels.label_set import Labels
from selfreg_gym.solver import Frontier, MixedPolicy, Solution
from selfreg_gym.solver.arguments import checked_number
from selfreg_gym.store.rollouts import Coded, Rollouts
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode

__all__ = ["BUDGETS", "label"]

BUDGETS = (0.5, 1.0, 2.0, 3.0)
"""The budgets of the evaluation protocol, in cost units per episode."""

_FLOOR = 0.3  # weight of a label whose advantage is 0; the rest of 1 rises with the size of the advantage
_QUANTILE = 0.99  # the advantage that counts as 1: the largest of a few estimated states would flatten all others
_SCOPES = ("all", "trajectory")


def label(
    rollouts: Rollouts | Iterable[Episode],
    solution: Solution | MixedPolicy | Frontier,
    *,
    model: TransitionModel | None = None,
    budgets: Sequence[float] | None = None,
    scope: str = "all",
    merge: bool = False,
) -> Labels:
    """Label every stored decision with what the solution does there, at each budget.

    The weight of a label is ``0.3 + 0.7 * min(1, |advantage| / scale)``, where ``scale`` is the 99th percentile of
    |advantage| among the decisions labelled for the same budget (the prices behind budgets differ, so each has its
    own). The advantage is S - r M of the best help minus that of nohelp, so it includes the price r of the call; the
    limits of this weight are described at the head of this module. Where help was never tried its advantage is 0, so
    the label (nohelp) has the least weight.

    At a mixture (two policies and a coin per episode) each policy contributes with its share of the weight. Where they
    agree that is one label; where they differ (decisions in which help is just worth its price) it is two.

    A moment whose state the model does not know gets no label; ``info["unlabelled"]`` counts them.

    Args:
        rollouts: a store, or episodes. A store that is not complete warns (:meth:`Rollouts.require_complete`).
        solution: one policy, a mixture, or the frontier to take each budget's mixture from.
        model: where to look states up; default: the one that was solved.
        budgets: C in cost units per episode, with a ``Frontier`` (default 0.5, 1, 2, 3). With a single policy at most
            one, its name in the labels; default: the budget it was solved for, or its expected usage.
        scope: ``"all"``: every decision. ``"trajectory"``: decisions that the policy itself would have reached, that is
            those of each rollout up to and including the first in which the recorded action is not the policy's (an
            unknown state counts as nohelp). They are fewer and nearer to what the helper will meet; they are not
            reweighted for how likely random help was to agree for so long.
        merge: put labels with the same observation, budget and action together (:meth:`Labels.merged`).

    Returns:
        The labels in the order of the rollouts; those of one moment stand together, by rising budget.

    Raises:
        InvalidArgumentError: a model that was not the one solved, bad budgets, something else than a solution, or no
            moment that the model knows.
        UnknownNameError: an unknown ``scope``.
    """
    if scope not in _SCOPES:
        raise UnknownNameError("scope", scope, _SCOPES)
    mixtures = _mixtures(solution, budgets)
    model = mixtures[0][1].model if model is None else model
    sizes = {len(policy.policy) for _, mixture in mixtures for policy in mixture.policies}
    if sizes != {model.n}:
        raise InvalidArgumentError(
            f"the policies are of {sizes} states and the model has {model.n}: pass the model that was solved."
        )
    moments = _moments(rollouts)
    state = _locate(model, moments)
    known = state >= 0
    if not known.any():
        raise InvalidArgumentError(
            f"the model knows none of the {len(state)} stored decisions: label the rollouts that it was fitted on."
        )
    parts, scale = [], {}
    for budget, mixture in mixtures:
        rows, action, weight, advantage, top = _of_mixture(mixture, moments, state, scope == "trajectory")
        parts.append((rows, np.full(len(rows), budget), action, weight, advantage))
        scale[f"{budget:g}"] = top
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    rows, budget_of, action, weight, advantage = (column[order] for column in columns)
    labels = Labels(
        observation=Coded(moments.observation.codes[rows], moments.observation.values),
        budget=budget_of,
        action=action,
        weight=weight,
        advantage=advantage,
        episode=moments.episode[rows],
        task_id=Coded(moments.task_id.codes[rows], moments.task_id.values),
        info={
            "source": rollouts.path.name if isinstance(rollouts, Rollouts) else "episodes",
            "scope": scope,
            "budgets": [budget for budget, _ in mixtures],
            "transitions": len(state),
            "unlabelled": int((~known).sum()),
            "scale": scale,
            "merged": False,
        },
    )
    return labels.merged() if merge else labels


class _Moments(NamedTuple):
    """The stored transitions as columns of n rows, episode by episode."""

    observation: Coded
    state_key: Coded
    feature_key: Coded
    steps_left: np.ndarray  # -1 where there is none
    action: np.ndarray
    episode: np.ndarray
    begins: np.ndarray  # index of the first row of the row's episode
    task_id: Coded


def _of_mixture(
    mixture: MixedPolicy, moments: _Moments, state: np.ndarray, along: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """The labels of one budget: row of each, action, weight, advantage; and the advantage that counts as 1."""
    known = state >= 0
    share = np.asarray(mixture.weights, np.float64)[:, None]  # (m, 1)
    policy = np.stack([np.where(known, one.policy[state], 0) for one in mixture.policies]).astype(np.int64)  # (m, n)
    advantage = np.stack([np.where(known, one.advantage[state], 0.0) for one in mixture.policies])
    share = np.where(known, share, 0.0)
    if along:
        share = share * np.stack([_along(moments, own) for own in policy])
    met = share.sum(axis=0) > 0
    size = np.abs(advantage)
    average = (share * size).sum(axis=0)[met] / share.sum(axis=0)[met]
    top = float(np.quantile(average, _QUANTILE)) if met.any() else 0.0
    weight = share * (_FLOOR + (1 - _FLOOR) * np.minimum(1.0, size / top if top > 0 else np.zeros_like(size)))
    parts = []
    for action in np.unique(policy):
        mine = np.where(policy == action, share, 0.0)
        total = mine.sum(axis=0)
        rows = np.flatnonzero(total > 0)
        own = np.where(policy == action, weight, 0.0).sum(axis=0)[rows]
        gain = (mine * advantage).sum(axis=0)[rows] / total[rows]
        parts.append((rows, np.full(len(rows), action, np.int64), own, gain))
    rows, actions, weights, gains = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rows, actions, weights, gains, top


def _along(moments: _Moments, policy: np.ndarray) -> np.ndarray:
    """(n,) bool: whether all recorded actions before this one in its episode are the policy's."""
    before = np.concatenate(([0], np.cumsum(moments.action != policy)))  # disagreements before each row
    return before[:-1] == before[moments.begins]


def _locate(model: TransitionModel, moments: _Moments) -> np.ndarray:
    """(n,) state of each moment, -1 where the model knows none; each distinct moment is looked up once."""
    fitted = getattr(model, "fitted", None)
    by_text = fitted is not None and fitted.settings["key"] == "observation"
    state, feature = moments.observation if by_text else moments.state_key, moments.feature_key
    features = len(feature.values) + 1
    left = moments.steps_left + 1
    code = (state.codes * features + feature.codes + 1) * (int(left.max(initial=0)) + 1) + left
    _, first, group = np.unique(code, return_index=True, return_inverse=True)
    found = model.locate_many(
        [state.values[i] for i in state.codes[first].tolist()],
        [feature.values[i] if i >= 0 else None for i in feature.codes[first].tolist()],
        [i if i >= 0 else None for i in moments.steps_left[first].tolist()],
    )
    return np.asarray(found, np.int64)[group.reshape(-1)]


def _mixtures(
    solution: Solution | MixedPolicy | Frontier, budgets: Sequence[float] | None
) -> list[tuple[float, MixedPolicy]]:
    """Each budget with its policies."""
    if budgets is not None:
        if isinstance(budgets, str) or np.ndim(budgets) != 1:
            raise InvalidArgumentError(f"budgets is a list of numbers, cost units per episode; received {budgets!r}.")
        budgets = [checked_number("a budget, in cost units per episode,", budget, finite=True) for budget in budgets]
        if not budgets or len(set(budgets)) < len(budgets) or not all(0 <= c < np.inf for c in budgets):
            raise InvalidArgumentError(f"budgets are different finite numbers of at least 0, received {budgets}.")
    if isinstance(solution, Frontier):
        return [(budget, solution.policy(budget=budget)) for budget in budgets or BUDGETS]
    if isinstance(solution, Solution):
        solution = MixedPolicy((solution,), np.ones(1), solution.help_cost)
    if not isinstance(solution, MixedPolicy):
        raise InvalidArgumentError(
            f"label needs a Solution, a MixedPolicy or a Frontier, received {type(solution).__name__}."
        )
    if budgets is not None and len(budgets) != 1:
        raise InvalidArgumentError(f"one policy has one budget; for {budgets} pass the Frontier (solve_frontier).")
    own = solution.expected_usage if solution.budget is None else float(np.sum(solution.budget))
    return [(budgets[0] if budgets else own, solution)]


def _moments(rollouts: Rollouts | Iterable[Episode]) -> _Moments:
    if isinstance(rollouts, Rollouts):
        rollouts.require_complete()
        names = ("observation", "state_key", "feature_key", "steps_left", "action", "episode", "run", "task_id")
        columns: dict[str, Any] = rollouts.columns(*names)
        run = columns.pop("run")
        new = np.r_[True, (np.diff(columns["episode"]) != 0) | (np.diff(run) != 0)] if len(run) else np.zeros(0, bool)
    else:
        pairs = [(i, e, s) for i, e in enumerate(e for e in rollouts if e.error is None) for s in e.steps]
        columns = {
            "observation": Coded.of([s.observation for _, _, s in pairs]),
            "state_key": Coded.of([s.state_key for _, _, s in pairs]),
            "feature_key": Coded.of([s.feature_key for _, _, s in pairs]),
            "steps_left": np.array([-1 if s.steps_left is None else s.steps_left for _, _, s in pairs], np.int64),
            "action": np.array([s.action for _, _, s in pairs], np.int64),
            "episode": np.array([i for i, _, _ in pairs], np.int64),
            "task_id": Coded.of([e.task_id for _, e, _ in pairs]),
        }
        new = np.array([s.t == 0 for _, _, s in pairs], bool)
    begins = np.flatnonzero(new)[np.cumsum(new) - 1] if len(new) else np.zeros(0, np.int64)
    return _Moments(**columns, begins=begins)
