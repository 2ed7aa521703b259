"""Observations under another numbering of the rooms."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.envs.sif.renumbering import count_rooms, renumbered
from selfreg_gym.errors import InvalidArgumentError


def observations() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Observations and admissible actions of whole episodes of all kinds."""
    env = gym.make("selfreg/SIF-v0", kind="mixed", split="val-unseen").unwrapped
    rng = np.random.default_rng(0)
    for episode in range(60):
        observation, info = env.reset(seed=episode, options={"episode": episode})
        over = False
        while not over:
            yield observation, info["admissible_actions"]
            actions = [a for a in info["admissible_actions"] if a != "Done!" or rng.random() < 0.1]
            observation, _, over, _, info = env.step(actions[rng.integers(len(actions))])
        yield observation, ()


def actions_of(observation: str) -> list[str]:
    line = next((line for line in observation.split("\n") if line.startswith("You can: ")), "You can: ")
    return [action for action in line.removeprefix("You can: ").split(", ") if action]


def test_a_numbering_and_its_inverse_give_the_observation_back() -> None:
    rng = np.random.default_rng(1)
    changed = 0
    for observation, actions in observations():
        order = rng.permutation(count_rooms(observation))
        other = renumbered(observation, order.tolist())
        assert renumbered(other, np.argsort(order).tolist()) == observation
        assert renumbered(observation, list(range(len(order)))) == observation
        changed += other != observation
        assert actions_of(observation) == list(actions)
    assert changed > 300


def test_all_rooms_are_renamed_and_lists_are_sorted() -> None:
    rng = np.random.default_rng(2)
    for observation, actions in observations():
        order = rng.permutation(count_rooms(observation)).tolist()
        other = renumbered(observation, order)

        def rename(text: str, order: list[int] = order) -> str:
            return re.sub(r"\d", lambda match: str(order[int(match[0]) - 1] + 1), text)

        assert sorted(actions_of(other)) == sorted(rename(action) for action in actions)
        moves = [action for action in actions_of(other) if action.startswith("Go to")]
        assert moves == sorted(moves)
        rows = re.findall(r"(?m)^Room (\d): (.*)$", other)
        assert [int(number) for number, _ in rows] == list(range(1, len(order) + 1))
        assert {rename(f"Room {n}: {things}") for n, things in re.findall(r"(?m)^Room (\d): (.*)$", observation)} == {
            f"Room {n}: {things}" for n, things in rows
        }
        for choice in re.findall(r"Room (\d(?:, \d)* or \d)", other):
            assert re.findall(r"\d", choice) == sorted(re.findall(r"\d", choice))
        assert observation.count("\n") == other.count("\n")
        assert len(observation) == len(other)
        assert other.rsplit("\n", 1)[1] == rename(observation.rsplit("\n", 1)[1])


def test_augment_returns_renumbered_observations() -> None:
    env = gym.make("selfreg/SIF-v0")
    observation, _ = env.reset(seed=0, options={"episode": 1})
    augment = env.get_wrapper_attr("augment")
    other = {augment(observation, np.random.default_rng(seed)) for seed in range(20)}
    assert len(other) > 15
    assert augment(observation, np.random.default_rng(3)) == augment(observation, np.random.default_rng(3))


@pytest.mark.parametrize("order", [[0, 1], [0, 0, 1, 2, 3], [1, 2, 3, 4, 5]])
def test_an_order_that_is_not_a_permutation_raises(order: list[int]) -> None:
    env = gym.make("selfreg/SIF-v0")
    observation = next(
        observation
        for observation, _ in (env.reset(options={"episode": i}) for i in range(50))
        if count_rooms(observation) == 5
    )
    with pytest.raises(InvalidArgumentError, match=r"permutation of the 5 rooms \(0 to 4\), received"):
        renumbered(observation, order)


def test_another_text_raises() -> None:
    with pytest.raises(InvalidArgumentError, match=r"lines of its map.*received 'hello'"):
        renumbered("hello", [0])
