"""Tokens and reported costs of calls in a store, and stores of format 1."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from stored import SPEC

from selfreg_gym import Episode, Rollouts, Transition
from selfreg_gym.store.reading import Spending


def _counted(seed: int) -> Episode:
    steps = [
        Transition(0, "o", None, "s", None, None, 0, "a", 0.0, 0.0, False, False, False, tokens=7),
        Transition(1, "o", None, "s", None, None, 1, "b", 0.5, 1.0, True, False, False, tokens=11, reported_cost=0.5),
    ]
    return Episode(0, seed, "t", "", 0.5, True, (0.5,), tuple(steps))


def test_tokens_and_reported_costs_are_stored_and_summed(tmp_path: Path) -> None:
    with Rollouts.create(tmp_path / "r.sqlite", spec=SPEC) as rollouts:
        rollouts.add([_counted(1), _counted(2)])
        assert list(rollouts) == [_counted(1), _counted(2)]
        columns = rollouts.columns("tokens", "price")
        assert columns["tokens"].tolist() == [7, 11, 7, 11]
        np.testing.assert_array_equal(columns["price"], [np.nan, 0.5, np.nan, 0.5])
        assert rollouts.spending() == [Spending(0, 2, 0.0, 14, 0.0), Spending(1, 2, 1.0, 22, 1.0)]


def test_the_former_name_of_reported_cost_warns() -> None:
    with pytest.warns(DeprecationWarning, match="reported_cost"):
        assert _counted(1).steps[1].price == 0.5


def test_a_store_of_format_1_is_read_and_converted_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    plain = dataclasses.replace(
        _counted(1), steps=tuple(dataclasses.replace(s, tokens=None, reported_cost=None) for s in _counted(1))
    )
    with Rollouts.create(path, spec=SPEC) as rollouts:
        rollouts.add(plain)
        rollouts.checkpoint()
    connection = sqlite3.connect(path)  # what format 1 was: the same without the columns added since
    connection.execute("DROP VIEW steps")
    for column in ("tokens", "price", "actor_logprobs", "feature_vector", "propensities", "continuation"):
        connection.execute(f"ALTER TABLE transitions DROP COLUMN {column}")
    connection.execute("CREATE VIEW steps AS SELECT run, episode, t FROM transitions")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with Rollouts.open(path) as rollouts:
        assert list(rollouts) == [plain]
        assert rollouts.columns("tokens")["tokens"].tolist() == [-1, -1]
        assert rollouts.spending()[1].tokens == 0
        assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (1,)  # reading changes nothing
        rollouts.add(_counted(2))
        assert list(rollouts) == [plain, _counted(2)]
        assert sqlite3.connect(path).execute("SELECT count(tokens), count(price) FROM steps").fetchone() == (2, 1)
    with Rollouts.open(path) as rollouts:
        assert len(rollouts) == 2
