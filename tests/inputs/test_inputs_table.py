"""DecisionTable: stored decisions, episodes in memory and episodes in progress give the same columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stored import SPEC, episode

from selfreg_gym import InterventionEnv, Rollouts
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.store.columns import Coded
from selfreg_gym.testing import ExpertActor
from selfreg_gym.types import Act, Intervention

EPISODES = [episode(0, 1, actions=(0, 1, 2, 1, 0)), episode(1, 2, actions=(2, 2), success=False)]
CALLS = [[0, 0], [0, 0], [1, 0], [1, 1], [2, 1], [0, 0], [0, 1]]


@pytest.fixture
def store(tmp_path: Path) -> Rollouts:
    rollouts = Rollouts.create(tmp_path / "rollouts.sqlite", spec=SPEC)
    rollouts.add(EPISODES)
    return rollouts


def texts(column: Coded | None) -> list[str | None]:
    assert column is not None
    return [None if code < 0 else column.values[code] for code in column.codes.tolist()]


def test_calls_are_counted_within_each_episode_and_before_the_decision(store: Rollouts) -> None:
    table = DecisionTable.from_rollouts(store)
    assert table.calls_so_far.tolist() == CALLS
    assert table.calls_so_far.dtype == np.int64
    assert len(table) == 7
    assert table.interventions == 2


def test_a_store_and_its_episodes_give_the_same_table(store: Rollouts) -> None:
    stored, listed = DecisionTable.from_rollouts(store), DecisionTable.from_rollouts(list(store.episodes()))
    for name in ("observation", "admissible_actions", "state_key", "feature_key"):
        assert texts(getattr(stored, name)) == texts(getattr(listed, name))
    assert texts(stored.state_key)[:3] == ["0|room 0", "0|room 1", "0|room 2"]
    assert texts(stored.feature_key)[2] is None
    assert stored.steps_left.tolist() == listed.steps_left.tolist() == [-1, 3, 2, 1, 0, -1, 0]
    assert stored.calls_so_far.tolist() == listed.calls_so_far.tolist()


def test_an_intervention_that_was_never_called_is_counted(tmp_path: Path) -> None:
    rollouts = Rollouts.create(tmp_path / "one.sqlite", spec=SPEC)
    rollouts.add(episode(0, 1, actions=(0, 1, 0)))
    assert DecisionTable.from_rollouts(rollouts).calls_so_far.tolist() == [[0, 0], [0, 0], [1, 0]]


def test_filters_select_episodes(store: Rollouts) -> None:
    table = DecisionTable.from_rollouts(store, success=False)
    assert table.calls_so_far.tolist() == CALLS[5:]
    with pytest.raises(UnknownNameError, match="filter"):
        DecisionTable.from_rollouts(store, succes=False)
    with pytest.raises(InvalidArgumentError, match="received none"):
        DecisionTable.from_rollouts(store, task=99)
    with pytest.raises(InvalidArgumentError, match="filters need a Rollouts store"):
        DecisionTable.from_rollouts(EPISODES, success=False)


def test_take_selects_rows_by_index_and_by_mask(store: Rollouts) -> None:
    table = DecisionTable.from_rollouts(store)
    some = table.take(np.array([4, 0]))
    assert texts(some.state_key) == ["0|room 4", "0|room 0"]
    assert some.calls_so_far.tolist() == [[2, 1], [0, 0]]
    assert texts(table.take(table.steps_left == -1).state_key) == ["0|room 0", "1|room 0"]


def test_decisions_in_progress() -> None:
    interventions = [Intervention(ExpertActor(), name=name, cost=2.5) for name in ("one", "two")]
    env = InterventionEnv("selfreg/Coin-v0", ExpertActor(), interventions)
    _, info = env.reset(seed=0, options={"episode": 1})
    assert info["calls"].tolist() == [0, 0]
    seen = [info["calls"]]
    for action in (2, 0):
        *_, info = env.step(action)
        seen.append(info["calls"])
    assert [one.tolist() for one in seen] == [[0, 0], [0, 1], [0, 1]]  # infos of former steps do not change
    state = env.snapshot()
    env.step(1)
    env.restore(state)
    table = DecisionTable.from_slots(env.slots, [Act("heads", (-0.1, -2.4))])
    assert table.calls_so_far.tolist() == [[0, 1]]
    assert texts(table.state_key) == ["coin-1/1"]
    assert texts(table.admissible_actions) == ['["heads", "tails"]']
    assert table.steps_left.tolist() == [1]
    assert table.actor_logprobs is not None
    np.testing.assert_array_equal(table.actor_logprobs[0], np.array([-0.1, -2.4], np.float32))
    assert DecisionTable.from_slots(env.slots).actor_logprobs is None


def test_feature_vectors_have_one_length() -> None:
    info = {"state_key": "a", "calls": np.zeros(1, np.int64)}
    vectors = [{**info, "feature_vector": np.arange(2.0)}, {**info, "feature_vector": np.ones(2)}]
    table = DecisionTable.from_infos(["x", "y"], vectors)
    assert table.feature_vector is not None
    assert table.feature_vector.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    with pytest.raises(InvalidArgumentError, match="at every decision or at none"):
        DecisionTable.from_infos(["x", "y"], [vectors[0], info])
    with pytest.raises(InvalidArgumentError, match="received lengths 2 to 3"):
        DecisionTable.from_infos(["x", "y"], [vectors[0], {**info, "feature_vector": np.ones(3)}])
    with pytest.raises(InvalidArgumentError, match="1 of 2 have an infinite one"):
        DecisionTable.from_infos(["x", "y"], [vectors[0], {**info, "feature_vector": np.array([1.0, np.inf])}])
