"""Differences with their intervals, and the files of a result."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from made_forks import made_forks

from selfreg_gym.errors import CheckpointError, UnknownNameError
from selfreg_gym.forks import Forks


@pytest.mark.parametrize("correlated", [0.0, 0.7])
def test_intervals_cover_the_true_difference(correlated: float) -> None:
    rng = np.random.default_rng(0)
    p = rng.random((4000, 2, 1)) * 0.9 + 0.05
    common, own = rng.random((4000, 1, 20)), rng.random((4000, 2, 20))
    success = np.where(rng.random((4000, 1, 20)) < correlated, common, own) < p
    found = made_forks(success).differences()
    truth = (p[:, 1] - p[:, 0])[:, 0]
    inside = (found.success_low <= truth) & (truth <= found.success_high)
    assert 0.94 < inside.mean() < 0.99
    assert (found.success_high - found.success_low > 0.1).all()  # also where all repetitions end alike
    assert np.allclose(found.success, success[:, 1].mean(axis=-1) - success[:, 0].mean(axis=-1))


def test_failed_repetitions_are_left_out() -> None:
    success = np.zeros((2, 2, 4), bool)
    success[0, 1, :2] = True
    cost = np.ones(success.shape)
    cost[:, 1] = [[1, 2, 9, 9], [4, 4, 4, 4]]
    forks = made_forks(success, cost)
    forks.failed[0, 0, 2:] = True
    found = forks.differences()
    assert found.success.tolist() == [1.0, 0.0]
    assert found.cost.tolist() == [0.5, 3.0]
    assert (found.cost_low[1], found.cost_high[1]) == (3.0, 3.0)
    assert found.cost_low[0] == pytest.approx(0.5 - 12.706 * np.sqrt(0.5 / 2), abs=0.01)  # Student, 1 degree of freedom


def test_the_mean_has_an_interval_over_tasks() -> None:
    rng = np.random.default_rng(1)
    effect = np.repeat(rng.random(10), 8)[:, None] < rng.random((80, 12))  # all states of a task are alike
    success = np.stack([np.zeros((80, 12), bool), effect], axis=1)
    forks = made_forks(success, tasks=10)
    order = np.argsort(np.arange(80) % 10, kind="stable")
    grouped = made_forks(success[np.argsort(order)], tasks=10)
    mean, cost = grouped.mean_difference()
    apart, _ = forks.mean_difference()
    assert mean.value == pytest.approx(effect.mean())
    assert cost.value == 0.0
    assert mean.high - mean.low > 1.2 * (apart.high - apart.low)


def test_a_file_keeps_everything(tmp_path) -> None:
    forks = made_forks(np.random.default_rng(0).random((5, 2, 6)) < 0.4)
    read = Forks.load(forks.save(tmp_path / "forks.json"))
    assert read.rows() == forks.rows()
    assert (read.note, read.first_actions, read.seed) == (forks.note, forks.first_actions, 2)
    rows = list(csv.DictReader(forks.to_csv(tmp_path / "forks.csv").open()))
    assert len(rows) == 10
    assert float(rows[1]["gain"]) == pytest.approx(float(rows[1]["success"]) - float(rows[0]["success"]))


def test_damaged_files_and_unknown_actions(tmp_path) -> None:
    forks = made_forks(np.zeros((2, 2, 2), bool))
    with pytest.raises(UnknownNameError, match="Known: 0, 1"):
        forks.differences(2)
    path = forks.save(tmp_path / "forks.json")
    record = json.loads(path.read_text())
    for change in ({"format": "other"}, {"success": [[1]]}, {"states": [{}]}, {"interventions": 3},
                   {"interventions": []}, {"seed": "x"}, {"calls": [[[[]] * 2] * 2] * 2}):  # fmt: skip
        path.write_text(json.dumps(record | change))
        with pytest.raises(CheckpointError):
            Forks.load(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Forks.load(tmp_path / "none.json")
