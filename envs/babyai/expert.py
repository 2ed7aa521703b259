"""The expert: the bot of ``minigrid``, which plans from what the agent has seen, also after another agent's actions.

The bot must observe every step. It has a second copy of the level, and repeats there the actions of the agent when it
is asked for advice. Its answer therefore depends only on the task and the actions, and an episode in which it is not
asked costs no time.

The bot fails in some states that its own plans do not reach, for instance when the agent turns away from a door that
the bot was about to open. Then a new bot plans from the current state and from what was seen so far. The search for a
plan is limited by a number of steps and not by time, so the answer does not depend on the speed of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from minigrid.envs.babyai.core.verifier import PickupInstr, PutNextInstr, SeqInstr
from minigrid.utils.baby_ai_bot import BabyAIBot, DropSubgoal, GoNextToSubgoal

from selfreg_gym.envs.babyai.mission import remaining
from selfreg_gym.envs.babyai.text import ACTIONS
from selfreg_gym.errors import TaskContractError

__all__ = ["Expert"]

_MOST_SUBGOALS = 300  # new sub-goals in one question; the most in 9,300 steps of all levels is 8
_MOST_SEARCHES = 600
_LEFT = ACTIONS.index("left")


class _NoPlan(Exception):
    """The bot has no plan, or does not find one within its limits."""


class _Plan(list[Any]):
    """The stack of sub-goals, with a limit on the sub-goals that are added for one answer."""

    added = 0

    def append(self, subgoal: Any) -> None:
        self.added += 1
        if self.added > _MOST_SUBGOALS:
            raise _NoPlan(f"more than {_MOST_SUBGOALS} sub-goals")
        super().append(subgoal)


class _Bot(BabyAIBot):
    """The bot of ``minigrid`` with limits on its search. It can begin in the middle of an episode.

    Args:
        level: the level.
        seen: bool ``(width, height)``, the cells that were seen so far; None: none.
    """

    def __init__(self, level: Any, seen: np.ndarray | None = None) -> None:
        self._searches = 0
        super().__init__(level)
        self._plan = self.stack = _Plan(self.stack)
        if seen is not None:
            self.vis_mask = seen.copy()
        self._process_obs()
        first = remaining(level.instrs)[0]
        if level.carrying is None or not isinstance(first, PickupInstr | PutNextInstr):
            return
        if isinstance(first, PutNextInstr) and any(level.carrying is one for one in first.desc_move.obj_set):
            del self.stack[-2:]  # it has the object: neither go to it nor pick it up
            return
        place = self._find_drop_pos()
        if place is None:
            raise _NoPlan("no place to put down what is carried")
        self.stack.append(DropSubgoal(self))
        self.stack.append(GoNextToSubgoal(self, place))

    def ask(self, taken: int | None) -> int:
        """The next action, after the last one (None: this is the first question).

        Raises:
            Exception: the bot has no plan, as any exception of ``minigrid``.
        """
        self._searches, self._plan.added = 0, 0
        action = int(self.replan(taken))
        if action >= len(ACTIONS):  # "done", but the mission is not
            raise _NoPlan("it believes that the mission is done")
        return action

    def _process_instr(self, instr: Any) -> None:
        """Add the sub-goals of the instructions that are not done."""
        if isinstance(instr, SeqInstr):
            for one in reversed(remaining(instr)):
                super()._process_instr(one)
        else:
            super()._process_instr(instr)

    def _find_obj_pos(self, obj_desc: Any, adjacent: bool = False) -> Any:
        """The nearest object that was seen and can be reached. The method of ``minigrid`` fails behind closed doors."""
        try:
            return super()._find_obj_pos(obj_desc, adjacent)
        except AssertionError:
            seen = self.vis_mask
        self.vis_mask = seen.copy()
        try:
            for place in obj_desc.obj_poss:
                path = self._shortest_path(lambda at, _, place=place: at == place, try_with_blockers=True)[0]
                self.vis_mask[place] &= path is not None
            return super()._find_obj_pos(obj_desc, adjacent)
        finally:
            self.vis_mask = seen

    def _breadth_first_search(self, *args: Any, **kwargs: Any) -> Any:
        self._searches += 1
        if self._searches > _MOST_SEARCHES:
            raise _NoPlan(f"more than {_MOST_SEARCHES} searches")
        return super()._breadth_first_search(*args, **kwargs)


class Expert:
    """The expert of one task.

    Args:
        make: makes the level of the task, just after its reset.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._level: Any = None
        self._taken: list[int] = []
        self._bot: _Bot | None = None
        self._seen: np.ndarray | None = None
        self._action: int | None = None
        self._reason = ""
        self.new_plans = 0
        """How often the bot failed, so that a new plan was made."""

    def action(self, taken: Sequence[int]) -> int:
        """The action after the given ones, as a number.

        Raises:
            TaskContractError: the bot has no plan for a mission that is possible.
        """
        if self._level is None or self._taken != list(taken[: len(self._taken)]):
            self._level, self._taken, self._bot, self._seen = self._make(), [], None, None
            self._think(None)
        for action in taken[len(self._taken) :]:
            self._level.step(action)
            self._taken.append(action)
            self._think(action)
        if self._action is not None:
            return self._action
        if not self._possible():
            return _LEFT  # the object was destroyed (a box was opened): no action is better than another
        raise TaskContractError(
            f"the bot of BabyAI has no plan for the mission {self._level.mission!r} after {len(self._taken)} steps "
            f"({self._reason}): leave this task out, or use another intervention than the expert."
        )

    def _think(self, taken: int | None) -> None:
        """Ask the bot; if it fails, ask a new one."""
        self._action = None
        if self._bot is not None:
            try:
                self._action = self._bot.ask(taken)
                return
            except Exception as error:
                self._seen, self._bot = self._bot.vis_mask, None
                self._reason = f"{type(error).__name__}: {error}"
                self.new_plans += 1
        try:
            bot = _Bot(self._level, self._seen)
            self._seen = bot.vis_mask
            self._action, self._bot = bot.ask(None), bot
        except Exception as error:
            self._reason = f"{type(error).__name__}: {error}"

    def _possible(self) -> bool:
        """Whether each object of the remaining instructions still exists."""
        level = self._level
        existing = {id(one) for one in level.grid.grid if one is not None} | {id(level.carrying)}
        for one in remaining(level.instrs):
            descriptions = [getattr(one, name) for name in ("desc", "desc_move", "desc_fixed") if hasattr(one, name)]
            if not all(any(id(found) in existing for found in each.obj_set) for each in descriptions):
                return False
        return True
