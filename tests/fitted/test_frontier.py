"""The fitted frontier: values, policies, files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.fitted.frontier import FittedFrontier
from tests.support.sampled import state_inputs


def test_values_have_the_shape_of_optimal_ones(frontier, model):
    x = state_inputs(model)
    success, usage = frontier.values(x)
    assert success.shape == usage.shape == (12, 8, 2)
    assert ((success >= 0) & (success <= 1)).all()
    assert (usage >= 0).all()
    for values in (success, usage):
        assert (np.diff(values, axis=1) <= 1e-6).all()
    gains = frontier.gains(x)
    np.testing.assert_allclose(gains[0][..., 0], success[..., 1] - success[..., 0])


def test_values_do_not_depend_on_the_batch(frontier, model):
    x = np.tile(state_inputs(model), (1000, 1))
    together = np.stack(frontier.values(x))
    alone = np.stack(frontier.values(x[:12]))
    np.testing.assert_allclose(together[:, -12:], alone, atol=1e-6)


def test_a_policy_spends_its_budget(frontier):
    top = frontier.estimates.usage.max()
    for budget in np.linspace(0, 1, 9) * top:
        policy = frontier.policy(budget)
        assert len(policy.components) <= 2
        assert policy.weights.sum() == pytest.approx(1)
        assert policy.expected_usage == pytest.approx(min(budget, policy.expected_usage))
        assert policy.usage_ci[0] <= policy.expected_usage <= policy.usage_ci[1]
        assert policy.success_ci[0] <= policy.expected_success <= policy.success_ci[1]
    assert frontier.policy(0.0).expected_usage == 0
    never = frontier.policy(0.0)
    assert (never.action(np.zeros((3, 12), np.float32)) == 0).all()
    more = frontier.policy(top + 1)
    assert "do not help" in more.message
    with pytest.raises(InvalidArgumentError, match="budget"):
        frontier.policy(-1)


def test_actions_follow_the_gains(frontier, model):
    x = state_inputs(model)
    success, usage = frontier.gains(x)
    for p, price in enumerate(frontier.prices):
        expected = (success[:, p, 0] - price * usage[:, p, 0] > 0).astype(int)
        np.testing.assert_array_equal(frontier.action(x, float(price)), expected)
    middle = float(frontier.prices[2:4].mean())
    gains = success[:, 2:4, 0] - frontier.prices[2:4] * usage[:, 2:4, 0]
    np.testing.assert_allclose(frontier.advantage(x, middle)[:, 0], gains.mean(axis=1), atol=1e-6)


def test_a_component_is_drawn_with_its_weight(frontier):
    policy = frontier.policy(0.4 * frontier.estimates.usage[0])
    rng = np.random.default_rng(0)
    drawn = np.mean([policy.draw(rng) for _ in range(4000)])
    assert drawn == pytest.approx(policy.weights[-1] if len(policy.weights) == 2 else 0.0, abs=0.03)


def test_rows_and_plot(frontier):
    rows = frontier.rows()
    assert [row["policy"] for row in rows] == ["never", *["price"] * len(frontier.estimates.prices), "always 1"]
    assert json.loads(json.dumps(rows)) == rows
    usage = [row["usage"] for row in rows[:-1]]
    assert usage == sorted(usage)
    for row in rows:
        assert row["usage_low"] <= row["usage"] <= row["usage_high"]
    axes = frontier.plot()
    np.testing.assert_allclose(axes.lines[0].get_xdata(), usage)
    assert axes.lines[1].get_xdata()[-1] == rows[-1]["usage"]
    assert "held-out usage" in repr(frontier)
    assert "expected_usage" in repr(frontier.policy(0.1))


def test_a_wrong_number_of_inputs_raises(frontier):
    with pytest.raises(InvalidArgumentError, match=r"\(n, 12\), received \(3, 5\)"):
        frontier.values(np.zeros((3, 5)))
    with pytest.raises(InvalidArgumentError, match="finite"):
        frontier.action(np.full((1, 12), np.nan), 0.1)


def test_a_saved_frontier_is_the_same(frontier, model, tmp_path):
    frontier.save(tmp_path)
    loaded = FittedFrontier.load(tmp_path)
    x = state_inputs(model)
    np.testing.assert_array_equal(np.stack(loaded.values(x)), np.stack(frontier.values(x)))
    assert loaded.rows() == frontier.rows()
    assert loaded.settings == frontier.settings
    assert repr(loaded) == repr(frontier)


def test_a_frontier_of_the_format_before_is_read(frontier, model, tmp_path):
    """Its estimates are at the prices of the networks only."""
    from safetensors.numpy import load_file, save_file

    frontier.save(tmp_path)
    tensors = load_file(tmp_path / "networks.safetensors")
    evaluated = tensors.pop("evaluated")
    grid = np.searchsorted(evaluated, tensors["prices"])
    constant = np.arange(len(evaluated), len(evaluated) + 2)
    for name in ("success", "usage", "success_replicates", "usage_replicates"):
        tensors[name] = np.ascontiguousarray(tensors[name][..., np.r_[grid, constant]])
    save_file(tensors, tmp_path / "networks.safetensors")
    record = json.loads((tmp_path / "fitted.json").read_text())
    del record["policies"]
    (tmp_path / "fitted.json").write_text(json.dumps(record | {"format": "selfreg_gym fitted 2"}))
    loaded = FittedFrontier.load(tmp_path)
    np.testing.assert_array_equal(loaded.estimates.prices, loaded.prices)
    assert loaded.estimates.usage.shape == (8 + 2,)
    assert loaded.policy(0.2).expected_usage == pytest.approx(0.2)


@pytest.mark.parametrize("damage", ["record", "weights", "shape", "nan", "format"])
def test_a_damaged_folder_raises(frontier, tmp_path, damage):
    from safetensors.numpy import load_file, save_file

    frontier.save(tmp_path)
    record, weights = tmp_path / "fitted.json", tmp_path / "networks.safetensors"
    if damage == "record":
        record.write_text(record.read_text()[:50])
    elif damage == "format":
        record.write_text(record.read_text().replace("fitted 3", "fitted 9"))
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        tensors = load_file(weights)
        tensors["0/b1"] = tensors["0/b1"][:, :, 1:].copy() if damage == "shape" else tensors["0/b1"] * np.nan
        save_file(tensors, weights)
    with pytest.raises(CheckpointError):
        FittedFrontier.load(tmp_path)


def test_a_folder_without_a_record_raises(tmp_path):
    with pytest.raises(CheckpointError, match="a fitted frontier must be a directory"):
        FittedFrontier.load(tmp_path)
