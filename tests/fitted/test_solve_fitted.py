"""``solve_fitted``: from rollouts to a frontier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import selfreg_gym
from selfreg_gym import FittedFrontier, Rollouts, TransitionModel, solve_fitted
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.fitted import MissingSupportWarning
from selfreg_gym.fitted.solve import logged_decisions
from tests.fitted.conftest import SMALL
from tests.support.stored import SPEC, episode


@pytest.fixture(scope="module")
def episodes(model: TransitionModel):
    return model.sample(700, seed=1)


def test_rollouts_are_fitted_saved_and_loaded(episodes, tmp_path):
    frontier = solve_fitted(episodes, inputs=("state", "calls_so_far"), progress=False, **SMALL)
    assert frontier.episodes == 700
    assert frontier.encoder.names == ("state", "calls_so_far")
    policy = frontier.policy(0.3)
    assert policy.expected_usage == pytest.approx(0.3)
    frontier.save(tmp_path)
    loaded = FittedFrontier.load(tmp_path)
    table = selfreg_gym.inputs.DecisionTable.from_rollouts(episodes[:20])
    x = loaded.encoder.encode(table)
    np.testing.assert_array_equal(loaded.gains(x)[0], frontier.gains(frontier.encoder.encode(table))[0])


def test_a_store_gives_the_same_arrays_as_its_episodes(tmp_path):
    made = [episode(t, s, 0.5, success=bool(s % 2), actions=(0, 1, 2)[: 1 + s]) for t in range(3) for s in range(3)]
    store = Rollouts.create(tmp_path / "rollouts.sqlite", spec=SPEC)
    store.add(made)
    x = np.arange(3 * (1 + 2 + 3))[:, None]
    stored, listed = logged_decisions(store, x), logged_decisions(list(store.episodes()), x)
    assert stored.actions == listed.actions == 3
    for name in ("action", "cost", "last", "success", "task"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(listed, name))
    assert stored.success.sum() == 3


def test_neither_the_order_of_episodes_nor_that_of_writing_matters(model, tmp_path):
    rng = np.random.default_rng(4)
    made = [
        replace(e, steps=tuple(replace(s, feature_vector=tuple(rng.normal(1e3, 1e-2, 3))) for s in e.steps))
        for e in model.sample(80, seed=1)
    ]
    mixed = [made[i] for i in rng.permutation(len(made))]
    stores = []
    for name, order in (("a", made), ("b", mixed)):
        store = Rollouts.create(tmp_path / f"{name}.sqlite", spec={"env": {"interventions": ["help"]}})
        for one in order:
            store.add([one])
        stores.append(store)
    fits = [
        solve_fitted(
            one, inputs=("features", "state", "calls_so_far"), progress=False, **{**SMALL, "rounds": 4, "steps": 4}
        )
        for one in (made, mixed, *stores)
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.prices, fits[0].prices)
        np.testing.assert_array_equal(other.estimates.usage, fits[0].estimates.usage)
        np.testing.assert_array_equal(other.networks[0].w1.detach(), fits[0].networks[0].w1.detach())


def test_episodes_with_an_error_are_left_out(episodes):
    failed = replace(episodes[0], error="the actor failed", success=True)
    mixed, steps = [failed, *episodes[:2], failed], sum(len(one.steps) for one in episodes[:2])
    assert logged_decisions(mixed, np.ones((steps, 1))).episodes == 2
    with pytest.raises(InvalidArgumentError, match="received none"):
        solve_fitted([failed], inputs=("state",), progress=False)


def test_unknown_names_raise(episodes):
    with pytest.raises(UnknownNameError, match="setting of fitted values"):
        solve_fitted(episodes, inputs=("state",), roundz=3)
    with pytest.raises(UnknownNameError, match="input"):
        solve_fitted(episodes, inputs=("stat",), progress=False)
    with pytest.raises(InvalidArgumentError, match="trace must be"):
        solve_fitted(episodes, inputs=("state",), trace=2)


def test_help_that_was_never_tried_is_a_warning(model):
    alone = model.sample(60, seed=1, help_probabilities=[0.0])
    with pytest.warns(MissingSupportWarning, match="help 1 never occurs"):
        frontier = solve_fitted(alone, inputs=("state",), progress=False, **{**SMALL, "rounds": 2})
    assert "never occurs" in frontier.warnings[0]
