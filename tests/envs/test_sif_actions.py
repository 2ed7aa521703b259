"""Admissible actions, parsing of answers, and the success rules."""

from __future__ import annotations

import pytest

from selfreg_gym.envs.sif import actions
from selfreg_gym.envs.sif.episodes import KINDS, RECEPTACLE, ROOM, make_task
from selfreg_gym.envs.sif.houses import FUNCTIONS, HALL, NO_PUT, OBJECTS, RECEPTACLES
from selfreg_gym.envs.sif.world import GONE, LOST, SEEN, STOPPED, World


def half() -> float:
    """A draw with which picks succeed and the human is noticed."""
    return 0.5


def world(kind="pnp", where=lambda task: True) -> World:
    """The start of the first task of ``kind`` that fulfils the condition ``where``."""
    return World(next(t for t in (make_task("train", kind, i) for i in range(200)) if where(t)), half)


def target_spot(w: World) -> int:
    return next(s for s, objects in enumerate(w.truth) if w.task.target in objects)


def give_to_robot(w: World) -> str:
    """Put the target into the gripper and return its name."""
    w.truth[target_spot(w)] = ()
    w.held = w.task.target
    return OBJECTS[w.held]


def starting(w: World, word: str) -> list[str]:
    return [text for text in actions.admissible(w) if text.startswith(word)]


def test_explore_is_admissible_in_the_present_room_only():
    w = world(where=lambda t: t.start != HALL)
    assert starting(w, "Explore") == [f"Explore Room {w.room + 1}"]


def test_in_the_hall_only_go_follow_and_done_are_admissible():
    w = world("s_hum")
    w.room, w.held = HALL, 3
    assert {text.split()[0] for text in actions.admissible(w)} == {"Go", "Follow", "Done!"}
    assert len(starting(w, "Go")) == w.house.rooms


def test_go_is_always_admissible_to_every_other_room():
    for kind in KINDS:
        w = world(kind, lambda t: t.start != HALL)
        others = [f"Go to Room {r + 1}" for r in range(w.house.rooms) if r != w.room]
        assert starting(w, "Go") == others
        w.held = 0
        assert starting(w, "Go") == others


def test_pick_is_admissible_for_mapped_objects_with_an_empty_hand():
    w = world("s_obj")
    was = next(s for s, objects in enumerate(w.belief) if objects and w.task.target in objects)
    pick = f"Pick up the {OBJECTS[w.task.target]}"
    w.room = w.house.spot_room[was]
    assert pick in actions.admissible(w), "the map says so, though it was moved"
    w.held = (w.task.target + 1) % len(OBJECTS)
    assert not starting(w, "Pick")
    w.held, w.room = -1, w.house.spot_room[target_spot(w)]
    assert pick not in actions.admissible(w), "it is here, but the robot has not seen it"


def test_two_equal_objects_in_a_room_give_one_pick():
    w = world(where=lambda t: t.start != HALL)
    first, second = w.house.spots[w.room][:2]
    w.belief[first] = w.belief[second] = (3,)
    assert starting(w, "Pick") == ["Pick up the cup"]


def test_put_is_admissible_on_mapped_receptacles_except_bench_fridge_and_shelves():
    w = world(where=lambda t: t.start != HALL)
    assert not starting(w, "Put")
    name = give_to_robot(w)
    for room, spots in enumerate(w.house.spots):
        w.room = room
        known = [w.house.spot_kind[s] for s in spots if w.belief[s] is not None]
        assert starting(w, "Put") == [f"Put the {name} on the {RECEPTACLES[k]}" for k in known if k not in NO_PUT]
        assert not any(text.endswith(("bench", "fridge", "shelves")) for text in starting(w, "Put"))


@pytest.mark.parametrize(("status", "expected"), [(LOST, False), (STOPPED, True), (SEEN, True), (GONE, True)])
def test_give_is_admissible_where_the_human_is_seen_or_remembered(status, expected):
    w = world("s_hum")
    w.human_status, w.human_room = status, w.room
    assert not starting(w, "Give"), "nothing to give"
    name = give_to_robot(w)
    assert bool(starting(w, "Give")) is expected
    if expected:
        assert starting(w, "Give") == [f"Give the {name} to the human"]
        w.human_room = (w.room + 1) % w.house.rooms
        assert not starting(w, "Give")


