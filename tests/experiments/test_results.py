"""Means over seeds and their intervals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from selfreg_gym import InterventionVectorEnv, evaluate, registry
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.packing import pack, unpack
from selfreg_gym.experiments.results import Results, over_seeds, with_seeds
from selfreg_gym.experiments.running import config_of
from selfreg_gym.experiments.studies.self_regulation import SelfRegulation


def test_the_interval_over_seeds_is_students() -> None:
    values = [0.4, 0.5, 0.75]
    found = over_seeds([*values, None, math.nan])
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found.value == pytest.approx(np.mean(values))
    assert found.ci == pytest.approx([low, high])


def test_one_seed_says_nothing_about_others() -> None:
    found = over_seeds([0.5])
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(over_seeds([None]).value)


def test_half_widths_are_added_in_squares() -> None:
    tasks = Estimate(0.5, 0.3, 0.8)
    seeds = over_seeds([0.4, 0.5, 0.6])
    found = with_seeds(tasks, [0.4, 0.5, 0.6])
    half = seeds.high - seeds.value
    assert found.value - found.low == pytest.approx(math.hypot(0.2, half))
    assert found.high - found.value == pytest.approx(math.hypot(0.3, half))
    assert with_seeds(tasks, [0.5]) == tasks


def test_cells_of_all_seeds_are_one_evaluation() -> None:
    """Shared cells belong to every seed, and the value of all seeds is the mean of the values by seed."""
    env = InterventionVectorEnv(8, "selfreg/Coin-v0", lambda _: "heads", ["expert"], autoreset_mode="Disabled")
    never, always, random = (registry.load("helpers", name) for name in ("never", "always", "random"))

    def played(**helpers: object) -> dict[str, object]:
        keys = {key.replace("_at_", "@").replace("_seed_", "#"): helper for key, helper in helpers.items()}
        found = evaluate(env, keys, tasks=range(6), episodes=2, seed=5, progress=False, warn=False)
        return {"evaluation": json.loads(json.dumps(pack(found)))}

    measured = {
        ("references", 0): played(never=never(), always=always()),
        ("random", 0): played(random_at_1_seed_0=random(0.2)),
        ("random", 1): played(random_at_1_seed_1=random(0.6)),
    }
    results = Results(config_of(SelfRegulation(), quick=True), (0, 1), measured)
    assert set(results.evaluation.helpers()) == {"never", "always", "random"}
    shares = [found.recovery("random", budget=1.0).share.value for found in results.by_seed.values()]
    assert len(set(shares)) == 2
    estimate = results.estimate(lambda found: found.recovery("random", budget=1.0).share)
    alone = results.evaluation.recovery("random", budget=1.0).share
    assert estimate.value == alone.value
    assert estimate.low < alone.low < alone.high < estimate.high
    assert unpack(measured["random", 0]["evaluation"]).rows[0]["helper"] == "random"
    values = Results(results.config, (0, 1), {("a", 0): {"x": [1.0]}, ("a", 1): {"x": [2.0]}}).values("a", "x", 0)
    assert values.value == 1.5
