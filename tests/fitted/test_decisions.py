"""Logged decisions: validation, order and folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.decisions import LoggedDecisions, assign_folds, behaviour_warnings
from tests.support.sampled import sample_decisions


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros(4)}, "non-empty array"),
        ({"x": np.full((4, 2), np.nan)}, "x must have finite numbers"),
        ({"action": np.array([0, 1])}, "action must have shape"),
        ({"action": np.array([0, 1, 0, 2])}, "action must be from 0 to 1"),
        ({"cost": np.array([0.5, 1, 0, 1])}, "0 where the action is nohelp"),
        ({"success": np.array([True, False, False, True])}, "only at its last decision"),
        ({"last": np.array([False, True, False, False])}, "the last row ends an episode"),
        ({"task": np.zeros(3)}, "one number per episode"),
    ],
)
def test_invalid_arrays_raise(change, message):
    columns = {
        "x": np.zeros((4, 2)), "action": np.array([0, 1, 0, 1]), "cost": np.array([0.0, 1, 0, 1]),
        "last": np.array([False, True, False, True]), "success": np.array([False, True, False, False]),
        "task": np.array([0, 1]),
    }  # fmt: skip
    LoggedDecisions(**columns)
    with pytest.raises(InvalidArgumentError, match=message):
        LoggedDecisions(**{**columns, **change})


def test_folds_are_of_tasks_where_there_are_enough(decisions):
    folds = assign_folds(decisions, folds=5, members=2, seed=0)
    assert folds.by_task
    for task in np.unique(decisions.task):
        own = decisions.task == task
        assert len(np.unique(folds.fold[own])) == len(np.unique(folds.part[own])) == 1
    sizes = np.array([[((folds.fold == f) & (folds.part == p)).sum() for p in range(2)] for f in range(5)])
    assert sizes.min() > 0
    few = replace(decisions, task=decisions.task % 3)
    folds = assign_folds(few, folds=5, members=2, seed=0)
    assert not folds.by_task
    assert len(np.unique(folds.fold[few.task == 0])) == 5
    with pytest.raises(InvalidArgumentError, match="one episode per fold and member"):
        assign_folds(few, folds=2, members=1000, seed=0)


def test_order_fingerprint_and_folds_do_not_depend_on_the_order_of_episodes(decisions):
    permutation = np.random.default_rng(0).permutation(decisions.episodes)
    other = permuted(decisions, permutation)
    np.testing.assert_array_equal(other.x[other.rows_of(other.order)], decisions.x[decisions.rows_of(decisions.order)])
    assert other.fingerprint == decisions.fingerprint
    for single in (0, 1):  # folds by task, and by episode
        a, b = (replace(d, task=d.task * (1 - single)) for d in (decisions, other))
        folds = [assign_folds(d, folds=3, members=2, seed=1).fold for d in (a, b)]
        np.testing.assert_array_equal(folds[1][b.order], folds[0][a.order])


def test_an_action_that_never_occurs_is_named(model):
    d = sample_decisions(model, 50, 0)
    assert behaviour_warnings(d) == []
    none = replace(d, action=np.zeros(len(d)), cost=np.zeros(len(d)))
    assert "help 1 never occurs" in behaviour_warnings(none)[0]


def permuted(decisions: LoggedDecisions, permutation: np.ndarray) -> LoggedDecisions:
    rows = decisions.rows_of(permutation)
    columns = {name: getattr(decisions, name)[rows] for name in ("x", "action", "cost", "last", "success")}
    return LoggedDecisions(**columns, task=decisions.task[permutation], actions=decisions.actions)
