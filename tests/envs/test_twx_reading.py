"""Texts of TextWorldExpress: rooms, recipes and the state text."""

from __future__ import annotations

import pytest

import selfreg_gym  # noqa: F401
from selfreg_gym.envs.twx import simulator
from selfreg_gym.envs.twx.knowledge import learn, state_text
from selfreg_gym.envs.twx.recipe import Need, noun, read_recipe, states
from selfreg_gym.envs.twx.scene import Exit, Thing, read_inventory, read_scene

pytest.importorskip("textworld_express")


def test_a_room_is_read_into_things_and_exits():
    scene = read_scene(
        "You are in the kitchen. In one part of the room you see a stove. There is also an oven. You also see An open "
        "fridge, that contains some water, a carrot, and an raw egg. In another part of the room you see a counter "
        "that has a knife, and a cookbook on it. In one part of the room you see an open kitchen cupboard, that is "
        "empty. "
        "There is also a trash can that is closed. You also see a dining chair, that has nothing on it. \nTo the North "
        "you see a closed patio door. Through an open plain door, to the South you see the pantry. To the East you see "
        "the corridor. "
    )
    assert scene.room == "kitchen"
    assert scene.things == (
        Thing("stove"),
        Thing("oven"),
        Thing("fridge", ("water", "carrot", "raw egg")),
        Thing("counter", ("knife", "cookbook")),
        Thing("kitchen cupboard", ()),
        Thing("trash can", None, True),
        Thing("dining chair", ()),
    )
    assert scene.exits == (
        Exit("north", "patio door", True, ""),
        Exit("south", "plain door", False, "pantry"),
        Exit("east", "", False, "corridor"),
    )
    assert read_inventory("Inventory (maximum capacity is 2 items): \n  a roasted carrot\n  some salt\n") == (
        "roasted carrot",
        "salt",
    )
    assert read_inventory("Inventory: \n  Your inventory is currently empty.\n") == ()


def test_recipes_are_read():
    text = (
        "Gather all following ingredients.\n\nIngredients:\n  block of cheese\n  salt\n\nDirections:\n  dice the block "
        "of cheese\n  grill the block of cheese\n  prepare meal\n"
    )
    assert read_recipe(text) == (
        Need("block of cheese", frozenset({"diced", "grilled"})),
        Need("salt", frozenset()),
    )
    assert read_recipe("The map reads:\n  The canteen connects to the bar.") == ()
    assert (noun("sliced roasted raw carrot"), states("sliced roasted carrot")) == ("carrot", {"sliced", "roasted"})


def test_the_state_text_has_no_order_of_items():
    look = "You are in the kitchen. There is also a counter that has {}, and {} on it."
    replies = [
        simulator.Reply("", look.format(*pair), "Inventory:\n", (), 0.0, False, False)
        for pair in (("a knife", "a fork"), ("a fork", "a knife"))
    ]
    first, second = (state_text(learn(None, "", reply, None), reply) for reply in replies)
    assert first == second