def test_give_does_not_reveal_an_unseen_human():
    w = world("s_hum")
    give_to_robot(w)
    w.room, w.human_status = w.task.goal_arg, LOST
    w.walked = w.walk[-1][0]
    assert w.human_place()[0] == w.room, "the human stands in this very room, unseen"
    assert not starting(w, "Give")


@pytest.mark.parametrize(("status", "expected"), [(LOST, False), (STOPPED, False), (SEEN, True), (GONE, True)])
def test_follow_is_admissible_until_the_human_stops_or_is_lost(status, expected):
    w = world("s_hum")
    w.human_status = status
    assert bool(starting(w, "Follow")) is expected


def test_follow_and_give_are_not_admissible_without_a_human():
    for kind in ("pnp", "s_obj"):
        w = world(kind, lambda t: t.start != HALL)
        give_to_robot(w)
        assert not starting(w, "Follow")
        assert not starting(w, "Give")


def test_done_is_always_admissible_texts_are_unique_and_none_is_admissible_at_the_end():
    for kind in KINDS:
        for i in range(30):
            w = World(make_task("train", kind, i), half)
            texts = actions.admissible(w)
            assert texts[-1] == "Done!"
            assert len(set(texts)) == len(texts)
            w.over = True
            assert actions.admissible(w) == ()


@pytest.mark.parametrize(
    "answer",
    [
        "Go to Room 2",
        "  go TO   room 2. ",
        "Reasoning: the cup is there. Action: Go to Room 2",
        "reasoning: I could say Action: Done!\nACTION: go to room 2\nReasoning: more",
        "Go to Room 2\n",
    ],
)
def test_parse_ignores_case_spaces_punctuation_and_reasoning(answer):
    read = actions.parse(answer, ("Go to Room 1", "Go to Room 2", "Done!"))
    assert read == ("Go to Room 2", (actions.GO, 1))


@pytest.mark.parametrize("answer", ["", "Go to Room 3", "Go to Room", "Go to Room 2 or Done!", "Fly to Room 2", "\n"])
def test_parse_returns_none_for_other_texts(answer):
    assert actions.parse(answer, ("Go to Room 1", "Go to Room 2", "Done!")) is None


# -------------------------------------------------------------------- success


def test_a_receptacle_command_is_fulfilled_on_any_receptacle_of_the_category():
    w = world(where=lambda t: t.goal == RECEPTACLE and t.house.spot_kind.count(t.goal_arg) > 1)
    assert not w.fulfilled()
    give_to_robot(w)
    assert not w.fulfilled()
    for spot, kind in enumerate(w.house.spot_kind):
        w.truth[spot] = (w.task.target,)
        assert w.fulfilled() is (kind == w.task.goal_arg)
        w.truth[spot] = ((w.task.target + 1) % len(OBJECTS),)
        assert not w.fulfilled(), "the wrong object"
        w.truth[spot] = ()


def test_a_room_command_requires_the_function_and_an_empty_gripper():
    w = world(where=lambda t: t.goal == ROOM and t.house.function.count(t.goal_arg) > 1)
    give_to_robot(w)
    w.held = -1
    for spot, room in enumerate(w.house.spot_room):
        w.truth[spot] = (w.task.target,)
        right = w.house.function[room] == w.task.goal_arg
        assert w.fulfilled() is right, FUNCTIONS[w.house.function[room]]
        w.held = 0
        assert not w.fulfilled()
        w.held, w.truth[spot] = -1, ()


def test_a_human_command_requires_that_the_human_holds_the_target():
    w = world("s_hum")
    other = (w.task.target + 1) % len(OBJECTS)
    assert not w.fulfilled()
    w.received = (other,)
    assert not w.fulfilled()
    w.received = (other, w.task.target)
    assert w.fulfilled()
    w.needless = True
    assert not w.fulfilled()


def test_every_action_is_of_the_kind_that_its_text_begins_with():
    for text, (op, _) in actions._MEANING.items():
        assert [kind for kind in actions.KINDS if text.startswith(kind)] == [actions.KINDS[op]]
    assert actions.KINDS[actions.PUT] == "Put"
    assert actions.KINDS[actions.DONE] == "Done"
