"""The first stage of the training of the shipped actors: which decisions it has, and what is left of their texts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from example_files import load_example

from selfreg_gym import registry

BABYAI = """You see 6 cells ahead and 3 to each side.
Ahead: 2 free, then a wall.
Left: 3 free.
a red box 2 ahead, 1 right
a grey box 2 ahead, 2 left
You carry {carried} and face north.
30 steps are left.
Mission: put the red ball next to the grey box.
You can: left, right, forward, pickup, drop, toggle"""

COOKING = """Task: You are hungry!
You have read the cookbook.
Ingredients:
  block of cheese
Directions:
  slice the block of cheese
  prepare meal
Last action: take knife
You are in the kitchen.
Inventory (maximum capacity is 4 items): a block of cheese, a knife
Score: 17 of 100. Steps left: 46."""


@pytest.fixture(scope="module")
def stage(repository: Path) -> ModuleType:
    return load_example(repository / "examples" / "first_stage.py")


def test_sif_keeps_the_words_of_the_human_the_actions_and_the_position(stage: ModuleType) -> None:
    task = registry.load("envs", "selfreg/SIF-v0")()
    text, info = task.reset(seed=0, options={"episode": 1})
    short = stage.shortened(text)
    assert text.endswith(short)
    assert short.startswith("Earlier the human said:")
    assert "Your map" not in short
    assert all(action in short for action in info["admissible_actions"])


def test_sif_keeps_all_lookups_and_a_quarter_of_the_other_decisions(stage: ModuleType) -> None:
    text = 'Your map:\nThe human says: "Bring me the cup."\nYou can: Go to Room 1, Done!'
    pairs = [(text, "Go to Room 1")] * 100 + [(text, "Done!")] * 400
    kept = [action for _, action in stage.lookups("sif", pairs, np.random.default_rng(0))]
    assert kept.count("Go to Room 1") == 100
    assert 70 <= kept.count("Done!") <= 130


def test_babyai_keeps_decisions_with_the_next_object_in_view(stage: ModuleType) -> None:
    searching, carrying = BABYAI.format(carried="nothing"), BABYAI.format(carried="a red ball")
    kept = stage.lookups("babyai", [(searching, "left"), (carrying, "forward")], np.random.default_rng(0))
    assert [action for _, action in kept] == ["forward"]  # the red ball is not in view, the grey box is
    assert kept[0][0].split("\n") == [
        "Ahead: 2 free, then a wall.",
        "a red box 2 ahead, 1 right",
        "a grey box 2 ahead, 2 left",
        "You carry a red ball and face north.",
        "Mission: put the red ball next to the grey box.",
    ]


def test_cookingworld_keeps_preparations_with_recipe_and_inventory(stage: ModuleType) -> None:
    pairs = [(COOKING, "slice block of cheese"), (COOKING, "open fridge")]
    kept = stage.lookups("cookingworld", pairs, np.random.default_rng(0))
    assert [action for _, action in kept] == ["slice block of cheese"]
    assert kept[0][0].split("\n") == [
        "Ingredients:",
        "  block of cheese",
        "Directions:",
        "  slice the block of cheese",
        "  prepare meal",
        "Inventory (maximum capacity is 4 items): a block of cheese, a knife",
    ]
