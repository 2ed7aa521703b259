"""Off-policy evaluation of collections with calls of several steps: one decision per call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from corridor import CELLS, SUBGOALS, exact, played

from selfreg_gym.off_policy import evaluate_off_policy
from selfreg_gym.off_policy.logged import Logged
from selfreg_gym.off_policy.replay import replayed_actions
from selfreg_gym.registry import load
from selfreg_gym.solver import evaluate_policy
from selfreg_gym.transitions.calls import with_calls

ASKS = (0, 3)
"""Cells in which the helper calls."""


def rule(text: str) -> int:
    return int(int(text.split("cell ")[1][0]) in ASKS)


@pytest.mark.parametrize(("duration", "cost_per"), [(3, "call"), ("subgoal", "step")])
def test_estimates_are_those_of_the_exact_model(duration: Any, cost_per: Any) -> None:
    episodes = played(duration, cost_per, 2500)
    model = with_calls(exact(), [duration], costs_per=[cost_per], subgoals=SUBGOALS)
    policy = np.zeros((model.levels, model.nodes), np.int8)
    policy[:, list(ASKS)] = 1
    truth = evaluate_policy(model, policy.ravel())
    found = evaluate_off_policy(episodes, rule, fixed_tasks=True)
    for method in ("wdr", "wis", "fqe"):
        assert found[method].supported
        for estimate, value in (
            (found[method].success, truth.expected_success),
            (found[method].usage, truth.expected_usage),
        ):
            assert abs(estimate.value - value) <= estimate.high - estimate.low  # twice the half width
            assert estimate.high - estimate.low < 0.35


def test_a_helper_is_asked_at_every_step_and_answers_at_decisions() -> None:
    episodes = played("subgoal", "step", 40)
    answers = replayed_actions(episodes, load("helpers", "every-k")(2))
    expected = [decision.t % 2 for one in episodes for decision in one.decisions]
    assert answers.tolist() == expected
    assert any(step.continuation for one in episodes for step in one.steps)


def test_logged_decisions_have_the_cost_of_whole_calls() -> None:
    episodes = played("end", "step", 50)
    logged = Logged.of(episodes)
    assert len(logged.action) == sum(len(one.decisions) for one in episodes)
    assert logged.outcome[:, 1].sum() == sum(one.cost for one in episodes)
    assert (logged.t < CELLS + 3).all()
