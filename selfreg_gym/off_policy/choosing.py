"""``choose``: the best of several helpers at a budget, by off-policy estimates, without playing.

A candidate is a helper, or the same helper at several knobs. Its success at a budget C is interpolated between the
two estimates of neighbouring usage; a coin per episode between the two policies attains it. Never asking and always
asking are points of every candidate's curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.off_policy.curves import Curve, estimate_of
from selfreg_gym.off_policy.evaluating import Collected, evaluate_off_policy
from selfreg_gym.off_policy.result import METHODS, OffPolicyEvaluation, OffPolicySupportError
from selfreg_gym.utils.arguments import check_name, check_number

__all__ = ["Candidate", "Choice", "choose"]

RULES = ("lower", "estimate")


@dataclass(frozen=True, eq=False)
class Candidate:
    """The estimate of a candidate at the budget.

    Attributes:
        name: its name.
        success: at the budget, with its 95 % interval.
        points: ``(m, 2)`` estimated usage and success of its helpers, in the given order.
        difference: success minus that of the chosen candidate, on the same episodes.
        supported: whether the data support the estimates between which the success is interpolated.
        reason: the reason if they do not, or "".
    """

    name: str
    success: Estimate
    points: np.ndarray
    difference: Estimate
    supported: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen candidate, and the estimates of all.

    Attributes:
        name: of the chosen candidate.
        budget: C, cost units per episode.
        candidates: all candidates, best first.
    """

    name: str
    budget: float
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        lines = [f"at a budget of {self.budget:g} cost units per episode: {self.name}"]
        lines += [
            f"  {one.name}: success {one.success}" + ("" if one.supported else f"  NOT SUPPORTED: {one.reason}")
            for one in self.candidates
        ]
        return "\n".join(lines)


def choose(
    rollouts: Any,
    candidates: Mapping[str, Any],
    *,
    budget: float,
    by: str = "lower",
    method: str = "wdr",
    folds: int = 10,
    seed: int = 0,
    **options: Any,
) -> Choice:
    """Choose the best of several helpers, solutions or epochs at a budget.

    Args:
        rollouts: a store or episodes on which none of the candidates was trained.
        candidates: by name, a helper (or action probabilities ``(n, 1 + K)``), or a sequence of them: the same helper
            at several knobs.
        budget: C, cost units per episode.
        by: the rule: ``"lower"`` is the largest lower bound of the 95 % interval, ``"estimate"`` the largest estimate.
        method: the method of the estimates, one of ``METHODS``.
        folds, seed: of the fitted values.
        **options: further arguments of :func:`evaluate_off_policy`, without ``methods``.

    Returns:
        The name of the chosen candidate, and the estimates of all candidates at the budget, best first.

    Raises:
        InvalidArgumentError: no candidates, or an argument out of range.
        UnknownNameError: an unknown method or rule.
        OffPolicySupportError: the data support no candidate.
    """
    budget = check_number("a budget C (cost units per episode)", budget)
    check_name("rule of a choice", by, RULES)
    check_name("off-policy method", method, METHODS)
    if not isinstance(candidates, Mapping) or not candidates:
        raise InvalidArgumentError(
            f"a choice needs at least one candidate, as a dict from names to helpers; received {shown(candidates)}."
        )
    for name, helpers in candidates.items():
        if _several(helpers) and not len(helpers):
            raise InvalidArgumentError(f"the candidate {shown(name)} needs at least one helper, received none.")
    data = Collected.of(rollouts, options.pop("inputs", None), folds, seed)
    n, actions = len(data.logged.action), data.logged.interventions + 1

    def evaluate(helper: Any) -> OffPolicyEvaluation:
        return evaluate_off_policy(data, helper, methods=(method,), **options)

    ends = [evaluate(np.eye(actions)[np.full(n, a)]) for a in range(actions)]
    read: dict[str, _Read] = {}
    for name, helpers in candidates.items():
        own = [evaluate(helper) for helper in (helpers if _several(helpers) else [helpers])]
        read[name] = _read(own, ends, method, budget)
    names = sorted(read, key=lambda name: read[name].order(by), reverse=True)
    best = read[names[0]]
    if best.reason:
        raise OffPolicySupportError(f"the collected episodes support no candidate at budget {budget:g}: {best.reason}")
    found = []
    for name in names:
        one = read[name]
        apart = estimate_of(one.value - best.value, one.contributions - best.contributions, one.freedom)
        found.append(Candidate(name, one.success, one.points, apart, not one.reason, one.reason))
    return Choice(names[0], budget, tuple(found))


def _several(helpers: Any) -> bool:
    """Whether a candidate is a sequence of helpers."""
    return isinstance(helpers, Sequence) and not isinstance(helpers, str)


@dataclass(frozen=True, eq=False)
class _Read:
    """Success of a candidate at the budget, its contributions ``(units,)``, and the points ``(m, 2)`` of its curve."""

    value: float
    contributions: np.ndarray
    points: np.ndarray
    freedom: int
    reason: str

    @property
    def success(self) -> Estimate:
        return estimate_of(self.value, self.contributions, self.freedom)

    def order(self, by: str) -> tuple[bool, float]:
        return not self.reason, self.success.low if by == "lower" else self.value


def _read(own: list[OffPolicyEvaluation], ends: list[OffPolicyEvaluation], method: str, budget: float) -> _Read:
    """Interpolate success at the budget, with the contributions of the two neighbours (the delta method)."""
    estimates = [one[method] for one in (*own, *ends)]
    usage = np.array([one.usage.value for one in estimates])
    success = np.array([one.success.value for one in estimates])
    points = np.stack([usage, success], axis=1)[: len(own)]
    freedom = own[0].freedom if method != "fqe" else len(estimates[0].contributions) - 1
    curve = Curve(np.stack([usage, success], axis=1), np.stack([one.contributions for one in estimates]))
    value, contributions, read_off = curve.at(budget)
    reason = next((estimates[i].reason for i in read_off if estimates[i].reason), "")
    return _Read(value, contributions, points, freedom, reason)
