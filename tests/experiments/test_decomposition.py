"""Complementarity and clash from continuations whose success probabilities are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from selfreg_gym.experiments.decomposition import PairForks, decomposition_tables, first_pairs, mean_over_states

COSTS = (1.0, 0.5)


def made(chances: np.ndarray, repetitions: int, seed: int = 0) -> PairForks:
    """Continuations with success probabilities ``(S, 3, 3)``, as :func:`selfreg_gym.fork` returns them."""
    draws = np.random.default_rng(seed).random((len(chances), 9, repetitions))
    forks = SimpleNamespace(
        success=draws < chances.reshape(len(chances), 9)[..., None], failed=np.zeros_like(draws, bool),
        states=[SimpleNamespace(task_index=i // 2) for i in range(len(chances))], repetitions=repetitions,
    )  # fmt: skip
    return PairForks.of(forks, COSTS)


@pytest.fixture(scope="module")
def two_kinds() -> np.ndarray:
    """In half of the states intervention 1 gains 0.5, in the other half intervention 2 does; the other one gains 0."""
    chances = np.full((60, 3, 3), 0.3)
    chances[:30, 1, :] = 0.8
    chances[30:, 2, :] = 0.8
    return chances


def test_the_best_of_both_is_worth_what_each_gains_in_its_states(two_kinds: np.ndarray) -> None:
    pairs = made(two_kinds, 200)
    value, shares = pairs.best(0.2, [1, 2])
    exact = np.r_[np.full(30, 0.5 - 0.2 * 1.0), np.full(30, 0.5 - 0.2 * 0.5)]
    assert value.mean() == pytest.approx(exact.mean(), abs=0.03)
    np.testing.assert_allclose(shares.mean(axis=0), [0.0, 0.5, 0.5], atol=0.03)
    alone = pairs.best(0.2, [1])[0]
    assert alone.mean() == pytest.approx(0.15, abs=0.03)
    assert pairs.best(0.9, [1, 2])[1][:30, 0].mean() > 0.9, "at a high price, nohelp is best"


def test_choosing_among_equal_interventions_does_not_raise_the_value() -> None:
    pairs = made(np.full((400, 3, 3), 0.5), 12)
    value, _ = pairs.best(0.0, [1, 2])
    assert abs(value.mean()) < 4 * value.std() / np.sqrt(len(value))
    same = pairs.value_of_call(0.0).max(axis=1)
    assert same.mean() > 0.05, "the largest of noisy values is too large"


def test_clash_is_the_difference_of_two_values(two_kinds: np.ndarray) -> None:
    chances = np.full((80, 3, 3), 0.2)
    chances[:, 1, 1] = 0.9  # the first intervention needs two calls in a row
    chances[:, 2, 1] = 0.3
    pairs = made(chances, 100)
    assert pairs.value_after(1, 1).mean() == pytest.approx(0.7, abs=0.03)
    assert pairs.value_after(1, 2).mean() == pytest.approx(0.1, abs=0.03)
    assert pairs.clash(1, 2).mean() == pytest.approx(-0.6, abs=0.04)
    assert pairs.clash(2, 1).mean() == pytest.approx(0.0, abs=0.04)


def test_failed_continuations_are_left_out_and_survive_json() -> None:
    pairs = made(np.full((4, 3, 3), 0.5), 6)
    success = pairs.success.copy()
    success[0, 1, 0, :3] = np.nan
    success[1] = np.nan
    holey = PairForks(success, pairs.costs, pairs.task)
    again = PairForks.from_json(holey.to_json())
    np.testing.assert_array_equal(again.success, success)
    assert again.rates()[0, 1, 0] == np.nanmean(success[0, 1, 0])
    assert np.isnan(again.rates()[1]).all()


def test_the_tables_have_the_pairs_and_the_better_one(two_kinds: np.ndarray) -> None:
    seeds = [{"pairs": made(two_kinds, 40, seed).to_json(), "prices": {"1": 0.2}} for seed in range(3)]
    best, clash = decomposition_tables(seeds, ["dear", "cheap"], [1.0], repetitions=40)
    (row,) = best.rows
    assert row["better"] == "cheap"
    assert row["more"].low > 0.05
    assert row["value"].value == pytest.approx(0.35, abs=0.05)
    assert [one["pair"] for one in clash.rows] == ["dear after cheap", "cheap after dear"]


def test_intervals_are_over_tasks() -> None:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(30), 10)
    values = np.repeat(rng.normal(size=30), 10)
    found = mean_over_states(values, task)
    spread = 1.96 * values[::10].std(ddof=1) / np.sqrt(30)
    assert (found.high - found.low) / 2 == pytest.approx(spread, rel=0.2)
    assert first_pairs(1) == [(0, 0), (0, 1), (1, 0), (1, 1)]
