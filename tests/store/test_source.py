"""What functions accept as rollouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stored import episode

from selfreg_gym import TransitionModel, solve_fitted
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.off_policy.logged import read_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.prm.targets import gather
from selfreg_gym.store.rollouts import UnfinishedStoreWarning
from selfreg_gym.store.source import checked_source, finished_episodes

READERS = {
    "solve_fitted": solve_fitted,
    "TransitionModel.fit": TransitionModel.fit,
    "read_episodes": read_episodes,
    "gather": gather,
    "DecisionTable": DecisionTable.from_rollouts,
    "finished_episodes": lambda rollouts: list(finished_episodes(rollouts)),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("wrong", ["runs/demo/rollouts.sqlite", Path("rollouts.sqlite"), 3, [1, 2], None])
def test_a_path_or_another_object_is_an_error_that_says_what_to_pass(read, wrong):
    with pytest.raises(InvalidArgumentError, match=r"must be (a Rollouts store or episodes|an Episode), received"):
        read(wrong)


def test_a_store_and_its_episodes_are_the_same_source(rollouts):
    rollouts.fix_plan([EpisodeSpec(task, task, 0.5, task) for task in range(3)])
    rollouts.add([episode(task, task) for task in range(2)])
    with pytest.warns(UnfinishedStoreWarning):
        assert checked_source(rollouts) is rollouts
    episodes = list(rollouts.episodes())
    failed = replace(episodes[0], error="no answer")
    assert checked_source(iter([failed, *episodes])) == episodes == list(finished_episodes(rollouts))
