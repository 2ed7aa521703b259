"""The state of an episode, its physics and its two clocks.

Low-level steps (limit 600) measure the time that moving and handling take; decisions (limit 15, Follow not counted)
measure how often the actor was asked. The human walks while the robot goes, explores or follows, and stands still while
it picks up, puts down or gives. Each method carries out one action and returns the sentence that reports it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from selfreg_gym.envs.sif import text
from selfreg_gym.envs.sif.belief import forget, look
from selfreg_gym.envs.sif.episodes import HUMAN, PICK_STEPS, ROOM, Task
from selfreg_gym.envs.sif.houses import HALL
from selfreg_gym.envs.sif.human import HUMAN_SPEED, NO_WALK, direction, make_walk, on_the_way, place

__all__ = ["GONE", "LOST", "MAX_DECISIONS", "MAX_STEPS", "NOBODY", "SEEN", "STOPPED", "World"]

MAX_STEPS = 600
MAX_DECISIONS = 15
EXPLORE_STEPS = 11
FOLLOW_STEPS = 20
NEEDLESS_STEP = 50  # still following at this step, though the human said where it goes, is a failure

# What the robot knows of the human: there is none in this task; lost; known to stand in ``human_room``; walking in
# sight; walking, out of sight for a moment. From STOPPED on it may be given something, from SEEN on be followed.
NOBODY, LOST, STOPPED, SEEN, GONE = range(5)

_SLIP = 0.06  # chance that what is picked up slips out of the gripper
_NOTICE = 0.85  # chance to notice a human on entering its room
_TURN_AWAY = 0.08  # chance to lose the human at a door
_OUT_OF_SIGHT = 30  # low-level steps after which an unseen human is lost
_CATCH_UP = 6.0  # metres within which Follow finds an unseen human again
_DETOUR = 0.25  # chance that the human walks through a room on the way


class World:
    """Everything that changes during an episode; ``copy`` is exact.

    Attributes:
        task, house: what is to be done, and where (immutable).
        room, x: where the robot is; ``x`` (metres along the hall) counts in the ``HALL`` alone.
        held: the object in the gripper, or -1.
        truth, belief: ``(spots,)`` what lies there, and what the map says (None: spot unknown).
        fresh: bit set of the spots seen in phase 2.
        visited: bit set of the rooms entered in phase 2.
        stale: rooms whose line of the map must be written anew (a cache's memory, no fact of the world).
        lines: ``(rooms,)`` the map's text.
        clock: low-level steps so far.
        left: counted decisions left; 0 means that the episode is over.
        received: objects that the human holds.
        needless: the human was followed though it had said where it goes.
        walk, walked, pace: the human's way, metres done, metres per low-level step.
        human_status, human_room, human_x, heading: what the robot knows of the human, and where it last saw it.
        unseen: low-level steps since the human was seen.
    """

    __slots__ = (
        "belief", "clock", "fresh", "heading", "held", "house", "human_room", "human_status", "human_x", "left",
        "lines", "needless", "over", "pace", "received", "room", "stale", "task", "truth", "unseen", "visited", "walk",
        "walked", "x",
    )  # fmt: skip

    def __init__(self, task: Task, draw: Callable[[], float]) -> None:
        """Begin phase 2 of ``task``; ``draw`` gives uniform numbers in [0, 1)."""
        self.task, self.house = task, task.house
        self.room, self.x, self.held = task.start, task.start_x, -1
        self.truth, self.belief = list(task.truth), list(task.premap)
        self.fresh = self.visited = 0
        self.lines: list[str] = list(text.premap_lines(task))
        self.stale: set[int] = set()
        self.clock, self.left, self.over = 0, MAX_DECISIONS, False
        self.received: tuple[int, ...] = ()
        self.needless = False
        self.walk, self.walked, self.pace = NO_WALK, 0.0, 0.0
        self.human_status, self.human_room, self.human_x, self.heading, self.unseen = NOBODY, HALL, 0.0, 0, 0
        if task.goal == HUMAN:
            home, start, goal = task.house, task.start, task.goal_arg
            between = on_the_way(home.index, start, goal)
            through = between[int(draw() * len(between))] if between and draw() < _DETOUR else HALL
            self.walk = make_walk(home.index, start, goal, through)
            self.pace = HUMAN_SPEED * (0.85 + 0.3 * draw())
            self._see_human()

    def copy(self) -> World:
        """An independent copy."""
        other = object.__new__(World)
        for name in World.__slots__:
            setattr(other, name, getattr(self, name))
        other.truth, other.belief, other.lines = self.truth[:], self.belief[:], self.lines[:]
        other.stale = set(self.stale)
        return other

    # ---------------------------------------------------------------- the actions

    def explore(self, draw: Callable[[], float]) -> str:
        """Look around in the current room."""
        self._pass_time(EXPLORE_STEPS)
        seen = look(self, draw, thorough=True)
        return text.reveal(self, seen) + self._watch(EXPLORE_STEPS, 1.0, draw)

    def go(self, room: int, draw: Callable[[], float]) -> str:
        """Go to another room and see part of it."""
        home = self.house
        steps = home.steps_from_hall(self.x, room) if self.room == HALL else home.steps[self.room][room]
        self._pass_time(steps)
        self._enter(room, followed=False)
        seen = look(self, draw, thorough=False)
        return text.reveal(self, seen) + self._watch(steps, _NOTICE, draw)

    def pick(self, kind: int, draw: Callable[[], float]) -> str:
        """Pick up an object of ``kind`` where the map has one, if it is there and does not slip."""
        self.clock += PICK_STEPS
        for s in self.house.spots[self.room]:
            if kind in (self.belief[s] or ()) and kind in self.truth[s]:
                if draw() < _SLIP:
                    return text.slipped()
                rest = list(self.truth[s])
                rest.remove(kind)
                self.truth[s] = self.belief[s] = tuple(rest)
                self.held = kind
                self.stale.add(self.room)
                return text.picked(self.house.spot_kind[s])
        forget(self, kind)
        return text.not_there()

    def put(self, kind: int) -> str:
        """Put what is held on the receptacle of ``kind`` in the current room."""
        self.clock += PICK_STEPS
        s = self.house.spot(self.room, kind)
        self.truth[s] = self.belief[s] = (*self.truth[s], self.held)
        self.fresh |= 1 << s
        self.stale.add(self.room)
        self.held = -1
        return text.put_down()

    def give(self) -> str:
        """Give what is held to the human, who takes it if it is in the same room at this instant."""
        self.clock += PICK_STEPS
        if self.human_place()[0] != self.room:
            if self.human_status == GONE:
                self.human_status = LOST
            return text.nobody_here()
        self.received = (*self.received, self.held)
        self.held = -1
        return text.given()

    def follow(self, draw: Callable[[], float]) -> str:
        """Walk behind the human for 20 low-level steps, or until it stops or is lost."""
        before, _ = self.human_place()
        steps = min(FOLLOW_STEPS, max(1, ceil((self.walk[-1][0] - self.walked) / self.pace)))
        if self.task.clear and self.clock < NEEDLESS_STEP <= self.clock + steps:
            self.needless = True
        if self.human_status == GONE and self._distance() > _CATCH_UP:
            self._pass_time(steps)
            self.human_status = LOST
            return text.human_lost()
        in_sight = self.human_status == SEEN
        self._pass_time(steps)
        room, x = self.human_place()
        if in_sight and room != before and draw() < _TURN_AWAY:
            self.human_status, self.unseen = LOST, steps
            return text.human_lost()
        self.x = x
        self._enter(room, followed=True)
        self._see_human()
        return text.human_followed(room, stopped=self.human_status == STOPPED, entered=room != before)

    # ---------------------------------------------------------------- the human

    def human_place(self) -> tuple[int, float]:
        """The human's true room (or ``HALL``) and metres along the hall."""
        return place(self.walk, self.walked) if self.walk else (HALL - 1, 0.0)

    def human_steps_left(self) -> int:
        """Low-level steps until the human stops."""
        return max(0, ceil((self.walk[-1][0] - self.walked) / self.pace)) if self.walk else 0

    def _pass_time(self, steps: int) -> None:
        self.clock += steps
        if self.walk:
            self.walked = min(self.walk[-1][0], self.walked + steps * self.pace)

    def _see_human(self) -> None:
        """The human is in sight: know where it is and which way it is heading."""
        self.human_room, self.human_x = self.human_place()
        self.heading = direction(self.walk, self.walked)
        self.human_status = STOPPED if self.walked >= self.walk[-1][0] else SEEN
        self.unseen = 0

    def _watch(self, steps: int, notice: float, draw: Callable[[], float]) -> str:
        """After ``steps`` of doing something else: is the human in this room, or out of sight for too long?"""
        status = self.human_status
        if status in (NOBODY, STOPPED):
            return ""
        if self.human_place()[0] == self.room and draw() < notice:
            self._see_human()
            return text.human_here(stopped=self.human_status == STOPPED)
        if status != LOST:
            self.unseen += steps
            self.human_status = GONE if self.unseen <= _OUT_OF_SIGHT else LOST
        return ""

    def _distance(self) -> float:
        """Metres of way between robot and human."""
        room, x = self.human_place()
        home = self.house
        if room == self.room != HALL:
            return 0.0
        mine, my_x = (0.0, self.x) if self.room == HALL else (home.depth[self.room], home.x[self.room])
        return mine + abs(my_x - x) + (0.0 if room == HALL else 1.0)

    def _enter(self, room: int, *, followed: bool) -> None:
        """Be in ``room``; the first new room must not be one to which a human led who had said where it goes."""
        if room == self.room:
            return
        if room != HALL:
            new = self.visited == 0 and room != self.task.start
            if new and followed and self.task.clear and room == self.task.goal_arg:
                self.needless = True
            if room != self.task.start:
                self.visited |= 1 << room
        self.room = room

    # ---------------------------------------------------------------- the verdict

    def fulfilled(self) -> bool:
        """Whether the command is fulfilled in the present state."""
        task, target = self.task, self.task.target
        if task.goal == HUMAN:
            return target in self.received and not self.needless
        if task.goal == ROOM and self.held >= 0:  # a room command wants the gripper empty
            return False
        return any(target in objects and task.is_goal_spot(s) for s, objects in enumerate(self.truth) if objects)
