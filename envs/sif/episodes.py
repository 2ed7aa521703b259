"""Tasks: one fixed :class:`Task` for each (split, kind, index).

A task determines the house, the positions of the objects, the robot's map from its first exploration (the premap), the
command, the start of the robot and, for ``s_hum``, the destination of the human. The seed of the episode determines the
rest. A task's own seed is (split, kind, index), so no two splits have a task in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from selfreg_gym.envs.sif.houses import HALL, OBJECTS, RECEPTACLES, SEEN, UNSEEN, House, house

__all__ = [
    "HUMAN",
    "KINDS",
    "PICK_STEPS",
    "RECEPTACLE",
    "ROOM",
    "SPLITS",
    "Task",
    "make_task",
    "split_size",
    "task_seed",
]

KINDS = ("pnp", "s_obj", "s_hum")
RECEPTACLE, ROOM, HUMAN = range(3)  # destinations of the object

# split: (houses, distinct tasks of each kind)
SPLITS: dict[str, tuple[tuple[int, ...], int]] = {
    "train": (SEEN, 20_000),
    "val-seen": (SEEN, 2_000),
    "test-seen": (SEEN, 2_000),
    "val-unseen": (UNSEEN, 2_000),
    "test-unseen": (UNSEEN, 2_000),
    "actor-train": (SEEN, 100_000),
}

PICK_STEPS = 10  # low-level steps of picking up, putting down and giving
_SEED = 250204576
_GOAL_KINDS = tuple(RECEPTACLES.index(n) for n in ("bed", "couch", "counter", "table", "cabinet", "chair", "car"))


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One task.

    Attributes:
        task_id: ``split/kind/index``.
        kind: one of ``KINDS``.
        clear: whether the human names the room of the object (``s_obj``) or the destination (``s_hum``); True for
            ``pnp``.
        house: the house.
        target: the object to be moved, an index into ``OBJECTS``.
        goal: ``RECEPTACLE``, ``ROOM`` or ``HUMAN``.
        goal_arg: index into ``RECEPTACLES`` or ``FUNCTIONS``, or the room to which the human walks.
        truth: ``(spots,)`` the objects on each spot at the beginning of the episode.
        premap: ``(spots,)`` the objects seen there in the exploration, or None for an unseen spot.
        start: the room in which the robot (and the human, for ``s_hum``) begins, or ``HALL``.
        start_x: metres along the hall, for a start in the hall.
        hint: the room function that the human mentions (index into ``FUNCTIONS``), or -1.
        phrase: number of the paraphrase.
        oracle_steps: low-level steps of the shortest solution with full knowledge.
    """

    task_id: str
    kind: str
    clear: bool
    house: House
    target: int
    goal: int
    goal_arg: int
    truth: tuple[tuple[int, ...], ...]
    premap: tuple[tuple[int, ...] | None, ...]
    start: int
    start_x: float
    hint: int
    phrase: int
    oracle_steps: int

    def is_goal_spot(self, spot: int) -> bool:
        """Whether the target object on ``spot`` fulfils a receptacle or room command."""
        if self.goal == RECEPTACLE:
            return self.house.spot_kind[spot] == self.goal_arg
        return self.goal == ROOM and self.house.function[self.house.spot_room[spot]] == self.goal_arg


def split_size(split: str, kind: str) -> int:
    """Number of distinct tasks of ``kind`` (one of ``KINDS``, or ``"mixed"`` for all) in ``split``."""
    return SPLITS[split][1] * (len(KINDS) if kind == "mixed" else 1)


def task_seed(split: str, kind: str, index: int) -> tuple[int, ...]:
    """The seed of a task, different for each."""
    return _SEED, list(SPLITS).index(split), KINDS.index(kind), index


@lru_cache(maxsize=8192)
def make_task(split: str, kind: str, index: int) -> Task:
    """Make task ``index`` of ``kind`` in ``split``; ``"mixed"`` alternates the kinds."""
    if kind == "mixed":
        return make_task(split, KINDS[index % len(KINDS)], index // len(KINDS))
    rng = np.random.default_rng(task_seed(split, kind, index))
    while True:
        task = _draw(rng, split, kind, index)
        if task is not None:
            return task


def _draw(rng: np.random.Generator, split: str, kind: str, index: int) -> Task | None:
    """Draw a task; None if the draw is invalid (no room for the object outside the goal and the start)."""
    pick = lambda items: items[int(rng.integers(len(items)))]  # noqa: E731
    home = house(pick(SPLITS[split][0]))
    clear = kind == "pnp" or index % 2 == 0
    target = int(rng.integers(len(OBJECTS)))
    rooms = range(home.rooms)
    all_spots = range(len(home.spot_room))

    start = HALL if kind != "s_hum" and rng.random() < 0.25 else int(rng.integers(home.rooms))
    start_x = float(pick(home.x))
    if kind == "s_hum":
        goal, goal_rooms = HUMAN, [pick([r for r in rooms if r != start])]
        goal_arg = goal_rooms[0]
    elif rng.random() < 0.7:
        goal = RECEPTACLE
        goal_arg = pick([k for k in _GOAL_KINDS if k in home.spot_kind])
        goal_rooms = list(home.rooms_with(goal_arg))
    else:
        goal, goal_arg = ROOM, home.function[int(rng.integers(home.rooms))]
        goal_rooms = [r for r in rooms if home.function[r] == goal_arg]
    away = [s for s in all_spots if home.spot_room[s] not in goal_rooms and home.spot_room[s] != start]
    if not away:
        return None

    # The positions of the target, true and mapped, and the spots seen in the exploration. The first spot of a room,
    # which shows the room's function, is always seen.
    lies = pick(away)
    was = lies
    if kind == "s_obj":
        others = [s for s in away if home.function[home.spot_room[s]] != home.function[home.spot_room[lies]]]
        if not others:
            return None
        was = pick(others)
    first = {spots[0] for spots in home.spots}
    hidden = lies not in first and rng.random() < {"pnp": 0.25, "s_obj": 0.0, "s_hum": 0.15}[kind]
    seen = [s in first or s == was or rng.random() < 0.85 for s in all_spots]
    if hidden:
        seen[lies] = False

    others = [k for k in range(len(OBJECTS)) if k != target]
    free = [s for s in all_spots if s not in (lies, was)]
    count = int(rng.integers(2, 4))
    where = [free[i] for i in rng.permutation(len(free))[:count]]
    what = [others[i] for i in rng.permutation(len(others))[:count]]
    placed: dict[int, tuple[int, ...]] = dict(zip(where, ((k,) for k in what), strict=True))
    truth = tuple((target,) if s == lies else placed.get(s, ()) for s in all_spots)
    before = tuple((target,) if s == was else placed.get(s, ()) for s in all_spots)
    hint = {"pnp": -1, "s_obj": home.function[home.spot_room[lies]], "s_hum": home.function[goal_rooms[0]]}[kind]
    if kind == "s_hum" and not clear:
        hint = -1
    room = home.spot_room[lies]
    to_target = home.steps[start][room] if start != HALL else home.steps_from_hall(start_x, room)
    return Task(
        task_id=f"{split}/{kind}/{index}",
        kind=kind,
        clear=clear,
        house=home,
        target=target,
        goal=goal,
        goal_arg=goal_arg,
        truth=truth,
        premap=tuple(objects if seen[s] else None for s, objects in enumerate(before)),
        start=start,
        start_x=start_x,
        hint=hint,
        phrase=int(rng.integers(1000)),
        oracle_steps=to_target + min(home.steps[room][r] for r in goal_rooms) + 2 * PICK_STEPS,
    )
