"""The state of an episode, its physics and its two clocks.

Low-level steps (limit 600) measure the time of moving and handling, decisions (limit 15, Follow not counted) the number
of actions. The human walks while the robot goes, explores or follows, and stands still while it picks up, puts down or
gives. Each action is a method that returns a sentence about its result.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from selfreg_gym.envs.sif import text
from selfreg_gym.envs.sif.belief import forget, look
from selfreg_gym.envs.sif.episodes import HUMAN, PICK_STEPS, ROOM, Task
from selfreg_gym.envs.sif.houses import HALL
from selfreg_gym.envs.sif.human import DETOUR, HUMAN_SPEED, NO_WALK, direction, distance, make_walk, on_the_way, place
from selfreg_gym.envs.sif.sightings import FAR, Sighting

__all__ = ["CATCH_UP", "GONE", "LOST", "MAX_DECISIONS", "MAX_STEPS", "NO_HUMAN", "SEEN", "STOPPED", "World"]

MAX_STEPS = 600
MAX_DECISIONS = 15
EXPLORE_STEPS = 11
FOLLOW_STEPS = 20
NEEDLESS_STEP = 50  # following at this low-level step in a clear task is a failure

# The robot's knowledge of the human: no human in this task; lost; standing in ``human_room``; walking in sight; walking
# and out of sight for a short time. Give is admissible from STOPPED on, Follow from SEEN on.
NO_HUMAN, LOST, STOPPED, SEEN, GONE = range(5)

_SLIP = 0.06  # probability that a pick fails
_NOTICE = 0.85  # probability of noticing the human on entering its room
_TURN_AWAY = 0.08  # probability of losing the human at a door
_OUT_OF_SIGHT = 30  # low-level steps after which an unseen human is lost
CATCH_UP = 6.0  # metres within which Follow finds an unseen human again


class World:
    """The state of an episode.

    Attributes:
        task, house: the task and its house (immutable).
        room, x: the robot's room, and for the ``HALL`` its position in metres along it.
        held: the object in the gripper, or -1.
        truth, belief: ``(spots,)`` the objects on each spot, and those of the map (None: never seen).
        fresh: bit set of the spots seen in the episode.
        visited: bit set of the rooms entered in the episode.
        stale: rooms with an outdated line in ``lines``.
        lines: ``(rooms,)`` the map's text, a cache.
        clock: low-level steps so far.
        left: counted decisions left; 0 when the episode is over.
        over: whether the episode is over.
        placed: whether the robot has put down an object in the episode.
        received: objects that the human holds.
        needless: whether the human was followed needlessly in a clear task.
        walk, walked, pace: the human's walk, metres walked, metres per low-level step.
        human_status, human_room, human_x, heading: the robot's knowledge of the human, from the last sight.
        unseen: low-level steps since the human was last seen.
        walking: low-level steps in which the human walked, or could have.
        sightings: where the human was seen, or was not.
    """

    __slots__ = (
        "belief", "clock", "fresh", "heading", "held", "house", "human_room", "human_status", "human_x", "left",
        "lines", "needless", "over", "pace", "placed", "received", "room", "sightings", "stale", "task", "truth",
        "unseen", "visited", "walk", "walked", "walking", "x",
    )  # fmt: skip

    def __init__(self, task: Task, draw: Callable[[], float]) -> None:
        """Begin an episode of ``task``; ``draw`` returns uniform random numbers in [0, 1)."""
        self.task, self.house = task, task.house
        self.room, self.x, self.held = task.start, task.start_x, -1
        self.truth, self.belief = list(task.truth), list(task.premap)
        self.fresh = self.visited = 0
        self.lines: list[str] = list(text.premap_lines(task))
        self.stale: set[int] = set()
        self.clock, self.left, self.over = 0, MAX_DECISIONS, False
        self.received: tuple[int, ...] = ()
        self.needless = self.placed = False
        self.walk, self.walked, self.pace, self.walking = NO_WALK, 0.0, 0.0, 0
        self.sightings: tuple[Sighting, ...] = ()
        self.human_status, self.human_room, self.human_x, self.heading, self.unseen = NO_HUMAN, HALL, 0.0, 0, 0
        if task.goal == HUMAN:
            home, start, goal = task.house, task.start, task.goal_arg
            between = on_the_way(home.index, start, goal)
            through = between[int(draw() * len(between))] if between and draw() < DETOUR else HALL
            self.walk = make_walk(home.index, start, goal, through)
            self.pace = HUMAN_SPEED * (0.85 + 0.3 * draw())
            self._see_human()

    def copy(self) -> World:
        """An independent, exact copy."""
        other = object.__new__(World)
        for name in World.__slots__:
            setattr(other, name, getattr(self, name))
        other.truth, other.belief, other.lines = self.truth[:], self.belief[:], self.lines[:]
        other.stale = set(self.stale)
        return other

    # ---------------------------------------------------------------- the actions

    def explore(self, draw: Callable[[], float]) -> str:
        """Explore the current room."""
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
        """Pick up an object of ``kind`` that is on the map of the current room; fails if it is gone, or at random."""
        self.clock += PICK_STEPS
        for s in self.house.spots[self.room]:
            if kind in (self.belief[s] or ()) and kind in self.truth[s]:
                if draw() < _SLIP:
                    return text.SLIPPED
                rest = list(self.truth[s])
                rest.remove(kind)
                self.truth[s] = self.belief[s] = tuple(rest)
                self.held = kind
                self.stale.add(self.room)
                return text.picked(self.house.spot_kind[s])
        forget(self, kind)
        return text.NOT_THERE

    def put(self, kind: int) -> str:
        """Put the held object on the receptacle of ``kind`` in the current room."""
        self.clock += PICK_STEPS
        s = self.house.spot(self.room, kind)
        self.truth[s] = self.belief[s] = (*self.truth[s], self.held)
        self.fresh |= 1 << s
        self.stale.add(self.room)
        self.held, self.placed = -1, True
        return text.PUT_DOWN

    def give(self) -> str:
        """Give the held object to the human; fails if the human is in another room."""
        self.clock += PICK_STEPS
        if self.human_place()[0] != self.room:
            if self.human_status == GONE:
                self.human_status = LOST
            self._miss(self.room, 0.0)
            return text.HUMAN_GONE
        self.received = (*self.received, self.held)
        self.held = -1
        return text.GIVEN

    def follow(self, draw: Callable[[], float]) -> str:
        """Follow the human for 20 low-level steps, or until it stops or is lost."""
        before, _ = self.human_place()
        steps = min(FOLLOW_STEPS, max(1, ceil((self.walk[-1][0] - self.walked) / self.pace)))
        if self.task.clear and self.clock < NEEDLESS_STEP <= self.clock + steps:
            self.needless = True
        if self.human_status == GONE and self._distance() > CATCH_UP:
            self._miss(self.room, FAR)
            self._pass_time(steps)
            self.human_status = LOST
            return text.HUMAN_LOST
        in_sight = self.human_status == SEEN
        self._pass_time(steps)
        room, x = self.human_place()
        if in_sight and room != before and draw() < _TURN_AWAY:
            self.human_status, self.unseen = LOST, steps
            self._miss(before, 0.0)
            return text.HUMAN_LOST
        self.x = x
        self._enter(room, followed=True)
        self._see_human()
        return text.human_followed(room, stopped=self.human_status == STOPPED, entered=room != before)

    # ---------------------------------------------------------------- the human

    def human_place(self) -> tuple[int, float]:
        """The human's true room (or ``HALL``) and position along the hall."""
        return place(self.walk, self.walked) if self.walk else (HALL - 1, 0.0)

    def human_steps_left(self) -> int:
        """Low-level steps until the human stops."""
        return max(0, ceil((self.walk[-1][0] - self.walked) / self.pace)) if self.walk else 0

    def _pass_time(self, steps: int) -> None:
        self.clock += steps
        if self.walk:
            self.walking += steps
            self.walked = min(self.walk[-1][0], self.walked + steps * self.pace)

    def _see_human(self) -> None:
        """Update the robot's knowledge of the human, which is in sight."""
        self.human_room, self.human_x = self.human_place()
        self.heading = direction(self.walk, self.walked)
        self.human_status = STOPPED if self.walked >= self.walk[-1][0] else SEEN
        self.unseen = 0
        stopped = self.human_status == STOPPED
        seen = Sighting(self.walking, self.human_room, self.human_x, 0.0, self.heading, stopped)
        self.sightings = (*self.sightings, seen)

    def _miss(self, room: int, chance: float) -> None:
        """Note that the human was not seen in ``room``; ``chance``: probability of this if it is there, or ``FAR``."""
        x = self.x if room == HALL else self.house.x[room]
        self.sightings = (*self.sightings, Sighting(self.walking, room, x, chance))

    def _watch(self, steps: int, notice: float, draw: Callable[[], float]) -> str:
        """After ``steps`` of another action: notice the human in this room, or lose it after too long out of sight."""
        status = self.human_status
        if status in (NO_HUMAN, STOPPED):
            return ""
        if self.human_place()[0] == self.room and draw() < notice:
            self._see_human()
            return text.human_here(stopped=self.human_status == STOPPED)
        self._miss(self.room, 1.0 - notice)
        if status != LOST:
            self.unseen += steps
            self.human_status = GONE if self.unseen <= _OUT_OF_SIGHT else LOST
        return ""

    def _distance(self) -> float:
        return distance(self.house, self.room, self.x, *self.human_place())

    def _enter(self, room: int, *, followed: bool) -> None:
        """Enter ``room``. In a clear task, following the human to its goal as the first new room is needless."""
        if room == self.room:
            return
        if room != HALL:
            new = self.visited == 0 and room != self.task.start
            if new and followed and self.task.clear and room == self.task.goal_arg:
                self.needless = True
            if room != self.task.start:
                self.visited |= 1 << room
        self.room = room

    # ---------------------------------------------------------------- success

    def fulfilled(self) -> bool:
        """Whether the command is fulfilled in the current state."""
        task, target = self.task, self.task.target
        if task.goal == HUMAN:
            return target in self.received and not self.needless
        if task.goal == ROOM and self.held >= 0:  # a room command requires an empty gripper
            return False
        return any(target in objects and task.is_goal_spot(s) for s, objects in enumerate(self.truth) if objects)
