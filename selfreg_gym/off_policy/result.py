"""The result of an off-policy evaluation: estimates with intervals, and whether the data support them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.utils.arguments import check_name

__all__ = ["METHODS", "OffPolicyEstimate", "OffPolicyEvaluation", "OffPolicySupportError"]

METHODS = {
    "wdr": "weighted doubly robust",
    "wis": "weighted importance sampling",
    "fqe": "fitted-Q evaluation",
}
"""The methods, the recommended one first."""


class OffPolicySupportError(InvalidArgumentError):
    """An off-policy estimate that the collected episodes do not support."""


@dataclass(frozen=True, eq=False)
class OffPolicyEstimate:
    """The estimate of one method.

    Attributes:
        method: ``"wdr"``, ``"wis"`` or ``"fqe"``.
        success: success rate, with its 95 % interval.
        usage: cost units per episode, over all interventions.
        usage_by_intervention: cost units per episode of each of the K interventions.
        supported: whether the data support the estimate.
        reason: the reason if they do not, or "".
        contributions: ``(units, 2)`` contributions of the units (tasks or episodes) to success and usage. The variance
            of an estimate is the sum of the squares of its contributions. The contributions of a difference of two
            helpers on the same episodes are the differences of their contributions, which gives paired intervals.
    """

    method: str
    success: Estimate
    usage: Estimate
    usage_by_intervention: tuple[Estimate, ...]
    supported: bool
    reason: str
    contributions: np.ndarray

    def __str__(self) -> str:
        note = "" if self.supported else f"  NOT SUPPORTED: {self.reason}"
        return f"{self.method}: success {self.success}, usage {self.usage}{note}"


@dataclass(frozen=True, eq=False)
class OffPolicyEvaluation:
    """Estimates of one helper by several methods, from the same episodes.

    Attributes:
        estimates: by method.
        effective_episodes: the effective sample size ``(sum w)^2 / sum w^2`` of the episodes' importance weights (Kong
            1992).
        episodes, tasks: number of collected episodes, and of their tasks.
        out_of_support: the probability that the helper takes a sequence of actions that the collection never takes.
        largest_share: the largest share of one episode in the sum of the importance weights.
        freedom: degrees of freedom of the intervals of ``wis`` and ``wdr``.
        mean_weight: the mean of the importance weights, with its 95 % interval. Its expectation is 1 minus
            ``out_of_support``; a mean below it means that the rare episodes with large weights are missing.
    """

    estimates: dict[str, OffPolicyEstimate]
    effective_episodes: float
    episodes: int
    tasks: int
    out_of_support: float
    largest_share: float
    freedom: int
    mean_weight: Estimate

    def __getitem__(self, method: str) -> OffPolicyEstimate:
        """The estimate of a method, supported or not."""
        check_name("off-policy method", method, self.estimates)
        return self.estimates[method]

    @property
    def best(self) -> OffPolicyEstimate:
        """The first supported estimate in the order of ``METHODS``.

        Raises:
            OffPolicySupportError: none is supported.
        """
        for method in METHODS:
            if method in self.estimates and self.estimates[method].supported:
                return self.estimates[method]
        reason = next(iter(self.estimates.values())).reason
        raise OffPolicySupportError(f"no off-policy estimate is supported by the collected episodes: {reason}")

    def rows(self) -> list[dict[str, Any]]:
        """One row per method, in plain values, for tables and JSON."""
        return [
            {
                "method": one.method,
                "success": one.success.value,
                "success_ci": one.success.ci,
                "usage": one.usage.value,
                "usage_ci": one.usage.ci,
                "usage_by_intervention": [each.value for each in one.usage_by_intervention],
                "supported": one.supported,
                "reason": one.reason,
                "effective_episodes": self.effective_episodes,
                "out_of_support": self.out_of_support,
                "largest_share": self.largest_share,
                "mean_weight": self.mean_weight.value,
            }
            for one in self.estimates.values()
        ]

    def __str__(self) -> str:
        head = (
            f"off-policy evaluation: {self.episodes} episodes of {self.tasks} tasks, effectively "
            f"{self.effective_episodes:.0f}"
        )
        return "\n".join([head, *(f"  {one}" for one in self.estimates.values())])
