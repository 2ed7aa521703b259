# ruff: noqa: E501 - whole observations are quoted
"""Observations: English, short, of a closed vocabulary, and limited to the robot's knowledge."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from selfreg_gym.envs.sif import SIF, text
from selfreg_gym.envs.sif.actions import (
    DONE_TEXT,
    EXPLORE_TEXT,
    FOLLOW_TEXT,
    GIVE_TEXT,
    GO_TEXT,
    PICK_TEXT,
    PUT_TEXT,
)
from selfreg_gym.envs.sif.episodes import KINDS, SPLITS, make_task
from selfreg_gym.envs.sif.houses import FUNCTIONS, HALL, OBJECTS, RECEPTACLES

TOKEN = re.compile(r"\w+|[^\w\s]")


def observations(split="train", kind="mixed", episodes=120, skill=0.7):
    """Observations of episodes by the expert with some random actions."""
    env = SIF(split=split, kind=kind)
    for i in range(episodes):
        choose = random.Random(i)
        observation, info = env.reset(seed=i, options={"episode": i})
        yield observation, info
        while info["admissible_actions"]:
            action = env.expert_action() if choose.random() < skill else choose.choice(info["admissible_actions"])
            observation, _, _, _, info = env.step(action)
            yield observation, info


def fragments() -> list[str]:
    """All pieces of text of observations, except the actions, for the test of the closed vocabulary."""
    pieces = [text._ROLE_HUMAN, "So far: Your map: You can: The episode is over. Room: with a, and or."]
    pieces += [
        t.format(object="", room="", activity="")
        for t in text._CLEAR_HINT + text._VAGUE_HINT + text._CLEAR_GOING + text._VAGUE_GOING
    ]
    pieces += [activity for row in text._ACTIVITIES.values() for activity in row]
    pieces += [*RECEPTACLES, *OBJECTS, *FUNCTIONS, *(str(n) for n in range(1, 10))]
    pieces += [
        text.SLIPPED,
        text.picked(0),
        text.NOT_THERE,
        text.PUT_DOWN,
        text.GIVEN,
        text.HUMAN_GONE,
        text.HUMAN_LOST,
        text.INVALID,
        "You see",
        "The is not on your map. On your map the is in Room or and the shelves are in Room.",
    ]
    pieces += [text.human_here(stopped=stopped) for stopped in (False, True)]
    pieces += [
        text.human_followed(r, stopped=s, entered=e) for r in (HALL, 0) for s in (False, True) for e in (False, True)
    ]
    pieces += ['Earlier the human said: "', 'In Room the human says: "Bring me the . Put the on the in the "']
    pieces += [
        "The human is standing in",
        "The human is walking in , maybe to Room",
        "You have lost the human, who was",
    ]
    pieces += ["You do not see the human, who was walking in", text._where(HALL, -1), text._where(0, 0)]
    return pieces


def test_the_vocabulary_is_closed_in_every_split():
    texts = [
        *EXPLORE_TEXT,
        *GO_TEXT,
        *PICK_TEXT,
        *GIVE_TEXT,
        FOLLOW_TEXT,
        DONE_TEXT,
        *(t for row in PUT_TEXT for t in row),
    ]
    closed = {t for piece in [*fragments(), *texts] for t in TOKEN.findall(piece)}
    assert len(closed) < 400
    met = set()
    for split in SPLITS:
        here = {
            t for observation, _ in observations(split, episodes=250, skill=0.5) for t in TOKEN.findall(observation)
        }
        assert here <= closed, here - closed
        met |= here
    assert len(closed - met) < 15, f"unused words: {closed - met}"


def test_observations_are_short():
    lengths = [
        len(TOKEN.findall(observation)) for observation, info in observations(skill=0.9) if info["admissible_actions"]
    ]
    assert np.median(lengths) <= 220
    assert np.percentile(lengths, 95) <= 340


@pytest.mark.parametrize("kind", KINDS)
def test_no_room_function_is_printed_on_the_map(kind):
    for observation, _ in observations(kind=kind, episodes=30):
        map_ = observation.split("Your map:\n")[1].split("he human")[0]
        assert not any(name in map_ for name in FUNCTIONS)


def test_articles_lists_and_sentence_ends_are_correct():
    for observation, _ in observations(episodes=150, skill=0.5):
        assert not re.search(r"\ba shelves|\b(a|an|the) (a|an|the)\b|  |,,|\.\.| ,| \.", observation), observation
        assert not re.search(r"\{|\}|None|-1|Room 0", observation), observation
        lines = observation.split("\n")
        assert all(lines), "an empty line"
        for line in lines[1:]:
            assert line.endswith((".", "!", ":", '"')), line


def test_hints_name_the_room_when_clear_and_imply_it_when_ambiguous():
    seen = set()
    for i in range(300):
        for kind in ("s_obj", "s_hum"):
            task = make_task("train", kind, i)
            observation, _ = SIF(kind=kind).reset(seed=0, options={"episode": i})
            speech = (
                observation.split('said: "')[1].split('"')[0]
                if kind == "s_obj"
                else observation.split('says: "')[1].split('"')[0]
            )
            if task.hint >= 0:
                assert (FUNCTIONS[task.hint] in speech) is task.clear, speech
            else:
                assert not any(name in speech for name in FUNCTIONS)
            seen.add(re.sub(r"the (basket|book|bowl|cup|hat|plate|shoe|stuffed toy)", "it", speech))
    assert len(seen) > 60, "several paraphrases"


def test_the_command_names_object_and_goal():
    for i in range(50):
        observation, _ = SIF(kind="s_hum").reset(seed=0, options={"episode": i})
        start = make_task("train", "s_hum", i).start
        assert re.search(rf'In Room {start + 1} the human says: "Bring me the [a-z ]+\.', observation)
        observation, _ = SIF(kind="pnp").reset(seed=0, options={"episode": i})
        assert re.search(r'The human says: "Put the [a-z ]+ (on|in) the [a-z ]+\."', observation)


def test_the_observation_depends_on_the_map_and_not_on_the_truth():
    env = SIF(kind="s_obj", render_mode="ansi")
    for i in range(40):
        observation, _ = env.reset(seed=i, options={"episode": i})
        world = env._world
        for room, spots in enumerate(world.house.spots):
            line = re.search(rf"^Room {room + 1}: (.*)\.$", observation, re.MULTILINE)[1]
            assert len(line.split(", ")) == sum(world.belief[s] is not None for s in spots)
        world.truth[:] = [()] * len(world.truth)  # another truth, with all lines of the map formatted again
        world.stale.update(range(world.house.rooms))
        assert env.render() == observation


def test_history_has_a_line_for_each_action():
    env = SIF(kind="s_hum")
    observation, info = env.reset(seed=0, options={"episode": 1})
    assert "So far" not in observation
    actions = []
    while info["admissible_actions"]:
        actions.append(env.expert_action())
        observation, _, _, _, info = env.step(actions[-1])
    past = observation.split("So far:\n")[1].split("\nYour map:")[0].split("\n")
    assert len(past) == len(actions)
    assert all(line.startswith(action) for line, action in zip(past, actions, strict=True))


def test_two_whole_observations():
    """Trained checkpoints depend on the wording: change it only on purpose."""
    observation, _ = SIF(kind="s_hum").reset(seed=0, options={"episode": 1})
    assert observation == S_HUM
    env = SIF(kind="s_obj")
    env.reset(seed=1, options={"episode": 1})
    for _ in range(3):
        observation = env.step(env.expert_action())[0]
    assert observation == S_OBJ


S_HUM = """\
You are a household robot. Your map may be wrong.
Follow the human only if you do not know where the human goes.
Your map:
Room 1: bed with cup, cabinet, chair.
Room 2: toilet, bathtub, counter.
Room 3: shelves, chair.
Room 4: couch, table, shelves, cabinet.
Room 5: bed with shoe.
Room 6: fridge, counter with hat, chair.
In Room 2 the human says: "Bring me the shoe. I am going for a walk."
The human is walking in Room 2, maybe to Room 1, 3, 4, 5 or 6.
On your map the shoe is in Room 5.
You can: Explore Room 2, Go to Room 1, Go to Room 3, Go to Room 4, Go to Room 5, Go to Room 6, Follow the human, Done!
You are in Room 2 and hold nothing."""

S_OBJ = """\
You are a household robot. Your map may be wrong.
So far:
Go to Room 2. You see a toilet and a counter with a basket.
Explore Room 2. You see a bathtub with a hat.
Pick up the hat. You take it from the bathtub.
Your map:
Room 1: bed, chair.
Room 2: toilet, bathtub, counter with basket.
Room 3: shelves, chair, cabinet.
Room 4: couch with bowl, table with hat, shelves, cabinet.
Room 5: bed.
Room 6: fridge.
Earlier the human said: "I had the hat with me when I brushed my teeth."
The human says: "Put the hat in the kitchen."
You can: Explore Room 2, Go to Room 1, Go to Room 3, Go to Room 4, Go to Room 5, Go to Room 6, Put the hat on the toilet, Put the hat on the bathtub, Put the hat on the counter, Done!
You are in Room 2 and hold a hat."""


def test_the_mapped_places_of_object_and_receptacle_are_stated():
    env = SIF(kind="pnp")
    observation, _ = env.reset(seed=1, options={"episode": 1})
    assert "On your map the shoe is in Room 7 and the chair is in Room 5 or 6.\n" in observation
    while "hold a shoe" not in observation:
        observation = env.step(env.expert_action())[0]
    assert "On your map the chair is in Room 5 or 6.\n" in observation
    missing = 0
    for observation, _info in observations(kind="s_obj", episodes=60):
        if "is not on your map" in observation:
            missing += 1
            wanted = observation.split("is not on your map")[0].rsplit("The ", 1)[1].strip()
            on_map = [line for line in observation.splitlines() if line.startswith("Room ")]
            assert not any(wanted in line for line in on_map)
    assert missing > 2
