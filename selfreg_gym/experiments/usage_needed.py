"""The least usage at which a helper has 95 % of the success of always asking, or of the gap."""

from __future__ import annotations

import numpy as np

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate, Floats
from selfreg_gym.evaluation.curve_estimates import first_usage
from selfreg_gym.evaluation.paired import means

__all__ = ["usage_reaching"]

ENOUGH = 0.95
"""Share of the success of always asking, or of the gap, that counts as enough."""


def usage_reaching(evaluation: Evaluation, split: str, helper: str, *, of_gap: bool = False) -> Estimate:
    """The least usage at which a helper's isotonic curve reaches 95 % of the success of always asking, or of the gap.

    Args:
        evaluation: contains ``never``, ``always`` and the helper on the split.
        split: its name.
        helper: the helper's name.
        of_gap: True: 95 % of the gap; False: 95 % of the success of always asking.

    Returns:
        The usage with its 95 % bootstrap interval over tasks; infinite where always asking has no success.
    """
    results = evaluation.results(split)
    never, always = results.anchors
    points = [never, *results.points(helper), always]
    found = means(results.table, [(one, measure) for measure in ("usage", "success") for one in points])
    draws = _crossing(found[:, : len(points)], found[:, len(points) :], of_gap=of_gap)
    low, high = np.quantile(draws[1:], [0.025, 0.975], method="inverted_cdf")  # interpolates no infinite value
    return Estimate(float(draws[0]), float(low), float(high))


def _crossing(usage: Floats, success: Floats, *, of_gap: bool) -> Floats:
    """``(B,)`` usages at which curves ``(B, m)`` from never to always first reach the wanted success.

    Infinite where always asking has no success, or does not help.
    """
    never, always = success[:, 0], success[:, -1]
    wanted = never + ENOUGH * (always - never) if of_gap else ENOUGH * always
    return np.where(always > 0, first_usage(usage, success, wanted), np.inf)
