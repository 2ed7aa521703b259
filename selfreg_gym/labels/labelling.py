"""``label``: the action of the solution at every stored decision, as a training set for a helper that reads text.

One set has the labels of all budgets C, so that one helper, with C in its prompt, serves them all. A label has a weight
in the training loss,

    weight = 0.3 + 0.7 * min(1, |advantage| / scale),    advantage = dS - r dM,

where dS and dM are the changes of success and usage by the best help instead of nohelp, r is the help cost of the
budget, and ``scale`` is the 99th percentile of |advantage| among the decisions labelled for this budget.

The weight is our heuristic, not the effect of the choice on success: where help changes nothing (dS = 0, dM = 1) the
advantage is -r. At a high help cost a useless call thus weighs nearly as much as a decisive one, and at a low help cost
most of the weight is the 0.3 that every label has. If help was never tried in a state, its advantage is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.labels.label_set import Labels
from selfreg_gym.solver import Frontier, MixedPolicy, Solution
from selfreg_gym.solver.arguments import checked_number
from selfreg_gym.store.rollouts import Coded, Rollouts
from selfreg_gym.store.source import RolloutSource, checked_source
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.utils.arguments import check_name

__all__ = ["BUDGETS", "label"]

BUDGETS = (0.5, 1.0, 2.0, 3.0)
"""The budgets of the evaluation protocol, in cost units per episode."""

FLOOR = 0.3  # weight at advantage 0
QUANTILE = 0.99  # of |advantage|, gives weight 1; the maximum would depend on a few noisy states
_SCOPES = ("all", "trajectory")


def label(
    rollouts: RolloutSource,
    solution: Solution | MixedPolicy | Frontier,
    *,
    model: TransitionModel | None = None,
    budgets: Sequence[float] | None = None,
    scope: str = "all",
    merge: bool = False,
) -> Labels:
    """Label every stored decision with the action of the solution, for each budget. A call is one decision.

    The head of this module defines the weight. A mixture (two policies, one drawn per episode) gives one label where
    its policies agree; where they differ it gives two, each weighted by the share of its policy. Decisions in states
    that the model does not know get no label; ``info["unlabelled"]`` is their number.

    Args:
        rollouts: a store, or episodes. An incomplete store warns (:meth:`Rollouts.require_complete`).
        solution: a policy, a mixture, or a frontier, from which each budget's mixture is taken.
        model: the transition model that maps decisions to states; default: the solved one.
        budgets: C in cost units per episode, for a ``Frontier`` (default 0.5, 1, 2, 3). A single policy takes at most
            one, by which its labels are named; default: the budget for which it was solved, or its expected usage.
        scope: ``"all"``: every decision. ``"trajectory"``: the decisions that the policy itself could have reached:
            those of each rollout up to and including the first whose recorded action is not the policy's (nohelp in an
            unknown state). They are fewer and closer to those of the deployed helper; they are not reweighted by the
            probability that random help agrees with the policy.
        merge: merge labels with equal observation, budget and action (:meth:`Labels.merged`).

    Returns:
        The labels in the order of the rollouts; those of one decision are adjacent, by increasing budget.

    Raises:
        InvalidArgumentError: a model other than the solved one, invalid budgets or solution, or no decision in a
            known state.
        UnknownNameError: an unknown ``scope``.
    """
    check_name("scope", scope, _SCOPES)
    mixtures = _mixtures(solution, budgets)
    model = mixtures[0][1].model if model is None else model
    if (sizes := {len(policy.policy) for _, mixture in mixtures for policy in mixture.policies}) != {model.n}:
        found = f"the policies have {sizes} states and the model {model.n}"
        raise InvalidArgumentError(f"{found}: pass the model that was solved.")
    decisions = _decisions(rollouts)
    state = _locate(model, decisions)
    known = state >= 0
    if not known.any():
        raise InvalidArgumentError(
            f"the model knows none of the {len(state)} stored decisions: label the rollouts to which it was fitted."
        )
    parts, scale = [], {}
    for budget, mixture in mixtures:
        rows, *values, top = _of_mixture(mixture, decisions, state, reachable_only=scope == "trajectory")
        parts.append((rows, np.full(len(rows), budget), *values))
        scale[f"{budget:g}"] = top
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    rows, budget_of, action, weight, advantage = (column[order] for column in columns)
    labels = Labels(
        observation=Coded(decisions.observation.codes[rows], decisions.observation.values),
        budget=budget_of,
        action=action,
        weight=weight,
        advantage=advantage,
        plan_index=decisions.plan_index[rows],
        task_id=Coded(decisions.task_id.codes[rows], decisions.task_id.values),
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


class _Decisions(NamedTuple):
    """Columns of n stored decisions, episode by episode."""

    observation: Coded
    state_key: Coded
    feature_key: Coded
    steps_left: np.ndarray  # -1 if unknown
    action: np.ndarray
    plan_index: np.ndarray
    begins: np.ndarray  # index of the first decision of the same episode
    task_id: Coded


def _of_mixture(
    mixture: MixedPolicy, decisions: _Decisions, state: np.ndarray, *, reachable_only: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Labels of one budget: index of the decision, action, weight and advantage, ``(l,)`` each; and ``scale``."""
    known = state >= 0
    share = np.asarray(mixture.weights, np.float64)[:, None]  # (m, 1)
    policy = np.stack([np.where(known, one.policy[state], 0) for one in mixture.policies]).astype(np.int64)  # (m, n)
    advantage = np.stack([np.where(known, one.advantage[state], 0.0) for one in mixture.policies])
    share = np.where(known, share, 0.0)
    if reachable_only:  # all earlier recorded actions of the episode are the policy's
        before = np.pad(np.cumsum(decisions.action != policy, axis=1), ((0, 0), (1, 0)))  # disagreements, (m, n + 1)
        share = share * (before[:, :-1] == before[:, decisions.begins])
    used = share.sum(axis=0) > 0
    size = np.abs(advantage)
    average = (share * size).sum(axis=0)[used] / share.sum(axis=0)[used]
    top = float(np.quantile(average, QUANTILE)) if used.any() else 0.0
    weight = share * (FLOOR + (1 - FLOOR) * np.minimum(1.0, size / top if top > 0 else np.zeros_like(size)))
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


