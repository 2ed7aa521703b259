"""FreeText: membership, batching, shared memory."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces.utils import flatten_space
from gymnasium.vector.utils import batch_space, create_shared_memory
from hypothesis import given
from hypothesis import strategies as st

from selfreg_gym import FreeText
from selfreg_gym.errors import InvalidArgumentError


@given(st.text(max_size=50))
def test_any_text_is_a_member(text: str) -> None:
    assert text in FreeText(50)
    assert (text + "x" * 51) not in FreeText(50)


@pytest.mark.parametrize("other", [None, 3, b"bytes", ["a"], np.array("a")])
def test_other_values_are_not_members(other: object) -> None:
    assert other not in FreeText()


def test_samples_are_members_and_follow_the_seed() -> None:
    one, two = FreeText(10, seed=3), FreeText(10, seed=3)
    drawn = [one.sample() for _ in range(50)]
    assert drawn == [two.sample() for _ in range(50)]
    assert all(text in one for text in drawn)
    assert len(set(drawn)) > 10
    with pytest.raises(InvalidArgumentError):
        one.sample(mask=1)


def test_equal_by_length_and_not_to_gymnasiums_text() -> None:
    assert FreeText(5) == FreeText(5)
    assert FreeText(5) != FreeText(6)
    assert FreeText(5) != gym.spaces.Text(5)
    assert hash(FreeText(5)) == hash(FreeText(5))
    assert copy.deepcopy(FreeText(5)) == pickle.loads(pickle.dumps(FreeText(5))) == FreeText(5)


def test_what_sb3_allocates_from() -> None:
    space = FreeText()
    assert (space.shape, space.dtype) == ((), np.dtype(object))
    assert not space.is_np_flattenable


def test_batches_to_a_tuple_of_texts() -> None:
    batched = batch_space(FreeText(7), 3)
    assert ("a", "", "c d\n") in batched
    assert ("a", "b") not in batched


def test_shared_memory_raises() -> None:
    with pytest.raises(InvalidArgumentError, match="shared_memory=False"):
        create_shared_memory(FreeText(), 2)


def test_async_vector_env_without_shared_memory_carries_the_text() -> None:
    import selfreg_gym  # noqa: F401

    envs = gym.make_vec(
        "selfreg/Coin-v0", num_envs=2, vectorization_mode="async", vector_kwargs={"shared_memory": False}
    )
    try:
        texts, _ = envs.reset(seed=0)
        assert texts == gym.make_vec("selfreg/Coin-v0", num_envs=2, vectorization_mode="sync").reset(seed=0)[0]
    finally:
        envs.close()


def test_a_length_below_one_raises() -> None:
    with pytest.raises(InvalidArgumentError, match="at least 1"):
        FreeText(0)
    assert repr(FreeText(9)) == "FreeText(9)"
    assert flatten_space(FreeText(9)) is not None
