"""Physics: clocks, perception, map and truth, the human, following."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from selfreg_gym.envs.sif.episodes import make_task
from selfreg_gym.envs.sif.houses import HALL
from selfreg_gym.envs.sif.human import make_walk, on_the_way, place, rooms_ahead
from selfreg_gym.envs.sif.world import GONE, LOST, NO_HUMAN, SEEN, STOPPED, World


def half() -> float:
    return 0.5


def low() -> float:
    return 0.0


def high() -> float:
    return 0.999


def world(kind="pnp", where=lambda task: True, draw=half) -> World:
    return World(next(t for t in (make_task("train", kind, i) for i in range(300)) if where(t)), draw)


def at_target(w: World) -> int:
    """Put the robot where the target truly lies and return the spot."""
    spot = next(s for s, objects in enumerate(w.truth) if w.task.target in objects)
    w.room = w.house.spot_room[spot]
    return spot


# -------------------------------------------------------------------- clocks


def test_go_takes_steps_by_distance_and_explore_takes_eleven():
    w = world(where=lambda t: t.start != HALL)
    here, there = w.room, (w.room + 1) % w.house.rooms
    w.go(there, half)
    home = w.house
    way = home.depth[here] + abs(home.x[here] - home.x[there]) + home.depth[there]
    assert w.clock == round(way / 0.17) == home.steps[here][there]
    before = w.clock
    w.explore(half)
    assert w.clock == before + 11


def test_go_from_the_hall_takes_the_path_to_the_door_and_into_the_room():
    w = world(where=lambda t: t.start == HALL)
    w.go(0, half)
    assert w.clock == round((abs(w.task.start_x - w.house.x[0]) + w.house.depth[0]) / 0.17)


def test_the_human_walks_during_go_and_explore_and_stands_during_pick_put_and_give():
    w = world("s_hum")
    w.explore(half)
    assert w.walked == pytest.approx(11 * w.pace)
    walked = w.walked
    at_target(w)
    w.explore(low)  # sees every spot
    walked += 11 * w.pace
    w.pick(w.task.target, half)
    kind = next(w.house.spot_kind[s] for s in w.house.spots[w.room])
    w.put(kind)
    w.pick(w.task.target, half)
    w.give()
    assert w.walked == pytest.approx(walked)
    assert w.clock == 22 + 4 * 10


# -------------------------------------------------------------------- belief


def test_the_map_is_wrong_where_objects_were_moved():
    w = world("s_obj")
    assert any(b is not None and b != t for b, t in zip(w.belief, w.truth, strict=True))


@pytest.mark.parametrize("thorough", [False, True])
def test_a_visit_reveals_a_random_part_of_the_room(thorough):
    random_ = random.Random(0)
    parts, whole = set(), 0
    for _ in range(300):
        w = world(where=lambda t: t.start != HALL and len(t.house.spots[t.start]) == 4)
        if thorough:
            w.explore(random_.random)
        else:
            room = w.room
            w.room = (room + 1) % w.house.rooms
            w.go(room, random_.random)
        seen = tuple(s for s in w.house.spots[w.room] if w.fresh >> s & 1)
        assert seen, "at least one spot is seen"
        assert w.fresh == sum(1 << s for s in seen), "nothing of another room"
        parts.add(seen)
        whole += len(seen) == 4
    assert len(parts) > 5
    assert (0.35 if thorough else 0.05) * 300 < whole < (0.7 if thorough else 0.25) * 300


def test_a_look_corrects_the_map_of_the_seen_spots_only():
    w = world("s_obj")
    was = next(s for s, objects in enumerate(w.belief) if objects and w.task.target in objects)
    before = list(w.belief)
    w.go(w.house.spot_room[was], low)
    assert w.belief[was] == w.truth[was]
    for s, room in enumerate(w.house.spot_room):
        if room != w.room:
            assert w.belief[s] == before[s]


def test_explore_looks_at_unseen_spots_first():
    w = world(where=lambda t: t.start != HALL)
    w.fresh = sum(1 << s for s in w.house.spots[w.room][1:])
    w.explore(high)  # a look reveals one spot at least
    assert w.fresh >> w.house.spots[w.room][0] & 1


def test_a_pick_of_a_moved_object_fails_and_removes_it_from_the_map():
    w = world("s_obj")
    was = next(s for s, objects in enumerate(w.belief) if objects and w.task.target in objects)
    w.room = w.house.spot_room[was]
    assert w.pick(w.task.target, half) == "It is not here any more."
    assert w.held == -1
    assert w.task.target not in (w.belief[was] or ())
    assert not w.over


def test_a_failed_pick_changes_nothing():
    w = world()
    spot = at_target(w)
    w.explore(low)
    assert w.pick(w.task.target, low) == "It slips out of your hand."
    assert w.held == -1
    assert w.task.target in w.truth[spot]
    assert w.pick(w.task.target, half).startswith("You take it from the ")
    assert w.held == w.task.target
    assert w.truth[spot] == w.belief[spot] == ()


def test_put_changes_the_map_and_the_truth():
    w = world()
    at_target(w)
    w.explore(low)
    w.pick(w.task.target, half)
    spot = w.house.spots[w.room][0]
    w.put(w.house.spot_kind[spot])
    assert w.truth[spot][-1] == w.belief[spot][-1] == w.task.target
    assert w.held == -1


# -------------------------------------------------------------------- the human


def test_a_walk_is_continuous_from_start_to_goal():
    for i in range(40):
        task = make_task("train", "s_hum", i)
        between = on_the_way(task.house.index, task.start, task.goal_arg)
        for through in (HALL, *between):
            walk = make_walk(task.house.index, task.start, task.goal_arg, through)
            way = [place(walk, 0.01 * n) for n in range(int(100 * walk[-1][0]) + 2)]
            assert way[0][0] == task.start
            assert way[-1][0] == task.goal_arg
            assert all(abs(a[1] - b[1]) < 0.011 for a, b in pairwise(way))
            rooms = [room for n, (room, _) in enumerate(way) if n == 0 or way[n - 1][0] != room]
            expected = [task.start, HALL, task.goal_arg]
            assert rooms == (expected if through == HALL else [task.start, HALL, through, HALL, task.goal_arg])


def test_rooms_ahead_contain_the_goal_during_the_walk():
    for i in range(60):
        w = World(make_task("train", "s_hum", i), random.Random(i).random)
        while w.walked < w.walk[-1][0]:
            w._see_human()
            ahead = rooms_ahead(w.house, w.task.start, w.human_room, round(w.human_x, 1), w.heading)
            if w.human_room == HALL and abs(w.human_x - w.house.x[w.task.goal_arg]) > 0.2:
                assert w.task.goal_arg in ahead, (i, w.walked)
            assert w.task.start not in ahead
            w.walked += 0.2


def test_following_leads_to_the_goal_and_ends_there():
    for i in range(40):
        w = World(make_task("train", "s_hum", i), half)
        assert w.human_status == SEEN
        follows = 0
        while w.human_status == SEEN:
            clock = w.clock
            w.follow(half)
            assert w.clock - clock <= 20
            assert w.room == w.human_place()[0], "the robot is where the human is"
            follows += 1
        assert w.human_status == STOPPED
        assert w.room == w.task.goal_arg
        assert follows <= 12
        assert w.human_steps_left() == 0


def test_the_human_can_be_lost_at_a_door():
    w = world("s_hum")
    while w.human_status == SEEN:
        report = w.follow(low)
    assert w.human_status == LOST
    assert report == "Follow the human. You lose the human."


def test_the_human_is_lost_after_too_long_out_of_sight():
    w = world("s_hum")
    w.explore(high)
    w.walked, w.room = w.walk[0][0] + 0.1, w.task.start
    w.explore(half)
    assert w.human_status == GONE
    assert w.human_room == w.task.start, "last seen there"
    w.explore(half)
    w.explore(half)
    assert w.human_status == LOST


def test_follow_does_not_find_a_distant_unseen_human():
    w = world("s_hum", lambda t: abs(t.house.x[t.start] - t.house.x[t.goal_arg]) > 7)
    w.walked, w.human_status = w.walk[1][0], GONE
    w.follow(half)
    assert w.human_status == LOST
    assert w.room == w.task.start


def test_a_lost_human_can_be_found_at_its_destination():
    w = world("s_hum")
    w.human_status, w.walked = LOST, w.walk[-1][0]
    w.go(w.task.goal_arg, high)
    assert w.human_status == LOST, "not noticed at a glance"
    assert "The human is standing here." in w.explore(high)
    assert w.human_status == STOPPED


def test_give_requires_the_human_in_the_same_room():
    w = world("s_hum")
    w.held = w.task.target
    w.human_status, w.human_room, w.walked = GONE, w.room, w.walk[-1][0]
    assert w.give() == "The human is not here any more."
    assert w.held == w.task.target
    assert w.received == ()
    assert w.human_status == LOST
    w.room = w.task.goal_arg
    assert w.give() == "The human takes it."
    assert (w.held, w.received) == (-1, (w.task.target,))


def test_the_other_kinds_have_no_human():
    for kind in ("pnp", "s_obj"):
        w = world(kind)
        w.go((w.room + 1) % w.house.rooms, low)
        assert w.human_status == NO_HUMAN


# -------------------------------------------------------------------- needless following


def test_following_at_step_50_of_a_clear_task_is_needless():
    long = lambda t: t.clear and abs(t.house.x[t.start] - t.house.x[t.goal_arg]) > 6  # noqa: E731
    w = world("s_hum", long)
    w.follow(half)
    w.follow(half)
    assert (w.clock, w.needless) == (40, False)
    w.follow(half)
    assert w.needless
    vague = world("s_hum", lambda t: not t.clear and abs(t.house.x[t.start] - t.house.x[t.goal_arg]) > 6)
    for _ in range(3):
        vague.follow(half)
    assert not vague.needless


def test_following_after_step_50_is_not_needless():
    w = world("s_hum", lambda t: t.clear and abs(t.house.x[t.start] - t.house.x[t.goal_arg]) > 6)
    w.clock = 50
    w.follow(half)
    assert not w.needless


def test_following_to_the_goal_of_a_clear_task_is_needless_unless_another_room_was_entered_first():
    for detour, fails in ((False, True), (True, False)):
        w = world("s_hum", lambda t: t.clear and t.house.rooms > 4)
        w.clock = 60  # after step 50
        w.walked = w.walk[-2][0] - 0.1
        if detour:
            other = next(r for r in range(w.house.rooms) if r not in (w.task.start, w.task.goal_arg))
            w._enter(other, followed=False)
        w._see_human()
        w.follow(half)
        assert w.room == w.task.goal_arg
        assert w.needless is fails


def test_copy_is_independent():
    w = world("s_hum")
    other = w.copy()
    w.go((w.room + 1) % w.house.rooms, low)
    w.truth[0], w.lines[0] = (5,), "?"
    assert other.clock == 0
    assert other.truth == list(other.task.truth)
    assert other.belief == list(other.task.premap)
    assert other.fresh == 0
    assert "?" not in other.lines
