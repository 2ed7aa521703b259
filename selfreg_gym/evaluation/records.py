"""The records of ``evaluation.json``. None stands for a number that is unknown, undefined or infinite."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import numpy as np

from selfreg_gym.evaluation.bootstrap import Estimate

__all__ = [
    "Comparison",
    "CurveRecord",
    "Expectation",
    "HelperSelection",
    "Interval",
    "KnobSelection",
    "ResultRow",
    "Selections",
    "Trace",
    "ValidatedHelper",
    "plain",
]

Interval = list[Any]
"""``[low, high]`` at the 95 % level, floats; an end that is None has no bound."""


class ResultRow(TypedDict):
    """A helper at a budget, on the episodes of one kind in one split. Usage is in cost units per episode."""

    helper: str  # id; with ":INTERVENTION" if it is compared once for each intervention
    intervention: str | None  # that it always asks
    kind: str  # "all", or a kind of task
    split: str
    seed: int | None  # training seed; None: all of them
    budget: float | None
    episodes: int
    success_rate: float | None
    success_rate_ci: Interval
    usage: float | None
    usage_ci: Interval
    expected_usage: float | None  # by the helper
    expected_success: float | None
    invalid_rate: float | None  # share of episodes with an invalid action
    toggles: float | None  # returns to help per episode
    unseen_state_rate: float | None  # share of decisions in states that the helper does not know
    calibrated_usage: float | None  # on the training episodes that set the knob
    calibrated_success: float | None
    key: str  # of the helper: NAME, NAME@BUDGET or NAME@BUDGET#SEED
    switches: float | None  # changes between help and nohelp per episode
    invalid_after_help: float | None  # share of episodes
    step_share: float | None  # share of steps with help
    episode_share: float | None  # share of episodes with help
    p_over_budget: float | None  # share of episodes that use more than the budget
    length: float | None  # steps per episode
    spl: float | None  # success weighted by path length
    calls: float | None  # calls per episode, of one or several steps each
    calls_ci: Interval
    usage_by_intervention: list[float | None]  # (K,)
    calls_by_intervention: list[float | None]  # (K,)
    extra_actor_calls: float | None  # per episode, for the helper's decision at steps where help was given
    abort_rate: float | None  # share of aborted episodes
    errors: int  # truncated episodes, excluded from all other numbers


class EstimateRecord(TypedDict):
    """A value with its interval."""

    value: Any  # a float, or None
    ci: Interval


class Comparison(TypedDict):
    """The fields of :class:`selfreg_gym.evaluation.comparison.Recovery`, and toggles at equal usage."""

    key: str
    helper: str
    split: str
    kind: str
    budget: float | None
    share: EstimateRecord
    usage: float
    measured_usage: float
    adjusted: bool
    coin: float | None
    over_coin: EstimateRecord
    random: EstimateRecord | None
    over_random: EstimateRecord | None
    toggles_against_prm_threshold: NotRequired[dict[str, Any]]  # a threshold on p(s) whose usage is nearest


class CurveRecord(TypedDict):
    """A helper's curve between the anchors, see :mod:`selfreg_gym.evaluation.curve_estimates`."""

    split: str
    helper: str
    points: int
    area: float | None
    area_ci: Interval
    usage_for_half: float | None  # of the gap; None: not reached
    usage_for_half_ci: Interval
    usage_for_80_percent: float | None
    usage_for_80_percent_ci: Interval
    best_lift: float | None
    best_lift_ci: Interval
    largest_gap: float  # between neighbouring points, as a share of the usage axis
    missing_usages: list[float]  # to evaluate next, so that it is at most 5 %


class HelperSelection(TypedDict):
    """The choice of a helper at a budget, by calibration and by an oracle. Shares are of the gap."""

    split: str
    budget: float
    among: list[str]
    selected: str
    calibrated_success: float
    share: float
    oracle: str
    oracle_share: float
    lost: float  # oracle_share - share


class ValidatedHelper(TypedDict):
    """A helper at a budget C on validation tasks, see :mod:`selfreg_gym.evaluation.choice`."""

    helper: str
    success: EstimateRecord  # at C; the mean over the splits
    difference: EstimateRecord  # to the best helper, paired
    usage: float  # of its point nearest to C, cost units per episode
    shares: dict[str, float | None]  # of the gap at C, by split


class KnobSelection(TypedDict):
    """A point at a budget, and its helper's curve at that budget."""

    split: str
    key: str
    budget: float
    usage: float
    share: float
    oracle_share: float


class Selections(TypedDict):
    """Choices of a helper and of a knob."""

    helpers: list[HelperSelection]
    knobs: list[KnobSelection]


class Trace(TypedDict):
    """The steps of an episode."""

    split: str
    key: str
    task: int  # task index
    task_id: str
    seed: int
    kind: str
    success: bool
    usage: float
    steps: list[dict[str, Any]]  # t, action, text, invalid and p = p(s) before the step


class Expectation(TypedDict, total=False):
    """What a helper is expected to use (cost units per episode) and to reach."""

    usage: float
    success: float
    calibrated_usage: float
    calibrated_success: float


def plain(value: Any) -> Any:
    """The JSON form: estimates as :class:`EstimateRecord`, numbers that are not finite as None."""
    if isinstance(value, Estimate):
        return {"value": plain(value.value), "ci": [plain(end) for end in value.ci]}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