def _locate(model: TransitionModel, decisions: _Decisions) -> np.ndarray:
    """(n,) state of each decision, -1 if unknown to the model; equal decisions are looked up once."""
    by_text = model.fitted is not None and model.fitted.settings["key"] == "observation"
    state, feature = decisions.observation if by_text else decisions.state_key, decisions.feature_key
    features = len(feature.values) + 1
    left = decisions.steps_left + 1
    code = (state.codes * features + feature.codes + 1) * (int(left.max(initial=0)) + 1) + left
    _, first, group = np.unique(code, return_index=True, return_inverse=True)
    found = model.locate_many(
        [state.values[i] for i in state.codes[first].tolist()],
        [feature.values[i] if i >= 0 else None for i in feature.codes[first].tolist()],
        [i if i >= 0 else None for i in decisions.steps_left[first].tolist()],
    )
    return found[group.reshape(-1)]


def _mixtures(
    solution: Solution | MixedPolicy | Frontier, budgets: Sequence[float] | None
) -> list[tuple[float, MixedPolicy]]:
    """The budgets and their policies."""
    if budgets is not None:
        if isinstance(budgets, str) or np.ndim(budgets) != 1:
            what = "a list of numbers (cost units per episode)"
            raise InvalidArgumentError(f"budgets must be {what}, received {budgets!r}.")
        budgets = [checked_number("a budget, in cost units per episode,", budget, finite=True) for budget in budgets]
        if not budgets or len(set(budgets)) < len(budgets):
            raise InvalidArgumentError(f"budgets must be different finite numbers of at least 0, received {budgets}.")
    if isinstance(solution, Frontier):
        return [(budget, solution.policy(budget=budget)) for budget in budgets or BUDGETS]
    if isinstance(solution, Solution):
        solution = MixedPolicy((solution,), np.ones(1), solution.help_cost)
    if not isinstance(solution, MixedPolicy):
        raise InvalidArgumentError(
            f"solution must be a Solution, a MixedPolicy or a Frontier, received {type(solution).__name__}."
        )
    if budgets is not None and len(budgets) != 1:
        raise InvalidArgumentError(f"a single policy has one budget; for {budgets} pass the Frontier (solve_frontier).")
    own = solution.expected_usage if solution.budget is None else float(np.sum(solution.budget))
    return [(budgets[0] if budgets else own, solution)]


def _decisions(rollouts: RolloutSource) -> _Decisions:
    rollouts = checked_source(rollouts)
    if isinstance(rollouts, Rollouts):
        names = ("observation", "state_key", "feature_key", "steps_left", "action", "episode", "run", "task_id")
        columns: dict[str, Any] = rollouts.columns(*names, decisions=True)
        run, plan_index = columns.pop("run"), columns.pop("episode")
        columns["plan_index"] = plan_index
        new = np.r_[True, (np.diff(plan_index) != 0) | (np.diff(run) != 0)] if len(run) else np.zeros(0, bool)
    else:
        pairs = [(i, e, s) for i, e in enumerate(rollouts) for s in e.decisions]
        columns = {
            "observation": Coded.of([s.observation for _, _, s in pairs]),
            "state_key": Coded.of([s.state_key for _, _, s in pairs]),
            "feature_key": Coded.of([s.feature_key for _, _, s in pairs]),
            "steps_left": np.array([-1 if s.steps_left is None else s.steps_left for _, _, s in pairs], np.int64),
            "action": np.array([s.action for _, _, s in pairs], np.int64),
            "plan_index": np.array([i for i, _, _ in pairs], np.int64),
            "task_id": Coded.of([e.task_id for _, e, _ in pairs]),
        }
        new = np.array([s.t == 0 for _, _, s in pairs], bool)
    begins = np.flatnonzero(new)[np.cumsum(new) - 1] if len(new) else np.zeros(0, np.int64)
    return _Decisions(**columns, begins=begins)
