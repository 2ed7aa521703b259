"""Rounds of fitted Q-iteration on episodes that are drawn from many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfreg_gym import solve_frontier
from selfreg_gym.fitted.ensemble import Ensemble
from selfreg_gym.fitted.solve import fit_decisions
from selfreg_gym.fitted.training_rows import drawn_episodes
from tests.fitted.conftest import interrupted
from tests.fitted.test_decisions import permuted
from tests.support.sampled import sample_decisions, state_inputs, true_value


def test_whole_episodes_of_each_part_are_drawn_up_to_the_limit():
    rng = np.random.default_rng(0)
    length, part = rng.integers(1, 9, 400), rng.integers(0, 2, 400)
    found = drawn_episodes(length, part, 300, rng)
    assert (np.diff(found) > 0).all()
    for one in (0, 1):
        assert 150 - 8 <= length[found][part[found] == one].sum() <= 150
    assert not np.array_equal(found, drawn_episodes(length, part, 300, rng))
    seen = np.unique(np.concatenate([drawn_episodes(length, part, 300, rng) for _ in range(100)]))
    assert len(seen) == 400


def test_all_episodes_are_used_if_they_are_few_and_one_of_each_part_if_they_are_long():
    rng = np.random.default_rng(0)
    assert drawn_episodes(np.full(10, 5), np.zeros(10), 50, rng) is None
    found = drawn_episodes(np.full(10, 5), np.arange(10) % 3, 2, rng)
    assert sorted(found % 3) == [0, 1, 2]


@pytest.fixture(scope="module")
def many(model):
    return sample_decisions(model, 3000, 5, tasks=30)


def test_drawn_rounds_are_bounded_and_reach_the_optimum(many, model, small, monkeypatch):
    settings = replace(small, rows=len(many) // 4)
    sizes, drawn, draw = [], {}, Ensemble.draw

    def recorded(self, round_):
        found = draw(self, round_)
        sizes.append(len(found))
        drawn.setdefault(self.fold, []).append(set(self.decisions.episode[found.rows].tolist()))
        return found

    monkeypatch.setattr(Ensemble, "draw", recorded)
    frontier = fit_decisions(many, settings)
    assert max(sizes) <= settings.rows
    assert all(first != second for first, second in zip(drawn[0], drawn[0][1:], strict=False))
    assert frontier.estimates.usage_replicates.std() > 0
    curve, top = solve_frontier(model, gap=1e-5), float(solve_frontier(model).usage[-1])
    for budget in (0.25 * top, 0.5 * top):
        success, usage = true_value(frontier.policy(budget), model)
        assert float(curve.success_at(usage)) - success < 0.02
        assert abs(usage - budget) < 0.15 * top


def test_drawn_rounds_do_not_depend_on_the_order_of_episodes_and_continue_exactly(many, model, small, tmp_path):
    settings = replace(small, rows=len(many) // 4, rounds=4)
    x = state_inputs(model)
    frontier = fit_decisions(many, settings)
    values = np.stack(frontier.values(x))
    order = np.random.default_rng(0).permutation(many.episodes)
    np.testing.assert_allclose(np.stack(fit_decisions(permuted(many, order), settings).values(x)), values, atol=1e-4)

    with interrupted(3):
        fit_decisions(many, settings, folder=tmp_path)
    resumed = fit_decisions(many, settings, folder=tmp_path)
    np.testing.assert_array_equal(np.stack(resumed.values(x)), values)
