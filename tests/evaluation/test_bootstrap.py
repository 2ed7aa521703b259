"""The bootstrap against theory, SciPy and the nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import (
    Design,
    Estimate,
    bootstrap_weights,
    effective_units,
    estimate_mean,
    estimate_rate,
    percentile_interval,
    resampled_means,
    widening,
    wilson_interval,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_agrees_with_scipy_on_one_stratum():
    values = rng(1).gamma(2.0, size=300)
    ours = estimate_mean(values, bootstrap_weights(np.zeros(300), resamples=9000, rng=rng(2)))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=9000, method="percentile", rng=rng(3), vectorized=True
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.012)
    assert ours.high == pytest.approx(theirs.high, abs=0.012)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_variance_is_that_of_a_stratified_mean_even_with_two_seeds_per_task(seeds):
    tasks = 60
    values = rng(4).normal(size=(tasks, seeds)) + 5 * rng(5).normal(size=(tasks, 1))  # tasks differ far more than seeds
    strata = np.repeat(np.arange(tasks), seeds)
    draws = resampled_means(bootstrap_weights(strata, resamples=6000, rng=rng(6)), values.ravel())
    theory = np.sqrt((values.var(axis=1, ddof=1) / seeds).sum()) / tasks
    assert draws.std() == pytest.approx(theory, rel=0.05)


def test_clusters_vary_by_whole_tasks():
    tasks, seeds = 80, 4
    values = rng(7).normal(size=(tasks, 1)) + 0.1 * rng(8).normal(size=(tasks, seeds))
    clusters = np.repeat(np.arange(tasks), seeds)
    weights = bootstrap_weights(np.zeros(tasks * seeds), clusters=clusters, resamples=6000, rng=rng(9))
    theory = values.mean(axis=1).std(ddof=1) / np.sqrt(tasks)
    assert resampled_means(weights, values.ravel()).std() == pytest.approx(theory, rel=0.05)
    assert np.all(weights.reshape(-1, tasks, seeds) == weights.reshape(-1, tasks, seeds)[:, :, :1])
    np.testing.assert_allclose(weights.sum(axis=1), tasks * seeds)


def test_single_episodes_are_pooled_so_that_the_interval_has_a_width():
    values = rng(10).normal(size=200)
    draws = resampled_means(bootstrap_weights(np.arange(200), resamples=4000, rng=rng(11)), values)
    assert draws.std() == pytest.approx(values.std(ddof=1) / np.sqrt(200), rel=0.05)


def test_the_interval_has_its_nominal_coverage():
    world = rng(12)
    tasks, seeds, hits, repeats = 25, 8, 0, 300
    chances = world.uniform(0.1, 0.9, size=(tasks, 1))
    strata = np.repeat(np.arange(tasks), seeds)
    for _ in range(repeats):
        outcomes = (world.random((tasks, seeds)) < chances).astype(float).ravel()
        estimate = estimate_rate(outcomes, bootstrap_weights(strata, resamples=400, rng=world))
        hits += estimate.low <= chances.mean() <= estimate.high
    assert 0.91 <= hits / repeats <= 0.985  # 95 %, with 300 repeats give or take 2.5 standard errors


def test_a_paired_difference_is_narrower_than_two_separate_ones():
    chance = rng(13).random(400)
    a, b = (chance < 0.5).astype(float), (chance < 0.55).astype(float)  # the same luck, a slightly better helper
    weights = bootstrap_weights(np.zeros(400), resamples=3000, rng=rng(14))
    paired = estimate_mean(b - a, weights)
    separate = resampled_means(weights, b) - resampled_means(weights[::-1], a)
    low, high = percentile_interval(separate)
    assert paired.low > 0
    assert paired.high - paired.low < 0.6 * (high - low)


def test_same_seed_same_weights():
    strata = np.repeat(["a", "b"], 6)
    first, second = (bootstrap_weights(strata, resamples=20, rng=rng(15)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_missing_values_are_left_out():
    values = np.array([1.0, np.nan, 3.0, np.nan])
    estimate = estimate_mean(values, bootstrap_weights(np.zeros(4), resamples=500, rng=rng(16)))
    assert estimate.value == 2.0
    assert 0.0 <= estimate.low < 1.0
    assert estimate.high > 3.0  # two values say little about a mean
    nothing = estimate_mean(np.full(3, np.nan), bootstrap_weights(np.zeros(3), resamples=50, rng=rng(17)))
    assert np.isnan(nothing).all()


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 7), (50, 500)])
def test_wilson_agrees_with_scipy(successes, trials):
    theirs = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes / trials, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_rate_without_failures_still_has_an_interval():
    estimate = estimate_rate(np.ones(40), bootstrap_weights(np.zeros(40), resamples=200, rng=rng(18)))
    assert estimate.value == 1.0
    assert (estimate.low, estimate.high) == wilson_interval(1.0, 40)
    assert estimate.low < 0.95


def test_a_rate_without_failures_on_new_tasks_counts_tasks_and_not_episodes():
    task = np.repeat(np.arange(168), 3)
    weights = bootstrap_weights(np.zeros(504), clusters=task, resamples=200, rng=rng(19))
    estimate = estimate_rate(np.ones(504), weights, design=Design.of(np.zeros(504), task))
    assert (round(estimate.low, 3), estimate.high) == (0.978, 1.0)
    assert (estimate.low, estimate.high) == pytest.approx(wilson_interval(1.0, 168))
    fixed = estimate_rate(np.ones(504), bootstrap_weights(task, resamples=200, rng=rng(19)), design=Design.of(task))
    assert (fixed.low, fixed.high) == pytest.approx(wilson_interval(1.0, 504))  # nothing but luck within tasks


def test_fixed_tasks_that_never_vary_still_have_a_width():
    task = np.repeat(np.arange(50), 2)
    outcomes = np.repeat((np.arange(50) < 25).astype(float), 2)  # half of the tasks always, half of them never
    estimate = estimate_rate(outcomes, bootstrap_weights(task, resamples=200, rng=rng(20)), design=Design.of(task))
    assert 0.02 < estimate.high - estimate.low < 0.15
    plain, tasks_drawn = wilson_interval(0.5, 100), wilson_interval(0.5, 50)
    assert estimate.high - estimate.low < plain[1] - plain[0] < tasks_drawn[1] - tasks_drawn[0]


@pytest.mark.parametrize(
    ("fixed", "episodes", "correlation", "rate"),
    [(False, 3, 0.9, 0.02), (False, 8, 0.3, 0.05), (False, 8, 0.0, 0.02), (True, 2, 0.95, 0.2), (True, 4, 0.3, 0.03)],
)
def test_rates_with_few_failures_are_covered(fixed, episodes, correlation, rate):
    world, tasks, repeats, hits = rng(21), 60, 250, 0
    task = np.repeat(np.arange(tasks), episodes)
    strata, clusters = (task, None) if fixed else (np.zeros(len(task)), task)
    weights = bootstrap_weights(strata, clusters=clusters, resamples=200, rng=world)
    design = Design.of(strata, clusters)
    size = (1 - correlation) / max(correlation, 1e-9)
    for _ in range(repeats):
        chance = np.full(tasks, rate) if not correlation else world.beta(rate * size, (1 - rate) * size, tasks)
        outcomes = (world.random((tasks, episodes)) < chance[:, None]).astype(float).ravel()
        estimate = estimate_rate(outcomes, weights, design=design)
        hits += estimate.low <= (chance.mean() if fixed else rate) <= estimate.high
    assert hits / repeats > 0.9


def test_contributions_add_up_to_the_variance_of_the_mean():
    world, task = rng(22), np.repeat(np.arange(40), 5)
    values = world.normal(size=(40, 1)).repeat(5, axis=1).ravel() + world.normal(size=200)
    design = Design.of(np.zeros(200), task)
    own = design.contributions(values[:, None])[:, 0]
    assert (own**2).sum() == pytest.approx(values.reshape(40, 5).mean(axis=1).var(ddof=1) / 40)
    assert effective_units(own) == pytest.approx(40 / 3, rel=0.6)
    events = np.zeros(1000)
    events[:4] = 1
    rare = Design.of(np.zeros(1000)).contributions(events[:, None])[:, 0]
    assert effective_units(rare) == pytest.approx(4, rel=0.02)
    assert widening(rare, 999) == pytest.approx(np.sqrt(1 + 3 / 4 - 9 / 1000), rel=0.01)
    assert widening(np.zeros(10), 9) == 1.0
    assert Design.of(np.arange(5)).freedom == 4  # single episodes are pooled
    assert Design.of(task).freedom == 160
    assert design.take(task < 10).freedom == 9


def test_a_mean_over_few_units_has_student_s_width():
    world, hits = rng(23), 0
    for _ in range(400):
        values = world.normal(size=6)
        estimate = estimate_mean(values, bootstrap_weights(np.zeros(6), resamples=300, rng=world))
        hits += estimate.low <= 0 <= estimate.high
    assert hits / 400 > 0.9
    costs = estimate_mean(np.array([0.0, 0.0, 3.0]), bootstrap_weights(np.zeros(3), resamples=300, rng=world))
    assert costs.low == 0.0  # costs are never negative


def test_errors_of_invalid_arguments():
    with pytest.raises(InvalidArgumentError, match="needs episodes"):
        bootstrap_weights([], rng=rng())
    with pytest.raises(InvalidArgumentError, match="one label per episode"):
        bootstrap_weights([0, 0], clusters=[1], rng=rng())
    with pytest.raises(InvalidArgumentError, match="two kinds"):
        bootstrap_weights(["a", "b"], clusters=[1, 1], rng=rng())


def test_the_text_of_an_estimate():
    assert str(Estimate(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"
    assert Estimate(0.5, 0.4, 0.6).ci == [0.4, 0.6]
