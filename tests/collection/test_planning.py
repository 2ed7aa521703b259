"""The plan: help probabilities are balanced within tasks, over tasks, and independent of the task's index."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from selfreg_gym.collection import HELP_PROBABILITIES, collect, collection_plan
from selfreg_gym.errors import StoreError
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.store.rollouts import Rollouts

ENV = {"task": "selfreg/Coin-v0", "actor": lambda text: "heads", "interventions": ["expert"]}


def by_task(plan: list[EpisodeSpec]) -> dict[int, list[float]]:
    found = defaultdict(list)
    for planned in plan:
        found[planned.task_index].append(planned.help_probability)
    return dict(found)


@pytest.mark.parametrize("episodes", [1, 2, 3, 5, 10, 13])
@pytest.mark.parametrize("m", [2, 5, 10, 11])
def test_every_probability_occurs_equally_often(episodes: int, m: int) -> None:
    probabilities = [i / (m - 1) for i in range(m)]
    plan = collection_plan(range(10 * m), episodes, probabilities, seed=3)
    assert set(Counter(p.help_probability for p in plan).values()) == {10 * episodes}
    for own in by_task(plan).values():
        counts = Counter(own)
        assert max(counts.values()) - min(counts[p] for p in probabilities) <= 1  # all different until all are used


def test_the_probability_does_not_depend_on_the_kind_of_task() -> None:
    # The plan of version 1: with 5 of 10 probabilities, even tasks got 0 to 0.4 and odd ones 0.5 to 0.9.
    probabilities = [i / 10 for i in range(10)]
    for version, expected in ((1, 0.5), (2, 0.0)):
        means = [
            np.mean(own) for own in by_task(collection_plan(range(200), 5, probabilities, version=version)).values()
        ]
        assert abs(np.mean(means[1::2]) - np.mean(means[0::2])) == pytest.approx(expected, abs=0.03)
    for period in (2, 3, 5, 7, 11):
        means = np.array([np.mean(own) for own in by_task(collection_plan(range(770), 2, seed=1)).values()])
        groups = [means[start::period].mean() for start in range(period)]
        assert max(groups) - min(groups) < 0.12


def test_a_task_gets_low_and_high_probabilities() -> None:
    for own in by_task(collection_plan(range(30), 3)).values():
        assert max(own) - min(own) >= 0.5


def test_both_versions_agree_on_multiples_of_the_probabilities() -> None:
    for episodes in (11, 22):
        assert collection_plan(range(7), episodes, seed=2) == collection_plan(range(7), episodes, seed=2, version=1)


def test_an_existing_store_keeps_its_plan_version(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    settings = {"tasks": range(3), "episodes": 2, "seed": 4, "progress": False}
    with collect(ENV, store=tmp_path / "new.sqlite", **settings) as new:
        assert new.spec["plan"] == 2
        assert new.plan == collection_plan(range(3), 2, HELP_PROBABILITIES, seed=4)
        spec = {**new.spec, "env": {k: v for k, v in new.spec["env"].items() if k != "identity"}}
    del spec["plan"]
    old = collection_plan(range(3), 2, HELP_PROBABILITIES, seed=4, version=1)
    with Rollouts.create(path, spec=spec) as rollouts:
        rollouts.fix_plan(old)
    with collect(ENV, store=path, **settings) as rollouts:
        assert rollouts.is_complete
        assert rollouts.plan == old
    with pytest.raises(StoreError, match="seed"):
        collect(ENV, store=path, **{**settings, "seed": 5})
