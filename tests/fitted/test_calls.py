"""Fitted values and averagers of calls of several steps, against the known optimum; aborted episodes are no data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from corridor import CELLS, STEPS, SUBGOALS, exact, optimum, played

from selfreg_gym.averagers import fit_averagers
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.capped import with_caps
from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import fit_decisions, logged_decisions
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.solver import evaluate_policy, solve
from selfreg_gym.transitions.calls import with_calls
from selfreg_gym.types import Episode
from tests.fitted.conftest import SMALL


def inputs(cell: np.ndarray, left: np.ndarray) -> np.ndarray:
    x = np.zeros((len(cell), CELLS + STEPS), np.float32)
    x[np.arange(len(cell)), cell] = 1
    x[np.arange(len(cell)), CELLS + left - 1] = 1
    return x


def logged(episodes: list[Episode]) -> LoggedDecisions:
    steps = [step for one in episodes for step in one.decisions]
    cell = np.array([int(step.state_key.split()[1]) for step in steps])
    return logged_decisions(episodes, inputs(cell, np.array([step.steps_left for step in steps])))


@pytest.mark.parametrize(
    ("duration", "cost_per", "more"), [("subgoal", "step", {"steps": 48, "rounds": 12}), ("end", "call", {})]
)
def test_the_policy_of_fitted_values_is_nearly_optimal(duration: Any, cost_per: Any, more: dict[str, int]) -> None:
    found = fit_decisions(logged(played(duration, cost_per, 2500)), Settings(**{**SMALL, **more}))
    truth = with_calls(exact(), [duration], costs_per=[cost_per], subgoals=SUBGOALS)
    cell, left = np.tile(np.arange(CELLS), STEPS), np.repeat(np.arange(1, STEPS + 1), CELLS)
    for price in (0.05, 0.12):
        policy = np.zeros((STEPS, truth.nodes), np.int8)
        policy[:, :CELLS] = found.action(inputs(cell, left), price).reshape(STEPS, CELLS)
        own = evaluate_policy(truth, policy.ravel())
        success, usage = optimum(price, duration, cost_per=cost_per)
        regret = success - price * usage - (own.expected_success - price * own.expected_usage)
        assert regret < 0.02


def test_a_call_is_one_decision_with_the_cost_of_all_its_steps() -> None:
    episodes = played("end", "step", 60)
    found = logged(episodes)
    assert found.episodes == len(episodes)
    assert len(found) == sum(len(one.decisions) for one in episodes)
    np.testing.assert_allclose(np.add.reduceat(found.cost, found.first), [one.cost for one in episodes])
    assert (found.action[~found.last] == 0).all()  # a call to the end is the last decision
    table = DecisionTable.from_rollouts(episodes)
    assert len(table) == len(found)
    assert table.calls_so_far.max() == 0  # before each decision


def test_averagers_of_long_calls_have_the_value_of_the_problem() -> None:
    model = fit_averagers(logged(played("subgoal", "call", 600)), neighbours=40, folds=1, smoothing=0.1)
    found = solve(model.transitions(), help_cost=0.05)
    success, usage = optimum(0.05, "subgoal")
    assert found.expected_success - 0.05 * found.expected_usage == pytest.approx(success - 0.05 * usage, abs=0.06)


# --- aborted episodes -------------------------------------------------------------------------------------------------


def with_aborts(data: LoggedDecisions, share: float) -> LoggedDecisions:
    """The decisions with some episodes cut at a decision, as if they had been aborted there."""
    rng = np.random.default_rng(0)
    rows, aborted = [], []
    for begin, length in zip(data.first, data.length, strict=True):
        own = np.arange(begin, begin + length)
        if rng.random() < share:
            own = own[: 1 + int(rng.integers(length))]
            aborted += [False] * (len(own) - 1) + [True]
        else:
            aborted += [False] * len(own)
        rows.append(own)
    kept, flags = np.concatenate(rows), np.array(aborted)
    last = data.last[kept] | flags
    return LoggedDecisions(
        data.x[kept], np.where(flags, 0, data.action[kept]), np.where(flags, 0, data.cost[kept]), last,
        data.success[kept] & ~flags, data.task, actions=data.actions, aborted=flags,
    )  # fmt: skip


def test_aborted_episodes_do_not_make_success_look_rarer() -> None:
    whole = logged(played("end", "call", 2500))
    half = with_aborts(whole, 0.5)
    failed = replace(half, aborted=None)  # as if every aborted episode had failed
    first = inputs(np.array([0]), np.array([STEPS]))
    found = [fit_decisions(data, Settings(**SMALL)).values(first)[0].mean() for data in (whole, half, failed)]
    assert found[1] == pytest.approx(found[0], abs=0.05)
    assert found[2] < min(found[:2]) - 0.05


def test_aborted_decisions_are_no_neighbours() -> None:
    half = with_aborts(logged(played(1, "call", 200)), 0.5)
    model = fit_averagers(half, neighbours=5, folds=1)
    near = model.neighbours_of(np.arange(len(half))).index
    assert half.aborted is not None
    assert not half.aborted[near[near >= 0]].any()


def test_aborted_decisions_are_cut_under_caps_too() -> None:
    half = with_aborts(logged(played(1, "call", 100)), 0.5)
    capped, _ = with_caps(half, 2)
    assert capped.aborted is not None
    assert capped.cut.sum() >= capped.aborted.sum() > 0
    assert half.fingerprint != replace(half, aborted=None).fingerprint
    with pytest.raises(InvalidArgumentError, match="aborted must have shape"):
        replace(half, aborted=~half.aborted)  # type: ignore[operator]
