"""Pages under another numbering of the rooms."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.envs.sif.renumbering import renumbered, count_rooms
from selfreg_gym.errors import InvalidArgumentError


def pages() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Pages and their offers, of all kinds, from the first to the last of an episode."""
    env = gym.make("selfreg/SIF-v0", kind="mixed", split="val-unseen").unwrapped
    rng = np.random.default_rng(0)
    for episode in range(60):
        page, info = env.reset(seed=episode, options={"episode": episode})
        over = False
        while not over:
            yield page, info["admissible_actions"]
            offers = [a for a in info["admissible_actions"] if a != "Done!" or rng.random() < 0.1]
            page, _, over, _, info = env.step(offers[rng.integers(len(offers))])
        yield page, ()


def offers_of(page: str) -> list[str]:
    line = next((line for line in page.split("\n") if line.startswith("You can: ")), "You can: ")
    return [offer for offer in line.removeprefix("You can: ").split(", ") if offer]


def test_a_numbering_and_its_inverse_give_the_page_back() -> None:
    rng = np.random.default_rng(1)
    changed = 0
    for page, offers in pages():
        order = rng.permutation(count_rooms(page))
        told = renumbered(page, order.tolist())
        assert renumbered(told, np.argsort(order).tolist()) == page
        assert renumbered(page, list(range(len(order)))) == page
        changed += told != page
        assert offers_of(page) == list(offers)
    assert changed > 300


def test_everything_is_renamed_and_put_in_order() -> None:
    rng = np.random.default_rng(2)
    for page, offers in pages():
        order = rng.permutation(count_rooms(page)).tolist()
        told = renumbered(page, order)

        def call(text: str, order: list[int] = order) -> str:
            return re.sub(r"\d", lambda match: str(order[int(match[0]) - 1] + 1), text)

        assert sorted(offers_of(told)) == sorted(call(offer) for offer in offers)
        going = [offer for offer in offers_of(told) if offer.startswith("Go to")]
        assert going == sorted(going)
        rows = re.findall(r"(?m)^Room (\d): (.*)$", told)
        assert [int(number) for number, _ in rows] == list(range(1, len(order) + 1))
        assert {call(f"Room {n}: {things}") for n, things in re.findall(r"(?m)^Room (\d): (.*)$", page)} == {
            f"Room {n}: {things}" for n, things in rows
        }
        for choice in re.findall(r"Room (\d(?:, \d)* or \d)", told):
            assert re.findall(r"\d", choice) == sorted(re.findall(r"\d", choice))
        assert page.count("\n") == told.count("\n")
        assert len(page) == len(told)
        assert told.rsplit("\n", 1)[1] == call(page.rsplit("\n", 1)[1])


def test_the_env_tells_a_page_anew() -> None:
    env = gym.make("selfreg/SIF-v0")
    page, _ = env.reset(seed=0, options={"episode": 1})
    augment = env.get_wrapper_attr("augment")
    told = {augment(page, np.random.default_rng(seed)) for seed in range(20)}
    assert len(told) > 15
    assert augment(page, np.random.default_rng(3)) == augment(page, np.random.default_rng(3))


@pytest.mark.parametrize("order", [[0, 1], [0, 0, 1, 2, 3], [1, 2, 3, 4, 5]])
def test_no_permutation(order: list[int]) -> None:
    env = gym.make("selfreg/SIF-v0")
    page = next(page for page, _ in (env.reset(options={"episode": i}) for i in range(50)) if count_rooms(page) == 5)
    with pytest.raises(InvalidArgumentError, match=r"permutation of the page's 5 rooms \(0 to 4\), received"):
        renumbered(page, order)


def test_no_page() -> None:
    with pytest.raises(InvalidArgumentError, match=r"lines of its map.*received 'hello'"):
        renumbered("hello", [0])
