"""Houses and tasks: reproducible, valid, and disjoint between splits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from selfreg_gym.envs.sif.episodes import HUMAN, KINDS, RECEPTACLE, ROOM, SPLITS, make_task, task_seed
from selfreg_gym.envs.sif.houses import FUNCTIONS, FURNITURE, NO_PUT, RECEPTACLES, SEEN, UNSEEN, house

SETS = [(split, kind) for split in SPLITS for kind in KINDS]


def content(task):
    """The content of a task without its name."""
    return (
        task.house.index, task.kind, task.target, task.goal, task.goal_arg, task.truth, task.premap, task.start,
        task.start_x, task.hint, task.phrase,
    )  # fmt: skip


@pytest.mark.parametrize("index", range(10))
def test_furniture_identifies_the_function_and_every_room_has_a_usable_receptacle(index):
    home = house(index)
    assert 5 <= home.rooms <= 8
    for room, spots in enumerate(home.spots):
        names = [RECEPTACLES[home.spot_kind[s]] for s in spots]
        assert names[0] == FURNITURE[FUNCTIONS[home.function[room]]][0][0]
        assert len(set(names)) == len(names) in (3, 4)
        assert any(home.spot_kind[s] not in NO_PUT for s in spots), "no receptacle for Put in this room"
    steps = np.array(home.steps)
    assert (steps == steps.T).all()
    assert (np.diag(steps) == 0).all()
    assert (steps + np.eye(home.rooms) > 0).all()


def test_there_are_ten_different_houses_six_of_them_seen():
    assert sorted(SEEN + UNSEEN) == list(range(10))
    assert len(SEEN) == 6
    layouts = {(house(i).function, house(i).x, house(i).spot_kind) for i in range(10)}
    assert len(layouts) == 10


def test_tasks_are_the_same_in_another_process():
    code = "from selfreg_gym.envs.sif.episodes import *; print([make_task('val-seen', k, 7).truth for k in KINDS])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str([make_task("val-seen", k, 7).truth for k in KINDS])


@pytest.mark.parametrize(("split", "kind"), SETS)
def test_tasks_are_valid(split, kind):
    for i in range(60):
        check_valid(make_task(split, kind, i))


def check_valid(task):
    home = task.house
    lies = [s for s, objects in enumerate(task.truth) if task.target in objects]
    assert len(lies) == 1, "one target"
    assert not task.is_goal_spot(lies[0]), "nothing to do"
    assert home.spot_room[lies[0]] != task.start
    assert all(task.premap[spots[0]] is not None for spots in home.spots), "a room's function must show"
    if task.kind == "s_obj":
        was = [s for s, objects in enumerate(task.premap) if objects and task.target in objects]
        assert len(was) == 1, "the map has its former place"
        assert home.function[home.spot_room[was[0]]] != home.function[home.spot_room[lies[0]]], "it was moved"
        assert task.hint == home.function[home.spot_room[lies[0]]], "the hint is true"
    else:
        changed = [s for s, objects in enumerate(task.premap) if objects is not None and objects != task.truth[s]]
        assert not changed
    if task.goal == HUMAN:
        assert task.start >= 0
        assert task.goal_arg not in (task.start, home.spot_room[lies[0]])
        assert task.hint == (home.function[task.goal_arg] if task.clear else -1)
    elif task.goal == RECEPTACLE:
        assert task.goal_arg in home.spot_kind
        assert task.goal_arg not in NO_PUT
    else:
        assert task.goal == ROOM
        assert task.goal_arg in home.function


def test_clear_and_ambiguous_tasks_alternate():
    for kind in ("s_obj", "s_hum"):
        assert [make_task("train", kind, i).clear for i in range(4)] == [True, False, True, False]
    assert all(make_task("train", "pnp", i).clear for i in range(4))


def test_mixed_alternates_the_kinds():
    assert [make_task("train", "mixed", i).task_id for i in range(4)] == [
        "train/pnp/0", "train/s_obj/0", "train/s_hum/0", "train/pnp/1",
    ]  # fmt: skip


def test_splits_are_disjoint_in_content_and_in_seeds():
    owner: dict = {}
    for split in SPLITS:
        for kind in KINDS:
            for i in range(400):
                key = content(make_task(split, kind, i))
                assert owner.setdefault(key, split) == split, f"{split}/{kind}/{i} is also in {owner[key]}"
    # 7,200 tasks, and hardly any of them twice even within a split
    assert len(owner) > 7_150
    seeds = [task_seed(split, kind, i) for split, kind in SETS for i in range(400)]
    assert len(set(seeds)) == len(seeds) == 7_200


def test_unseen_splits_are_in_other_houses():
    for split, (houses, _) in SPLITS.items():
        used = {make_task(split, kind, i).house.index for kind in KINDS for i in range(80)}
        assert used == set(houses), split
        assert set(houses) == set(UNSEEN if "unseen" in split else SEEN)


def test_oracle_lengths_are_close_to_those_of_the_original():
    """The original 480 episodes: mean 185 low-level steps, 5 to 95 % 91 to 288."""
    lengths = [make_task(split, kind, i).oracle_steps for split, kind in SETS for i in range(60)]
    assert 150 < np.mean(lengths) < 220
    low, high = np.percentile(lengths, [5, 95])
    assert 80 < low < 140
    assert 220 < high < 320
